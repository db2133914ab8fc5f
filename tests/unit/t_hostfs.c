/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/hostfs.h"
#include "tests/unit/tap.h"

/* A root of its own per test, and a file beside it that nothing may reach. */
struct place {
	char top[64];
	char outside[96];
	struct hostfs fs;
};

static void put(const struct place *p, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/root/%s", p->top, name);
	f = fopen(path, "w");
	OK(f != NULL);
	if (f) {
		(void)fputs(text, f);
		(void)fclose(f);
	}
}

static void get(const struct place *p, const char *name, char *buf, size_t size)
{
	char path[256];
	size_t n = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/root/%s", p->top, name);
	f = fopen(path, "r");
	if (f) {
		n = fread(buf, 1, size - 1, f);
		(void)fclose(f);
	}
	buf[n] = '\0';
	if (!f)
		(void)snprintf(buf, size, "(absent)");
}

static void make(const struct place *p, const char *link, const char *target)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/root/%s", p->top, link);
	IS_INT(target ? symlink(target, path) : mkdir(path, 0755), 0);
}

static void place_init(struct place *p)
{
	struct err e = ERR_INIT;
	char path[96];

	(void)snprintf(p->top, sizeof(p->top), "/tmp/t_hostfs.XXXXXX");
	OK(mkdtemp(p->top) != NULL);
	(void)snprintf(path, sizeof(path), "%s/root", p->top);
	IS_INT(mkdir(path, 0755), 0);
	IS_INT(hostfs_init(&p->fs, path, &e), 0);
	(void)snprintf(p->outside, sizeof(p->outside), "%s/secret", p->top);
	(void)close(open(p->outside, O_WRONLY | O_CREAT, 0644));
}

static void place_fini(struct place *p)
{
	char command[96];

	(void)snprintf(command, sizeof(command), "rm -rf %s", p->top);
	IS_INT(system(command), 0);
	hostfs_fini(&p->fs);
}

/* Names in a directory of the root, "." and ".." left out. */
static unsigned int entries(const struct place *p, const char *name)
{
	DIR *dir = hostfs_opendir(&p->fs, "%s", name);
	unsigned int n = 0;
	struct dirent *d;

	OK(dir != NULL);
	while (dir && (d = readdir(dir)))
		n += !streq(d->d_name, ".") && !streq(d->d_name, "..");
	if (dir)
		(void)closedir(dir);
	return n;
}

TEST(roots)
{
	struct err e = ERR_INIT;
	struct hostfs fs = HOSTFS_INIT;

	IS_INT(hostfs_init(&fs, NULL, &e), 0);
	OK(fs.real);
	IS_STR(fs.root, "/");
	hostfs_fini(&fs);
	IS_INT(fs.fd, -1);
	IS_INT(hostfs_init(&fs, "/./", &e), 0);
	OK(fs.real);
	hostfs_fini(&fs);
	IS_INT(hostfs_init(&fs, "/tmp//", &e), 0);
	OK(!fs.real);
	IS_STR(fs.root, "/tmp");
	hostfs_fini(&fs);
	IS_INT(hostfs_init(&fs, "/nonexistent/dir", &e), -ENOENT);
	IS_STR(e.text, "root directory /nonexistent/dir: No such file or directory");
	IS_INT(fs.fd, -1);
	IS_INT(hostfs_init(&fs, "/etc/passwd", &e), -ENOTDIR);
	hostfs_fini(&fs);
}

TEST(names)
{
	char longest[257];

	memset(longest, 'n', 256);
	longest[255] = '\0';
	OK(hostfs_is_name("eth0") && hostfs_is_name("a b") && hostfs_is_name("...") && hostfs_is_name("-x") &&
	   hostfs_is_name(".hidden") && hostfs_is_name(longest));
	longest[255] = 'n';
	longest[256] = '\0';
	OK(!hostfs_is_name("") && !hostfs_is_name(".") && !hostfs_is_name("..") && !hostfs_is_name("a/b") &&
	   !hostfs_is_name("/") && !hostfs_is_name("../x") && !hostfs_is_name(longest));
}

