/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the ledger is kept and who may believe it. The file is replaced by rename, so a reader without the lock sees
 * one whole state. It is believed if it is a regular file of root's (or the caller's, below another root) that nobody
 * else can write, and its first line names this format and boot; anything else is as if there were none.
 *
 * The lock is an flock(2) on a file of its own that is never renamed; its mode is 0600, since whoever can open it can
 * hold it. Death is judged here too: the hook asks at every phase, so that question must not parse the ledger.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "ledger_priv.h"
#include "num.h"
#include "paths.h"
#include "patience.h"
#include "record.h"

#define LEDGER_MAX (64u << 20) /* 10,000 domains make 2 MB */

/* Whether an inode of our state directory can be believed. */
static int check_owner(const struct stat *st, mode_t type)
{
	if (S_ISLNK(st->st_mode))
		return -ELOOP;
	if ((st->st_mode & S_IFMT) != type)
		return type == S_IFDIR ? -ENOTDIR : -EINVAL;
	if ((st->st_uid != 0 && st->st_uid != geteuid()) || (st->st_mode & (S_IWGRP | S_IWOTH)))
		return -EPERM;
	return 0;
}

int ledger_check_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? -errno : check_owner(&st, S_IFREG);
}

static int make_dir(const struct hostfs *fs, const char *path, mode_t mode, struct err *e)
{
	_cleanup_close_ int fd = hostfs_open(fs, O_PATH | O_NOFOLLOW, "%s", path);
	struct stat st;
	int rc;

	if (fd == -ENOENT) {
		rc = hostfs_mkdir(fs, mode, "%s", path);
		if (rc < 0)
			return err_set(e, -rc, "/%s: cannot be created: %s", path, err_name(-rc));
		fd = hostfs_open(fs, O_PATH | O_NOFOLLOW, "%s", path);
	}
	if (fd < 0)
		return err_set(e, -fd, "/%s: %s", path, err_name(-fd));
	rc = fstat(fd, &st) < 0 ? -errno : check_owner(&st, S_IFDIR);
	if (rc < 0)
		return err_set(e, -rc, "/%s: not a directory that is ours alone: %s", path, err_name(-rc));
	return 0;
}

int ledger_make_dirs(const struct hostfs *fs, struct err *e)
{
	static const struct {
		const char *path;
		mode_t mode;
	} dirs[] = {{PATH_STATE, 0755}, {PATH_CACHE, 0755}, {PATH_PLAN, 0755}, {PATH_UNDO, 0700}};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		int rc = make_dir(fs, dirs[i].path, dirs[i].mode, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail: the clock exists */
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int ledger_flock(int fd, unsigned int ms)
{
	int64_t deadline_us = now_us() + (int64_t)ms * 1000;
	struct timespec pause = {0, 200 * 1000};

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (now_us() >= deadline_us)
			return -ETIMEDOUT;
		(void)nanosleep(&pause, NULL); /* a shorter pause only asks again sooner */
		if (pause.tv_nsec < 3200 * 1000)
			pause.tv_nsec *= 2;
	}
	return 0;
}

int ledger_lock(const struct hostfs *fs, struct err *e)
{
	struct stat st;
	int rc;

	for (;;) {
		_cleanup_close_ int fd = hostfs_open(fs, O_RDWR | O_CREAT, "%s", PATH_LOCK);

		if (fd < 0)
			return err_set(e, -fd, "/%s: %s", PATH_LOCK, err_name(-fd));
		rc = ledger_check_file(fd);
		if (rc == 0)
			rc = ledger_flock(fd, patience_lock_ms());
		if (rc == -ETIMEDOUT)
			return err_set(e, ETIMEDOUT, "/%s: somebody has held it for %u ms", PATH_LOCK, patience_lock_ms());
		if (rc < 0)
			return err_set(e, -rc, "/%s: %s", PATH_LOCK, err_name(-rc));
		/* Removed by hand while we waited: another process may hold its successor. */
		if (fstat(fd, &st) == 0 && st.st_nlink > 0)
			return steal_fd(&fd);
	}
}

/* 0: *ret is the text; -ENOENT: there is none to be believed. */
static int read_text(const struct hostfs *fs, char **ret)
{
	_cleanup_close_ int fd = hostfs_open(fs, O_RDONLY | O_NOFOLLOW, "%s", PATH_LEDGER);
	_cleanup_free_ char *text = NULL;
	size_t have = 0;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return fd == -ELOOP || fd == -EACCES ? -ENOENT : fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (check_owner(&st, S_IFREG) < 0 || st.st_size > LEDGER_MAX)
		return -ENOENT;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	/* A renamed file no longer changes: its size is what there is to read. */
	while (have < (size_t)st.st_size && (n = read(fd, text + have, (size_t)st.st_size - have)) != 0) {
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			have += (size_t)n;
	}
	text[have] = '\0';
	*ret = steal_ptr(&text);
	return 0;
}

/* Generations of a lost ledger must not come again within the boot. */
static uint64_t first_generation(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_BOOTTIME, &t); /* cannot fail: the clock exists */
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 + 1;
}

