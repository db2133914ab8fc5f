/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How it stays inside: the root is held as an O_PATH descriptor and every path is resolved from it by one
 * openat2(2) with RESOLVE_IN_ROOT (absolute symlinks and ".." end at the root) and RESOLVE_NO_MAGICLINKS
 * (/proc/PID/{exe,cwd,root,fd/N} would jump out; ordinary files of /proc are not affected, nor is /proc/self,
 * which is an ordinary link). What creates, renames or removes a name does so from a descriptor of the
 * directory that was resolved like this, with the last component given literally.
 *
 * Reading costs three or four system calls per file (open, read, read of the end, close), writing three.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "hostfs.h"
#include "num.h"

#define PATH_SIZE 4096
#define TEMP_PREFIX ".tmp."
#define VALUE_SURE 2048 /* half a page: see read_full() */

/*
 * Resolving ".." below RESOLVE_IN_ROOT answers EAGAIN when anything on the system was renamed or mounted
 * meanwhile (openat2(2)); another try nearly always succeeds.
 */
#define OPEN_TRIES 64

/* Format a path; the macro is for the variadic functions below. 0 or -ENAMETOOLONG. */
static int format_path(char path[PATH_SIZE], const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static int format_path(char path[PATH_SIZE], const char *fmt, va_list ap)
{
	int n;

	/* Most of what a guest with many interrupts reads and writes. */
	if (streq(fmt, "%s")) {
		const char *whole = va_arg(ap, const char *);
		size_t len = strlen(whole);

		if (len >= PATH_SIZE)
			return -ENAMETOOLONG;
		memcpy(path, whole, len + 1);
		return 0;
	}
	n = vsnprintf(path, PATH_SIZE, fmt, ap);
	return n < 0 || n >= PATH_SIZE ? -ENAMETOOLONG : 0;
}

#define FORMAT_PATH(path, fmt)                            \
	({                                                \
		va_list ap_;                              \
		int r_;                                   \
                                                          \
		va_start(ap_, fmt);                       \
		r_ = format_path(path, fmt, ap_);         \
		va_end(ap_);                              \
		r_;                                       \
	})

#if defined(DT_SAN) || defined(DT_TEST)
void hostfs_durable(void)
{
	static uint64_t count;
	const char *at = getenv("DOMTUNE_CRASH_AT");
	const char *colon = at ? strrchr(at, ':') : NULL;
	uint64_t n;

	count++;
	if (!at)
		return;
	if (colon) {
		size_t len = (size_t)(colon - at);

		if (strlen(program_invocation_short_name) != len ||
		    strncmp(program_invocation_short_name, at, len) != 0)
			return;
		at = colon + 1;
	}
	if (num_parse_u64(at, &n) == 0 && n == count)
		(void)kill(getpid(), SIGKILL); /* does not return */
}

/* One "SUBSTRING:ERRNO[*TIMES]"; used[] counts per entry, so that a busy file can become free again. */
static int fault_of_entry(char *entry, unsigned int *used, const char *path)
{
	char *colon = strrchr(entry, ':');
	uint64_t code, times = UINT64_MAX;
	char *star;

	if (!colon)
		return 0;
	*colon = '\0';
	star = strchr(colon + 1, '*');
	if (star) {
		*star = '\0';
		if (num_parse_u64(star + 1, &times) < 0)
			return 0;
	}
	if (num_parse_range(colon + 1, 1, 4095, &code) < 0 || !strstr(path, entry) || *used >= times)
		return 0;
	(*used)++;
	return (int)code;
}

int hostfs_fault(const char *path)
{
	static unsigned int used[8];
	const char *env = getenv("DOMTUNE_FAULT");
	_cleanup_free_ char *copy = env ? strdup(env) : NULL;
	char *rest = copy, *entry;
	unsigned int i = 0;

	while (rest && i < ARRAY_SIZE(used) && (entry = strsep(&rest, ";"))) {
		int code = fault_of_entry(entry, &used[i++], path);

		if (code)
			return code;
	}
	return 0;
}

/* The path behind a descriptor, for hostfs_append(). */
static int fault_of_fd(int fd)
{
	char link[64], path[PATH_SIZE];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return 0;
	path[n] = '\0';
	return hostfs_fault(path);
}
#else
static inline int fault_of_fd(int fd)
{
	(void)fd;
	return 0;
}
#endif

static int open_once(const struct hostfs *fs, int flags, mode_t mode, const char *path)
{
	struct open_how how = {
		.flags = (uint64_t)flags,
		.mode = mode,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, fs->fd, path, &how, sizeof(how));

	if (fd >= 0)
		return (int)fd;
	/* Before Linux 5.6, or filtered: below "/" there is nothing to be kept inside of. */
	if (fs->real && (errno == ENOSYS || errno == EPERM))
		fd = openat(fs->fd, path, flags, mode);
	return fd >= 0 ? (int)fd : -errno;
}

static int open_path(const struct hostfs *fs, int flags, mode_t mode, const char *path)
{
	int fd = -EAGAIN;

	/* openat2 refuses what O_PATH ignores. */
	flags |= flags & O_PATH ? O_CLOEXEC : O_CLOEXEC | O_NOCTTY;
	if (!(flags & O_PATH) && ((flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT))
		flags |= O_NOFOLLOW;
	if (!*path)
		path = ".";
	for (int i = 0; i < OPEN_TRIES && (fd == -EAGAIN || fd == -EINTR); i++)
		fd = open_once(fs, flags, flags & O_CREAT ? mode : 0, path);
	return fd;
}

int hostfs_init(struct hostfs *fs, const char *root, struct err *e)
{
	struct stat given, slash;
	size_t len;

	*fs = HOSTFS_INIT;
	if (!root || !*root)
		root = "/";
	len = strlen(root);
	while (len > 1 && root[len - 1] == '/')
		len--;
	if (len >= sizeof(fs->root))
		return err_set(e, ENAMETOOLONG, "root directory: %s", err_name(ENAMETOOLONG));
	fs->fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fs->fd < 0) {
		int code = errno;

		return err_set(e, code, "root directory %s: %s", root, err_name(code));
	}
	memcpy(fs->root, root, len);
	fs->root[len] = '\0';
	/* "/." and a link to "/" are the real root too. */
	fs->real = streq(fs->root, "/") || (fstat(fs->fd, &given) == 0 && stat("/", &slash) == 0 &&
					    given.st_dev == slash.st_dev && given.st_ino == slash.st_ino);
	return 0;
}

void hostfs_fini(struct hostfs *fs)
{
	cleanup_closep(&fs->fd);
	*fs = HOSTFS_INIT;
}

bool hostfs_is_name(const char *text)
{
	return *text && !streq(text, ".") && !streq(text, "..") && !strchr(text, '/') && strlen(text) <= 255;
}

int hostfs_open(const struct hostfs *fs, int flags, const char *fmt, ...)
{
	char path[PATH_SIZE];
	int r = FORMAT_PATH(path, fmt);

	return r < 0 ? r : open_path(fs, flags, 0600, path);
}

/* read(2) until the end or until buf is full. */
/*
 * A file of one value (is_value) says all of it at once: below half a page, an answer that is shorter than the room for
 * it is the whole, also where the kernel makes files of several records (seq_read_iter(), fs/seq_file.c: it goes on
 * until the next one does not fit into its page). What has an end elsewhere (a FIFO) has said nothing.
 */
static ssize_t read_full(int fd, char *buf, size_t size, bool is_value)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, buf + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (is_value && len < VALUE_SURE)
			break;
	}
	return (ssize_t)len;
}