TEST(nothing_leaves_the_root)
{
	struct place p;
	char buf[64];
	struct stat st;

	place_init(&p);
	make(&p, "dir", NULL);
	make(&p, "abs", p.outside);
	make(&p, "rel", "../secret");
	make(&p, "dir/far", "../../../../../../secret");
	make(&p, "up", "..");
	make(&p, "fd", "/proc/self/root");
	OK(!hostfs_exists(&p.fs, "../secret"));
	OK(!hostfs_exists(&p.fs, "dir/../../secret"));
	OK(!hostfs_exists(&p.fs, "%s", p.outside));
	IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "abs"), -ENOENT);
	IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "rel"), -ENOENT);
	IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "dir/far"), -ENOENT);
	IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "up/secret"), -ENOENT);
	IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "fd/etc/passwd"), -ENOENT);
	/* What is written lands inside. */
	IS_INT(hostfs_replace(&p.fs, "x\n", 2, 0644, "../secret"), 0);
	get(&p, "secret", buf, sizeof(buf));
	IS_STR(buf, "x\n");
	IS_INT(hostfs_mkdir(&p.fs, 0755, "../../a/../b"), 0);
	OK(hostfs_exists(&p.fs, "b"));
	IS_INT(hostfs_unlink(&p.fs, "up/nothing"), 0);
	IS_INT(stat(p.outside, &st), 0);
	IS_INT(st.st_size, 0);
	/* A link that stays inside is followed when reading, absolute ones from our root. */
	make(&p, "inside", "/dir/../secret");
	IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "inside"), 1);
	place_fini(&p);
}

TEST(magic_links_of_proc)
{
	struct hostfs fs;
	char buf[4096];

	IS_INT(hostfs_init(&fs, "/", NULL), 0);
	/* Plain files of /proc and its ordinary link "self" are readable, jumps are not. */
	OK(hostfs_read(&fs, buf, sizeof(buf), "proc/self/stat") > 0);
	OK(hostfs_read(&fs, buf, sizeof(buf), "proc/%d/comm", (int)getpid()) > 0);
	OK(hostfs_exists(&fs, "proc/%d/task/%d/cgroup", (int)getpid(), (int)getpid()) ||
	   !hostfs_exists(&fs, "proc/self/cgroup"));
	IS_INT(hostfs_open(&fs, O_RDONLY, "proc/self/exe"), -ELOOP);
	IS_INT(hostfs_open(&fs, O_RDONLY, "proc/self/root/etc/passwd"), -ELOOP);
	hostfs_fini(&fs);
}

/* From now on openat2(2) answers this errno, as in a container or on an old kernel. */
static bool filter_openat2(unsigned int code)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(filter), .filter = filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void without_openat2(int code)
{
	struct hostfs real;
	struct place p;
	char buf[64];

	place_init(&p);
	put(&p, "v", "1\n");
	IS_INT(hostfs_init(&real, "/", NULL), 0);
	if (!filter_openat2((unsigned int)code)) {
		tap_skip_why = "no seccomp here";
	} else {
		/* Plain openat below "/", an error below any other root. */
		OK(hostfs_read(&real, buf, sizeof(buf), "proc/self/comm") > 0);
		IS_INT(hostfs_write(&real, "2", "%s/root/v", p.top + 1), 0);
		get(&p, "v", buf, sizeof(buf));
		IS_STR(buf, "2\n");
		IS_INT(hostfs_replace(&real, "3", 1, 0644, "%s/root/w", p.top + 1), 0);
		IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "v"), -code);
		IS_INT(hostfs_write(&p.fs, "4", "v"), -code);
		get(&p, "v", buf, sizeof(buf));
		IS_STR(buf, "2\n");
	}
	hostfs_fini(&real);
	place_fini(&p);
}