static unsigned int count_claims(const char *text)
{
	unsigned int n = str_starts(text, "claim\t");

	while ((text = strstr(text, "\nclaim\t"))) {
		n++;
		text++;
	}
	return n;
}

/* Line by line, claims in a copy: they point to the lines they were read from. What is no claim is parsed where it is. */
static int parse_all(char *text, struct ledger *l)
{
	_cleanup_free_ char *copy = malloc(RECORD_MAX + 1);
	int rc = copy ? ledger_reserve(l, count_claims(text) + 1) : -ENOMEM;

	while (*text && rc == 0) {
		char *end = strchrnul(text, '\n'), *next = *end ? end + 1 : end;
		size_t len = (size_t)(end - text);
		size_t taken = len < RECORD_MAX ? len : RECORD_MAX; /* one that is longer is a bad one all the same */
		unsigned int n = l->n_claims;

		if (str_starts(text, "claim\t")) {
			memcpy(copy, text, taken);
			copy[taken] = '\0';
			rc = ledger_parse(copy, l);
		} else {
			*end = '\0';
			rc = ledger_parse(text, l);
		}
		if (l->n_claims > n && next > end && !l->older) {
			l->claims[n].line = text;
			l->claims[n].line_len = len + 1;
		}
		text = next;
	}
	return rc;
}

static bool is_others(const char *line, const char *uuid, size_t uuid_len, bool claims_only)
{
	if (str_starts(line, "claim\t"))
		return strncmp(line + 6, uuid, uuid_len) != 0;
	return claims_only && (str_starts(line, "shared\t") || str_starts(line, "want\t") || str_starts(line, "pool\t"));
}

/* Claims of others go to l->rest as they are, in runs; everything else is parsed, or, with claims_only, nothing else. */
static int parse_one(char *text, const char *uuid, bool claims_only, struct ledger *l)
{
	_cleanup_sbuf_ struct sbuf rest = {0};
	size_t uuid_len = strlen(uuid);
	char *next;
	int rc = 0;

	for (char *line = text; *line && rc == 0; line = next) {
		char *start = line;

		while (is_others(line, uuid, uuid_len, claims_only)) {
			line = strchrnul(line, '\n');
			line += *line ? 1 : 0;
		}
		sbuf_addn(&rest, start, (size_t)(line - start));
		if (line > start && line[-1] != '\n')
			sbuf_add(&rest, "\n");
		next = strchrnul(line, '\n');
		if (*next)
			*next++ = '\0';
		rc = ledger_parse(line, l);
	}
	if (rc < 0)
		return rc;
	l->rest_len = rest.len;
	l->rest = sbuf_steal(&rest);
	return l->rest ? 0 : -ENOMEM;
}