static size_t cut_newlines(char *buf, size_t len)
{
	while (len && buf[len - 1] == '\n')
		len--;
	buf[len] = '\0';
	return len;
}

/* O_NONBLOCK: a FIFO that lies in a foreign root reads as empty instead of holding us. */
static int open_to_read(const struct hostfs *fs, const char *path)
{
	return open_path(fs, O_RDONLY | O_NONBLOCK, 0, path);
}

static int read_path(const struct hostfs *fs, char *buf, size_t size, const char *path)
{
	_cleanup_close_ int fd = -1;
	ssize_t n;

	if (size == 0 || size > INT32_MAX)
		return -EINVAL;
	fd = open_to_read(fs, path);
	if (fd < 0)
		return fd;
	n = read_full(fd, buf, size, true);
	if (n < 0 || (size_t)n == size) {
		buf[0] = '\0';
		return n < 0 ? (int)n : -EFBIG;
	}
	return (int)cut_newlines(buf, (size_t)n);
}

int hostfs_read(const struct hostfs *fs, char *buf, size_t size, const char *fmt, ...)
{
	char path[PATH_SIZE];
	int r = FORMAT_PATH(path, fmt);

	return r < 0 ? r : read_path(fs, buf, size, path);
}

int hostfs_read_all(const struct hostfs *fs, size_t limit, char **ret, size_t *ret_len, const char *fmt, ...)
{
	char path[PATH_SIZE];
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *buf = NULL;
	size_t size = 0, len = 0;
	int r = FORMAT_PATH(path, fmt);

	if (r < 0)
		return r;
	if (limit > SIZE_MAX / 4)
		return -EINVAL;
	fd = open_to_read(fs, path);
	if (fd < 0)
		return fd;
	/* st_size is no help: it is 0 in /proc and a page in /sys. */
	for (;;) {
		ssize_t n;

		if (len == size) {
			size_t more = size ? size * 2 : 4096;
			char *grown;

			if (len > limit)
				return -EFBIG;
			grown = realloc(buf, more + 1);
			if (!grown)
				return -ENOMEM;
			buf = grown;
			size = more;
		}
		n = read_full(fd, buf + len, size - len, false);
		if (n < 0)
			return (int)n;
		len += (size_t)n;
		if (len < size)
			break;
	}
	if (len > limit)
		return -EFBIG;
	len = cut_newlines(buf, len);
	*ret = steal_ptr(&buf);
	if (ret_len)
		*ret_len = len;
	return 0;
}