TEST(kernel_without_openat2)
{
	without_openat2(ENOSYS);
}

TEST(openat2_filtered)
{
	without_openat2(EPERM);
}

/* A system where something is renamed all the time: the tries end. */
TEST(retries_are_bounded)
{
	struct hostfs fs;
	char buf[64];

	IS_INT(hostfs_init(&fs, "/", NULL), 0);
	if (!filter_openat2(EAGAIN))
		SKIP("no seccomp here");
	IS_INT(hostfs_read(&fs, buf, sizeof(buf), "proc/self/comm"), -EAGAIN);
	hostfs_fini(&fs);
}

TEST(reads)
{
	struct place p;
	char buf[8], *all = NULL;
	size_t len = 99;

	place_init(&p);
	put(&p, "v", "1234567");
	IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "v"), 7);
	IS_STR(buf, "1234567");
	put(&p, "v", "12345678");
	IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "v"), -EFBIG);
	IS_STR(buf, "");
	put(&p, "v", "a\n\n");
	IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "v"), 1);
	IS_STR(buf, "a");
	put(&p, "v", "");
	IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "v"), 0);
	IS_INT(hostfs_read(&p.fs, buf, 0, "v"), -EINVAL);
	IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "none"), -ENOENT);
	IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "v/x"), -ENOTDIR);
	IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "."), -EISDIR);

	put(&p, "v", "0123456789");
	IS_INT(hostfs_read_all(&p.fs, 9, &all, &len, "v"), -EFBIG);
	OK(all == NULL && len == 99);
	IS_INT(hostfs_read_all(&p.fs, 10, &all, &len, "v"), 0);
	IS_STR(all, "0123456789");
	IS_INT(len, 10);
	free(all);
	all = NULL;
	put(&p, "v", "");
	IS_INT(hostfs_read_all(&p.fs, 0, &all, NULL, "v"), 0);
	IS_STR(all, "");
	free(all);
	place_fini(&p);
}

TEST(reads_all_of_any_size)
{
	static const size_t sizes[] = { 1, 4095, 4096, 4097, 8192, 100000 };
	struct place p;

	place_init(&p);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		char *text = calloc(1, sizes[i] + 1), *all = NULL;
		size_t len = 0;

		memset(text, 'z', sizes[i]);
		put(&p, "v", text);
		IS_INT(hostfs_read_all(&p.fs, sizes[i], &all, &len, "v"), 0);
		IS_INT(len, sizes[i]);
		OK(all && streq(all, text));
		free(all);
		IS_INT(hostfs_read_all(&p.fs, sizes[i] - 1, &all, &len, "v"), -EFBIG);
		free(text);
	}
	place_fini(&p);
}

TEST(reads_values)
{
	static const struct {
		const char *text;
		int r;
		uint64_t v;
	} numbers[] = {
		{ "5\n", 0, 5 },
		{ "18446744073709551615\n", 0, UINT64_MAX },
		{ "18446744073709551616\n", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "-1\n", -EINVAL, 0 },
		{ "max\n", -EINVAL, 0 },
		{ "1 2", -EINVAL, 0 },
		{ "00000000000000000000000000000000000000000001", -EINVAL, 0 },
	};
	struct idset s;
	struct place p;
	uint64_t v = 7;

	place_init(&p);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		put(&p, "v", numbers[i].text);
		v = 7;
		IS_INT(hostfs_read_u64(&p.fs, &v, "v"), numbers[i].r);
		OK(v == (numbers[i].r ? 7 : numbers[i].v));
	}
	IS_INT(hostfs_read_u64(&p.fs, &v, "none"), -ENOENT);
	put(&p, "v", "0-3,8\n");
	IS_INT(hostfs_read_idset(&p.fs, &s, "v"), 0);
	IS_INT(idset_count(&s), 5);
	put(&p, "v", "\n");
	IS_INT(hostfs_read_idset(&p.fs, &s, "v"), 0);
	OK(idset_is_empty(&s));
	put(&p, "v", "zero");
	IS_INT(hostfs_read_idset(&p.fs, &s, "v"), -EINVAL);
	place_fini(&p);
}