static int read_ledger(const struct hostfs *fs, const char *uuid, bool claims_only, struct ledger *ret, struct err *e)
{
	struct ledger l = {0};
	char *text = NULL, *pos;
	int rc;

	hostfs_boot_id(fs, l.boot_id);
	l.next_generation = first_generation();
	rc = read_text(fs, &text);
	pos = text;
	if (rc == 0 && *text && !ledger_take_head(&pos, l.boot_id, &l))
		l.other_boot = true;
	else if (rc == 0)
		rc = uuid && !l.older ? parse_one(pos, uuid, claims_only, &l) : parse_all(pos, &l); /* no older line is kept */
	l.text = text;
	if (rc < 0 && rc != -ENOENT) {
		ledger_fini(&l);
		return err_set(e, -rc, "/%s: %s", PATH_LEDGER, err_name(-rc));
	}
	*ret = l;
	return 0;
}

int ledger_read(const struct hostfs *fs, struct ledger *ret, struct err *e)
{
	return read_ledger(fs, NULL, false, ret, e);
}

int ledger_read_one(const struct hostfs *fs, const char *uuid, struct ledger *ret, struct err *e)
{
	return read_ledger(fs, uuid, false, ret, e);
}

int ledger_read_claim(const struct hostfs *fs, const char *uuid, struct ledger *ret, struct err *e)
{
	return read_ledger(fs, uuid, true, ret, e);
}

/* Whether a file of ours names this boot in its first line. */
static bool is_of_boot(const struct hostfs *fs, const char *dir, const char *name, const char *boot_id)
{
	_cleanup_close_ int fd = hostfs_open(fs, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, "%s/%s", dir, name);
	char head[512];
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, head, sizeof(head));
	return n > 0 && memmem(head, (size_t)n, boot_id, strlen(boot_id));
}

static void empty_of_other_boots(const struct hostfs *fs, const char *dir, const char *boot_id)
{
	_cleanup_closedir_ DIR *d = hostfs_opendir(fs, "%s", dir);
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (hostfs_is_name(entry->d_name) && !is_of_boot(fs, dir, entry->d_name, boot_id))
			(void)hostfs_unlink(fs, "%s/%s", dir, entry->d_name); /* what stays is never believed */
}

int ledger_write(const struct hostfs *fs, const struct ledger *l, struct err *e)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	int rc = ledger_print(l, &b);

	if (rc == 0 && l->other_boot) {
		empty_of_other_boots(fs, PATH_PLAN, l->boot_id);
		empty_of_other_boots(fs, PATH_UNDO, l->boot_id);
		empty_of_other_boots(fs, PATH_LATE, l->boot_id);
	}
	if (rc == 0)
		rc = hostfs_replace(fs, b.s, b.len, 0644, "%s", PATH_LEDGER);
	return rc < 0 ? err_set(e, -rc, "/%s: %s", PATH_LEDGER, err_name(-rc)) : 0;
}

/* --- death ------------------------------------------------------------------------------------------------------ */

/* Below another root the processes are files; here kill(2) answers in a third of a microsecond. */
static bool process_is_gone(const struct hostfs *fs, int pid, uint64_t start, bool thorough)
{
	uint64_t now;

	if (fs->real && kill(pid, 0) < 0 && errno == ESRCH)
		return true;
	if (fs->real && !thorough)
		return false;
	now = hostfs_proc_start(fs, pid);
	if (now == 0)
		return !fs->real && !hostfs_exists(fs, "proc/%d", pid);
	return start != 0 && now != start;
}

static bool has_pid_file(const struct hostfs *fs, const char *name)
{
	/* libvirt refuses a name with a slash in it (virXMLCheckIllegalChars, domain_conf.c). */
	return !strchr(name, '/') && hostfs_exists(fs, "%s/%s.pid", PATH_LIBVIRT_RUN, name);
}

bool claim_is_dead(const struct hostfs *fs, const struct claim *c, bool thorough, bool judge_root)
{
	if (!fs->real && !judge_root)
		return false;
	if (c->pid > 0)
		return process_is_gone(fs, c->pid, c->pid_start, thorough);
	if (c->daemon > 0)
		return process_is_gone(fs, c->daemon, c->daemon_start, thorough) && !has_pid_file(fs, c->name);
	/* Nobody knows who called prepare: only somebody who asks for judgement gets one. */
	return judge_root && !has_pid_file(fs, c->name);
}