int hostfs_read_u64(const struct hostfs *fs, uint64_t *ret, const char *fmt, ...)
{
	char path[PATH_SIZE], buf[32];
	int r = FORMAT_PATH(path, fmt);

	if (r == 0)
		r = read_path(fs, buf, sizeof(buf), path);
	if (r < 0)
		return r == -EFBIG ? -EINVAL : r;
	return num_parse_u64(buf, ret) < 0 ? -EINVAL : 0;
}

int hostfs_read_idset(const struct hostfs *fs, struct idset *ret, const char *fmt, ...)
{
	/* Every second of 8192 CPUs: 4096 numbers of up to four digits with a comma. */
	char path[PATH_SIZE], buf[IDSET_MAX / 2 * 5 + 2];
	int r = FORMAT_PATH(path, fmt);

	if (r == 0)
		r = read_path(fs, buf, sizeof(buf), path);
	if (r < 0)
		return r;
	if (buf[strspn(buf, " \t\n")] == '\0') {
		*ret = IDSET_EMPTY;
		return 0;
	}
	return idset_parse(buf, ret);
}

/* Exactly one write(2). */
static int write_once(int fd, const void *data, size_t len)
{
	ssize_t n;

	do
		n = write(fd, data, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

int hostfs_write(const struct hostfs *fs, const char *value, const char *fmt, ...)
{
	char path[PATH_SIZE], small[256];
	_cleanup_free_ char *large = NULL;
	_cleanup_close_ int fd = -1;
	size_t len = strlen(value);
	char *buf = small;
	int r = FORMAT_PATH(path, fmt);

	if (r < 0)
		return r;
	if (len + 1 > sizeof(small)) {
		large = malloc(len + 1);
		if (!large)
			return -ENOMEM;
		buf = large;
	}
	memcpy(buf, value, len);
	buf[len] = '\n';
	r = hostfs_fault(path);
	if (r)
		return -r;
	hostfs_durable();
	/* Not O_NONBLOCK: cgroup limits would then skip the reclaim that makes them true (Linux 6.16). */
	fd = open_path(fs, O_WRONLY | O_TRUNC, 0, path);
	if (fd < 0)
		return fd;
	r = write_once(fd, buf, len + 1);
	/* Some attributes answer at close, as NFS does for plain files. */
	if (close(steal_fd(&fd)) < 0 && r == 0 && errno != EINTR)
		r = -errno;
	return r;
}

int hostfs_append(int fd, const void *data, size_t len)
{
	int code = fault_of_fd(fd);
	struct stat before;

	if (code)
		return -code;
	if (fstat(fd, &before) < 0)
		return -errno;
	hostfs_durable();
	code = write_once(fd, data, len);
	/* A full /run takes part of a record: without it the next record begins on a line of its own. */
	if (code == -EIO && ftruncate(fd, before.st_size) < 0)
		return -errno;
	return code;
}

/*
 * The directory that a path's last component lies in, as a descriptor, and that component in *base (points
 * into path, which is modified). The component must be a name.
 */
static int open_parent(const struct hostfs *fs, char *path, const char **base)
{
	char *slash;
	size_t len = strlen(path);

	while (len && path[len - 1] == '/')
		path[--len] = '\0';
	slash = strrchr(path, '/');
	*base = slash ? slash + 1 : path;
	if (!hostfs_is_name(*base))
		return -EINVAL;
	if (!slash)
		return open_path(fs, O_PATH | O_DIRECTORY, 0, "");
	*slash = '\0';
	return open_path(fs, O_PATH | O_DIRECTORY, 0, path);
}

/* A new file in dir under a name that nobody else has. */
static int create_temp(int dir, char name[64])
{
	static unsigned int counter;
	int fd = -1;

	for (int i = 0; i < 128; i++) {
		(void)snprintf(name, 64, TEMP_PREFIX "%d.%u", (int)getpid(), ++counter);
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0 || (errno != EEXIST && errno != EINTR))
			break;
	}
	return fd >= 0 ? fd : -errno;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

int hostfs_replace(const struct hostfs *fs, const void *data, size_t len, mode_t mode, const char *fmt, ...)
{
	char path[PATH_SIZE], temp[64];
	_cleanup_close_ int dir = -1, fd = -1;
	const char *base;
	int r = FORMAT_PATH(path, fmt);

	if (r < 0)
		return r;
	r = hostfs_fault(path);
	if (r)
		return -r;
	dir = open_parent(fs, path, &base);
	if (dir < 0)
		return dir;
	fd = create_temp(dir, temp);
	if (fd < 0)
		return fd;
	r = write_all(fd, data, len);
	/* The umask is the caller's. */
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (close(steal_fd(&fd)) < 0 && r == 0 && errno != EINTR)
		r = -errno;
	if (r == 0) {
		hostfs_durable();
		if (renameat(dir, temp, dir, base) < 0)
			r = -errno;
	}
	if (r < 0)
		(void)unlinkat(dir, temp, 0); /* nothing more can be done */
	return r;
}

bool hostfs_is_temp(const char *name)
{
	return str_starts(name, TEMP_PREFIX);
}

/* The process that made a temporary file; 0 if the name is none of ours. */
static int temp_owner(const char *name)
{
	char pid[16];
	const char *dot;
	uint64_t n;

	if (!hostfs_is_temp(name))
		return 0;
	name += strlen(TEMP_PREFIX);
	dot = strchr(name, '.');
	if (!dot || (size_t)(dot - name) >= sizeof(pid))
		return 0;
	memcpy(pid, name, (size_t)(dot - name));
	pid[dot - name] = '\0';
	return num_parse_range(pid, 1, INT32_MAX, &n) < 0 ? 0 : (int)n;
}

int hostfs_clean_temps(const struct hostfs *fs, const char *fmt, ...)
{
	char path[PATH_SIZE];
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;
	int n = 0, r = FORMAT_PATH(path, fmt);

	if (r < 0)
		return r;
	dir = hostfs_opendir(fs, "%s", path);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((d = readdir(dir))) {
		int pid = temp_owner(d->d_name);

		if (pid == 0 || kill(pid, 0) == 0 || errno != ESRCH)
			continue;
		hostfs_durable();
		if (unlinkat(dirfd(dir), d->d_name, 0) == 0)
			n++;
	}
	return n;
}

/* One component of mkdir -p: path up to here, cut at its end. */
static int make_one(const struct hostfs *fs, mode_t mode, const char *path)
{
	char copy[PATH_SIZE];
	_cleanup_close_ int parent = -1, self = -1;
	const char *base;

	self = open_path(fs, O_PATH | O_DIRECTORY, 0, path);
	if (self >= 0 || self != -ENOENT)
		return self < 0 ? self : 0;
	memcpy(copy, path, strlen(path) + 1);
	parent = open_parent(fs, copy, &base);
	if (parent < 0)
		return parent;
	hostfs_durable();
	if (mkdirat(parent, base, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	/* Whatever the umask: the wrapper reads plan/ as another user. */
	return fchmodat(parent, base, mode, 0) < 0 ? -errno : 0;
}

int hostfs_mkdir(const struct hostfs *fs, mode_t mode, const char *fmt, ...)
{
	char path[PATH_SIZE];
	_cleanup_close_ int fd = -1;
	int r = FORMAT_PATH(path, fmt);

	if (r < 0)
		return r;
	/* Nearly always it is there. */
	fd = open_path(fs, O_PATH | O_DIRECTORY, 0, path);
	if (fd >= 0 || fd != -ENOENT)
		return fd < 0 ? fd : 0;
	for (char *p = path + 1; *p; p++) {
		if (*p != '/' || p[-1] == '/')
			continue;
		*p = '\0';
		r = make_one(fs, 0755, path);
		*p = '/';
		if (r < 0)
			return r;
	}
	r = make_one(fs, mode, path);
	if (r < 0)
		return r;
	/* A dangling link or a file of that name made mkdir answer EEXIST. */
	fd = open_path(fs, O_PATH | O_DIRECTORY, 0, path);
	return fd < 0 ? fd : 0;
}

int hostfs_unlink(const struct hostfs *fs, const char *fmt, ...)
{
	char path[PATH_SIZE];
	_cleanup_close_ int dir = -1;
	const char *base;
	int r = FORMAT_PATH(path, fmt);

	if (r < 0)
		return r;
	dir = open_parent(fs, path, &base);
	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	hostfs_durable();
	return unlinkat(dir, base, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* A directory as an object of the host. */
static int change_dir(const struct hostfs *fs, char *path, bool make)
{
	_cleanup_close_ int parent = -1;
	const char *base;
	int r = hostfs_fault(path);

	if (r)
		return -r;
	parent = open_parent(fs, path, &base);
	if (parent < 0)
		return parent;
	hostfs_durable();
	r = make ? mkdirat(parent, base, 0755) : unlinkat(parent, base, AT_REMOVEDIR);
	return r < 0 ? -errno : 0;
}

int hostfs_make_dir(const struct hostfs *fs, const char *fmt, ...)
{
	char path[PATH_SIZE];
	int r = FORMAT_PATH(path, fmt);

	return r < 0 ? r : change_dir(fs, path, true);
}

int hostfs_remove_dir(const struct hostfs *fs, const char *fmt, ...)
{
	char path[PATH_SIZE];
	int r = FORMAT_PATH(path, fmt);

	return r < 0 ? r : change_dir(fs, path, false);
}

bool hostfs_exists(const struct hostfs *fs, const char *fmt, ...)
{
	char path[PATH_SIZE];
	_cleanup_close_ int fd = -1;

	if (FORMAT_PATH(path, fmt) < 0)
		return false;
	fd = open_path(fs, O_PATH, 0, path);
	return fd >= 0;
}

int hostfs_stat(const struct hostfs *fs, struct stat *ret, const char *fmt, ...)
{
	char path[PATH_SIZE];
	_cleanup_close_ int fd = -1;
	int r = FORMAT_PATH(path, fmt);

	if (r < 0)
		return r;
	fd = open_path(fs, O_PATH, 0, path);
	if (fd < 0)
		return fd;
	return fstat(fd, ret) < 0 ? -errno : 0;
}

DIR *hostfs_opendir(const struct hostfs *fs, const char *fmt, ...)
{
	char path[PATH_SIZE];
	_cleanup_close_ int fd = -1;
	int r = FORMAT_PATH(path, fmt);
	DIR *dir;

	fd = r < 0 ? r : open_path(fs, O_RDONLY | O_DIRECTORY, 0, path);
	if (fd < 0) {
		errno = -fd;
		return NULL;
	}
	dir = fdopendir(fd);
	if (dir)
		(void)steal_fd(&fd); /* closedir() closes it */
	return dir;
}

int hostfs_readlink_in(DIR *dir, const char *name, char *buf, size_t size)
{
	ssize_t n;

	if (!hostfs_is_name(name))
		return -EINVAL;
	n = readlinkat(dirfd(dir), name, buf, size);
	if (n < 0)
		return -errno;
	if ((size_t)n >= size)
		return -EFBIG;
	buf[n] = '\0';
	return (int)n;
}

void hostfs_boot_id(const struct hostfs *fs, char buf[BOOT_ID_SIZE])
{
	static const char allowed[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-";
	static char known[BOOT_ID_SIZE]; /* of the real host: no process lives through a boot */
	int n;

	if (fs->real && *known) {
		memcpy(buf, known, sizeof(known));
		return;
	}
	n = read_path(fs, buf, BOOT_ID_SIZE, "proc/sys/kernel/random/boot_id");
	if (n <= 0 || strspn(buf, allowed) != (size_t)n)
		memcpy(buf, "no-boot-id", sizeof("no-boot-id"));
	else if (fs->real)
		memcpy(known, buf, (size_t)n + 1);
}

static uint64_t start_in(const struct hostfs *fs, const char *path)
{
	char buf[1024], *p, *field = NULL;
	uint64_t start;

	if (read_path(fs, buf, sizeof(buf), path) <= 0)
		return 0;
	/* Field 2 is the name in parentheses and may hold anything; field 3 follows the last ")". */
	p = strrchr(buf, ')');
	if (!p || p[1] != ' ')
		return 0;
	p += 2;
	for (int i = 3; i <= 22; i++)
		field = strsep(&p, " ");
	return field && num_parse_u64(field, &start) == 0 ? start : 0;
}

uint64_t hostfs_proc_start(const struct hostfs *fs, int pid)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "proc/%d/stat", pid);
	return pid > 0 ? start_in(fs, path) : 0;
}

uint64_t hostfs_thread_start(const struct hostfs *fs, int pid, int tid)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "proc/%d/task/%d/stat", pid, tid);
	return pid > 0 && tid > 0 ? start_in(fs, path) : 0;
}