/* A captured tree is somebody else's: a FIFO in it must not hold us. */
TEST(fifo_does_not_block)
{
	struct place p;
	char path[96], buf[8];

	place_init(&p);
	(void)snprintf(path, sizeof(path), "%s/root/fifo", p.top);
	IS_INT(mkfifo(path, 0644), 0);
	alarm(5);
	IS_INT(hostfs_read(&p.fs, buf, sizeof(buf), "fifo"), 0);
	place_fini(&p);
}

TEST(writes)
{
	struct place p;
	char buf[64], *large = calloc(1, 20001);

	place_init(&p);
	put(&p, "v", "a much longer old value\n");
	IS_INT(hostfs_write(&p.fs, "55", "v"), 0);
	get(&p, "v", buf, sizeof(buf));
	IS_STR(buf, "55\n");
	IS_INT(hostfs_write(&p.fs, "", "v"), 0);
	get(&p, "v", buf, sizeof(buf));
	IS_STR(buf, "\n");
	/* Never creates, never follows the last component, also inside the root. */
	IS_INT(hostfs_write(&p.fs, "1", "absent"), -ENOENT);
	OK(!hostfs_exists(&p.fs, "absent"));
	make(&p, "link", "v");
	IS_INT(hostfs_write(&p.fs, "1", "link"), -ELOOP);
	get(&p, "v", buf, sizeof(buf));
	IS_STR(buf, "\n");
	/* A link in the middle is how sysfs and v1 cgroups look. */
	make(&p, "cpu,cpuacct", NULL);
	make(&p, "cpu", "cpu,cpuacct");
	put(&p, "cpu,cpuacct/cpu.shares", "1024\n");
	IS_INT(hostfs_write(&p.fs, "2048", "cpu/cpu.shares"), 0);
	get(&p, "cpu,cpuacct/cpu.shares", buf, sizeof(buf));
	IS_STR(buf, "2048\n");
	IS_INT(hostfs_write(&p.fs, "1", "cpu"), -ELOOP);
	IS_INT(hostfs_write(&p.fs, "1", "cpu,cpuacct"), -EISDIR);
	memset(large, 'l', 20000);
	IS_INT(hostfs_write(&p.fs, large, "v"), 0);
	free(large);
	place_fini(&p);
}

TEST(errors_of_the_kernel_come_back)
{
	struct hostfs fs;
	int fd;

	if (access("/dev/full", W_OK) < 0)
		SKIP("no /dev/full");
	IS_INT(hostfs_init(&fs, "/", NULL), 0);
	IS_INT(hostfs_write(&fs, "1", "dev/full"), -ENOSPC);
	fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	IS_INT(hostfs_append(fd, "x", 1), -ENOSPC);
	(void)close(fd);
	IS_INT(hostfs_append(-1, "x", 1), -EBADF);
	hostfs_fini(&fs);
}