/* The claim line at *p or the first one after it; *p is moved behind it. NULL: there is none. */
static const char *next_claim(const char **p)
{
	const char *line;

	do {
		line = *p;
		*p = strchrnul(line, '\n');
		*p += **p ? 1 : 0;
	} while (*line && !str_starts(line, "claim\t"));
	return *line ? line : NULL;
}

/* Decimal at the start of *p, which is moved behind the next tab. */
static uint64_t take_number(const char **p)
{
	uint64_t v = 0;

	while (**p >= '0' && **p <= '9')
		v = v * 10 + (uint64_t)(*(*p)++ - '0');
	*p += strcspn(*p, "\t\n");
	*p += **p == '\t';
	return v;
}

/* The process that a claim's life hangs on, from its line. False: its domain does not run yet. */
static bool line_process(const char *line, int *ret_pid, uint64_t *ret_start)
{
	for (int fields = 0; fields < 5; fields++)
		(void)take_number(&line); /* they are words: skipped */
	*ret_pid = (int)take_number(&line);
	*ret_start = take_number(&line);
	return *ret_pid > 0;
}

static bool line_is_dead(const struct hostfs *fs, const char *line, bool thorough)
{
	_cleanup_free_ char *copy = NULL;
	struct ledger l = {0};
	uint64_t start;
	bool dead;
	int pid;

	if (line_process(line, &pid, &start))
		return process_is_gone(fs, pid, start, thorough);
	if (!thorough)
		return false;
	/* In full: it needs the name, and is checked as any other line. */
	copy = strndup(line, (size_t)(strchrnul(line, '\n') - line));
	dead = copy && ledger_parse(copy, &l) == 0 && l.n_claims == 1 && claim_is_dead(fs, &l.claims[0], true, false);
	ledger_fini(&l);
	return dead;
}

/*
 * LEDGER_LOOK_PIDS claims from `first` on, in a ring: the first LEDGER_LOOK of them thoroughly, of the others with a
 * pid only whether that is in use.
 */
static bool has_dead(const struct hostfs *fs, const char *text, unsigned int n, unsigned int first)
{
	const char *line;

	for (unsigned int i = 0; (line = next_claim(&text)); i++) {
		unsigned int at = (i + n - first) % n;

		if (at < LEDGER_LOOK_PIDS && line_is_dead(fs, line, at < LEDGER_LOOK))
			return true;
	}
	return false;
}

/* The head of a ledger of this boot: whether its moves wait. -ESTALE: of another one. */
static int head_moves(const struct hostfs *fs, const char *text)
{
	char boot_id[BOOT_ID_SIZE], head[128];
	int len;

	hostfs_boot_id(fs, boot_id);
	len = snprintf(head, sizeof(head), "ledger\t%s\t%s\t", LEDGER_FORMAT, boot_id);
	if (!str_starts(text, head))
		return -ESTALE;
	text += len;
	(void)take_number(&text); /* the next generation */
	return *text == '1';
}

bool ledger_has_moves(const struct hostfs *fs)
{
	_cleanup_close_ int fd = hostfs_open(fs, O_RDONLY | O_NOFOLLOW, "%s", PATH_LEDGER);
	char head[256];
	ssize_t n = fd < 0 || ledger_check_file(fd) < 0 ? 0 : read(fd, head, sizeof(head) - 1);

	head[n > 0 ? n : 0] = '\0';
	return head_moves(fs, head) == 1;
}

bool ledger_has_dead(const struct hostfs *fs)
{
	_cleanup_free_ char *text = NULL;
	unsigned int n;

	if (!fs->real || read_text(fs, &text) < 0 || !*text)
		return false;
	if (head_moves(fs, text) != 0)
		return true;
	n = count_claims(text);
	/* Pids of hook calls go up by a few at a time: every window has its turn. */
	return n && has_dead(fs, text, n, (unsigned int)getpid() * LEDGER_LOOK % n);
}