TEST(replaces)
{
	struct place p;
	char buf[64];
	struct stat st;

	place_init(&p);
	(void)umask(077);
	make(&p, "run", NULL);
	IS_INT(hostfs_replace(&p.fs, "one\n", 4, 0644, "run/f"), 0);
	IS_INT(hostfs_stat(&p.fs, &st, "run/f"), 0);
	IS_INT(st.st_mode & 07777, 0644);
	IS_INT(hostfs_replace(&p.fs, "", 0, 0600, "run/f"), 0);
	IS_INT(hostfs_stat(&p.fs, &st, "run/f"), 0);
	IS_INT(st.st_mode & 07777, 0600);
	IS_INT(st.st_size, 0);
	/* A link in the way is replaced, not followed. */
	make(&p, "run/link", "f");
	IS_INT(hostfs_replace(&p.fs, "two\n", 4, 0644, "run/link"), 0);
	get(&p, "run/f", buf, sizeof(buf));
	IS_STR(buf, "");
	get(&p, "run/link", buf, sizeof(buf));
	IS_STR(buf, "two\n");
	IS_INT(entries(&p, "run"), 2);
	/* Failures leave neither a temporary file nor a changed old one. */
	make(&p, "run/d", NULL);
	IS_INT(hostfs_replace(&p.fs, "x", 1, 0644, "run/d"), -EISDIR);
	IS_INT(hostfs_replace(&p.fs, "x", 1, 0644, "none/f"), -ENOENT);
	IS_INT(hostfs_replace(&p.fs, "x", 1, 0644, "run/f/g"), -ENOTDIR);
	IS_INT(hostfs_replace(&p.fs, "x", 1, 0644, "run/.."), -EINVAL);
	IS_INT(hostfs_replace(&p.fs, "x", 1, 0644, "%s", ""), -EINVAL);
	IS_INT(entries(&p, "run"), 3);
	place_fini(&p);
}

TEST(leftover_temporaries)
{
	struct place p;
	pid_t dead = fork();
	char name[64];

	if (dead == 0)
		_exit(0);
	(void)waitpid(dead, NULL, 0);
	place_init(&p);
	make(&p, "run", NULL);
	(void)snprintf(name, sizeof(name), "run/.tmp.%d.1", (int)dead);
	put(&p, name, "half");
	put(&p, "run/.tmp.1.1", "of a living process");
	put(&p, "run/.tmp.x.1", "not one of ours");
	put(&p, "run/4dea22b3-1d52-d8f3-2516-782e98ab3fa0", "state");
	OK(hostfs_is_temp(name + 4) && !hostfs_is_temp("4dea22b3-1d52-d8f3-2516-782e98ab3fa0"));
	IS_INT(hostfs_clean_temps(&p.fs, "run"), 1);
	IS_INT(entries(&p, "run"), 3);
	IS_INT(hostfs_clean_temps(&p.fs, "none"), 0);
	place_fini(&p);
}

TEST(appends)
{
	struct place p;
	char buf[64];
	int fd;

	place_init(&p);
	fd = hostfs_open(&p.fs, O_WRONLY | O_APPEND | O_CREAT, "log");
	OK(fd >= 0);
	IS_INT(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	IS_INT(hostfs_append(fd, "a\n", 2), 0);
	IS_INT(hostfs_append(fd, "b\n", 2), 0);
	(void)close(fd);
	get(&p, "log", buf, sizeof(buf));
	IS_STR(buf, "a\nb\n");
	place_fini(&p);
}

/* A full file system takes a part of the record; RLIMIT_FSIZE behaves the same. */
TEST(short_append_is_taken_back)
{
	const struct rlimit limit = { 12, RLIM_INFINITY };
	const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
	struct place p;
	char buf[64];
	int fd;

	place_init(&p);
	fd = hostfs_open(&p.fs, O_WRONLY | O_APPEND | O_CREAT, "log");
	IS_INT(hostfs_append(fd, "12345678\n", 9), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	IS_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
	IS_INT(hostfs_append(fd, "abcdefgh\n", 9), -EIO);
	IS_INT(setrlimit(RLIMIT_FSIZE, &none), 0);
	(void)close(fd);
	get(&p, "log", buf, sizeof(buf));
	IS_STR(buf, "12345678\n");
	place_fini(&p);
}

TEST(directories)
{
	struct place p;
	struct stat st;

	place_init(&p);
	(void)umask(027);
	IS_INT(hostfs_mkdir(&p.fs, 0700, "run/domtune/undo"), 0);
	IS_INT(hostfs_mkdir(&p.fs, 0755, "run/domtune/undo"), 0); /* there already: untouched */
	IS_INT(hostfs_stat(&p.fs, &st, "run/domtune/undo"), 0);
	IS_INT(st.st_mode & 07777, 0700);
	IS_INT(hostfs_stat(&p.fs, &st, "run/domtune"), 0);
	IS_INT(st.st_mode & 07777, 0755);
	IS_INT(hostfs_mkdir(&p.fs, 0755, "a//b///c/"), 0);
	OK(hostfs_exists(&p.fs, "a/b/c"));
	/* Through a link, as /var/run; never through a dangling one. */
	make(&p, "var", NULL);
	make(&p, "var/run", "/run");
	IS_INT(hostfs_mkdir(&p.fs, 0755, "var/run/x"), 0);
	OK(hostfs_exists(&p.fs, "run/x"));
	make(&p, "dangling", "/nowhere");
	IS_INT(hostfs_mkdir(&p.fs, 0755, "dangling"), -ENOENT);
	IS_INT(hostfs_mkdir(&p.fs, 0755, "dangling/x"), -ENOENT);
	put(&p, "file", "x");
	IS_INT(hostfs_mkdir(&p.fs, 0755, "file"), -ENOTDIR);
	IS_INT(hostfs_mkdir(&p.fs, 0755, "file/x"), -ENOTDIR);
	OK(hostfs_opendir(&p.fs, "none") == NULL);
	IS_INT(errno, ENOENT);
	OK(hostfs_opendir(&p.fs, "file") == NULL);
	IS_INT(errno, ENOTDIR);
	place_fini(&p);
}

TEST(directories_that_are_objects)
{
	struct place p;

	place_init(&p);
	IS_INT(hostfs_make_dir(&p.fs, "a/b"), -ENOENT);
	IS_INT(hostfs_make_dir(&p.fs, "a"), 0);
	IS_INT(hostfs_make_dir(&p.fs, "a"), -EEXIST);
	IS_INT(hostfs_make_dir(&p.fs, "a/%s", "b"), 0);
	IS_INT(hostfs_remove_dir(&p.fs, "a"), -ENOTEMPTY);
	IS_INT(hostfs_remove_dir(&p.fs, "a/b"), 0);
	IS_INT(hostfs_remove_dir(&p.fs, "a/b"), -ENOENT);
	put(&p, "a/f", "x");
	IS_INT(hostfs_remove_dir(&p.fs, "a/f"), -ENOTDIR);
	IS_INT(hostfs_remove_dir(&p.fs, "a/.."), -EINVAL);
	IS_INT(hostfs_make_dir(&p.fs, "../.."), -EINVAL);
	/* A link is what it is, not what it names. */
	make(&p, "link", "a");
	IS_INT(hostfs_remove_dir(&p.fs, "link"), -ENOTDIR);
	OK(hostfs_exists(&p.fs, "a/f"));
	place_fini(&p);
}

TEST(unlinks)
{
	struct place p;

	place_init(&p);
	put(&p, "f", "x");
	make(&p, "link", "f");
	IS_INT(hostfs_unlink(&p.fs, "link"), 0);
	OK(hostfs_exists(&p.fs, "f"));
	IS_INT(hostfs_unlink(&p.fs, "f"), 0);
	OK(!hostfs_exists(&p.fs, "f"));
	IS_INT(hostfs_unlink(&p.fs, "f"), 0);
	IS_INT(hostfs_unlink(&p.fs, "no/such/dir"), 0);
	IS_INT(hostfs_unlink(&p.fs, "a/.."), -EINVAL);
	place_fini(&p);
}

TEST(long_paths)
{
	struct place p;
	char name[5000];

	place_init(&p);
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	IS_INT(hostfs_open(&p.fs, O_RDONLY, "%s", name), -ENAMETOOLONG);
	IS_INT(hostfs_write(&p.fs, "1", "%s", name), -ENAMETOOLONG);
	IS_INT(hostfs_replace(&p.fs, "1", 1, 0644, "%s", name), -ENAMETOOLONG);
	IS_INT(hostfs_mkdir(&p.fs, 0755, "%s", name), -ENAMETOOLONG);
	OK(!hostfs_exists(&p.fs, "%s", name));
	IS_INT(hostfs_open(&p.fs, O_RDONLY, "%.300s", name), -ENAMETOOLONG);
	place_fini(&p);
}

TEST(boot_ids)
{
	struct place p;
	char id[BOOT_ID_SIZE];

	place_init(&p);
	hostfs_boot_id(&p.fs, id);
	IS_STR(id, "no-boot-id");
	IS_INT(hostfs_mkdir(&p.fs, 0755, "proc/sys/kernel/random"), 0);
	put(&p, "proc/sys/kernel/random/boot_id", "b007b007-0000-4000-8000-000000000001\n");
	hostfs_boot_id(&p.fs, id);
	IS_STR(id, "b007b007-0000-4000-8000-000000000001");
	put(&p, "proc/sys/kernel/random/boot_id", "tab\there\n");
	hostfs_boot_id(&p.fs, id);
	IS_STR(id, "no-boot-id");
	put(&p, "proc/sys/kernel/random/boot_id", "0123456789012345678901234567890123456789\n");
	hostfs_boot_id(&p.fs, id);
	IS_STR(id, "no-boot-id");
	put(&p, "proc/sys/kernel/random/boot_id", "\n");
	hostfs_boot_id(&p.fs, id);
	IS_STR(id, "no-boot-id");
	place_fini(&p);
}

TEST(start_times)
{
	static const struct {
		const char *stat;
		uint64_t start;
	} cases[] = {
		{ "7 (sh) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 44211 9 9\n", 44211 },
		{ "7 (a) b (c) S 1) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 44212 9 9\n", 44212 },
		{ "7 (sh) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0\n", 0 },
		{ "7 (sh) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 x 9\n", 0 },
		{ "7 (sh", 0 },
		{ "7 (sh)", 0 },
		{ "", 0 },
	};
	struct place p;
	struct hostfs real;

	place_init(&p);
	IS_INT(hostfs_mkdir(&p.fs, 0755, "proc/7"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put(&p, "proc/7/stat", cases[i].stat);
		IS_INT(hostfs_proc_start(&p.fs, 7), cases[i].start);
	}
	IS_INT(hostfs_proc_start(&p.fs, 8), 0);
	IS_INT(hostfs_proc_start(&p.fs, 0), 0);
	IS_INT(hostfs_proc_start(&p.fs, -7), 0);
	place_fini(&p);
	IS_INT(hostfs_init(&real, NULL, NULL), 0);
	OK(hostfs_proc_start(&real, getpid()) > 0);
	hostfs_fini(&real);
}

#if defined(DT_SAN) || defined(DT_TEST)
/* The process ends before the n-th action, each in turn; what came before it is there, nothing else is. */
TEST(crash_points)
{
	static const char *const after[] = { "(absent)", "(absent)", "one", "two\n", "two\n" };

	for (unsigned int n = 1; n <= ARRAY_SIZE(after); n++) {
		struct place p;
		int status = 0;
		char buf[64];
		pid_t pid;

		place_init(&p);
		pid = fork();
		if (pid == 0) {
			(void)snprintf(buf, sizeof(buf), "%s:%u", program_invocation_short_name, n);
			(void)setenv("DOMTUNE_CRASH_AT", buf, 1);
			(void)hostfs_mkdir(&p.fs, 0755, "d");                  /* 1 */
			(void)hostfs_replace(&p.fs, "one", 3, 0644, "d/f");    /* 2 */
			(void)hostfs_write(&p.fs, "two", "d/f");               /* 3 */
			(void)hostfs_unlink(&p.fs, "d/none");                  /* 4 */
			_exit(0);
		}
		(void)waitpid(pid, &status, 0);
		if (n <= 4)
			OK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		else
			OK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		get(&p, "d/f", buf, sizeof(buf));
		IS_STR(buf, after[n - 1]);
		/* Before the rename there is a temporary file, after it none. */
		if (n > 1)
			IS_INT(entries(&p, "d"), 1);
		place_fini(&p);
	}
}

TEST(crash_of_another_program)
{
	struct place p;

	place_init(&p);
	(void)setenv("DOMTUNE_CRASH_AT", "decide:1", 1);
	IS_INT(hostfs_mkdir(&p.fs, 0755, "d"), 0);
	(void)setenv("DOMTUNE_CRASH_AT", "nonsense", 1);
	IS_INT(hostfs_mkdir(&p.fs, 0755, "e"), 0);
	place_fini(&p);
}

TEST(faults)
{
	struct place p;
	char buf[64];
	int fd;

	place_init(&p);
	put(&p, "cpuset.cpus", "0\n");
	put(&p, "cpu.weight", "100\n");
	(void)setenv("DOMTUNE_FAULT", "cpuset:16*2;undo/:28;bad;worse:x;z:0", 1);
	IS_INT(hostfs_write(&p.fs, "1", "cpuset.cpus"), -EBUSY);
	IS_INT(hostfs_write(&p.fs, "1", "cpuset.cpus"), -EBUSY);
	IS_INT(hostfs_write(&p.fs, "1", "cpuset.cpus"), 0);
	IS_INT(hostfs_write(&p.fs, "1", "cpu.weight"), 0);
	make(&p, "undo", NULL);
	IS_INT(hostfs_replace(&p.fs, "x", 1, 0644, "undo/f"), -ENOSPC);
	fd = hostfs_open(&p.fs, O_WRONLY | O_APPEND | O_CREAT, "undo/f");
	IS_INT(hostfs_append(fd, "x", 1), -ENOSPC);
	(void)close(fd);
	get(&p, "undo/f", buf, sizeof(buf));
	IS_STR(buf, "");
	place_fini(&p);
}
#endif

TEST(links_are_read_and_not_followed)
{
	_cleanup_closedir_ DIR *dir = NULL, *fds = NULL;
	char buf[16], number[16];
	struct hostfs real;
	struct place p;
	int fd;

	place_init(&p);
	IS_INT(hostfs_mkdir(&p.fs, 0755, "d"), 0);
	put(&p, "d/file", "x");
	OK(symlinkat("../../../../etc/passwd", p.fs.fd, "d/out") == 0 && symlinkat("0123456789abcde", p.fs.fd, "d/fits") == 0);
	dir = hostfs_opendir(&p.fs, "d");
	OK(dir != NULL);
	IS_INT(hostfs_readlink_in(dir, "fits", buf, sizeof(buf)), 15);
	IS_STR(buf, "0123456789abcde");
	IS_INT(hostfs_readlink_in(dir, "out", buf, sizeof(buf)), -EFBIG);
	IS_INT(hostfs_readlink_in(dir, "file", buf, sizeof(buf)), -EINVAL);
	IS_INT(hostfs_readlink_in(dir, "absent", buf, sizeof(buf)), -ENOENT);
	IS_INT(hostfs_readlink_in(dir, "../d/fits", buf, sizeof(buf)), -EINVAL);
	IS_INT(hostfs_readlink_in(dir, "..", buf, sizeof(buf)), -EINVAL);
	place_fini(&p);
	/* a magic one: its text, whatever is behind it */
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	IS_INT(hostfs_init(&real, "/", NULL), 0);
	fds = hostfs_opendir(&real, "proc/self/fd");
	(void)snprintf(number, sizeof(number), "%d", fd);
	OK(fds && hostfs_readlink_in(fds, number, buf, sizeof(buf)) == 9);
	IS_STR(buf, "/dev/null");
	close(fd);
	hostfs_fini(&real);
}

TAP_MAIN
