/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The only door to host files. Every path is relative to one root, "/" or the directory given by
 * DOMTUNE_ROOT or --root, and cannot leave it: openat2(2) with RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS
 * (Linux 5.6). Where the kernel lacks openat2 (ENOSYS, or EPERM from a seccomp filter) and the root is "/",
 * plain openat is used; under another root that is an error.
 *
 * Paths are given printf-style without a leading "/". A component that came from outside (a device name, a
 * thread id) must have been checked with hostfs_is_name() first. All descriptors are O_CLOEXEC|O_NOCTTY.
 * Functions return 0 or a count, or a negative errno; none logs.
 */
#pragma once

#include "err.h"
#include "idset.h"

struct hostfs {
	int fd;          /* the root, O_PATH; -1: closed */
	bool real;       /* the root is "/": threads and processes named there exist */
	char root[4096]; /* for messages: "/" or the directory as given */
};

#define HOSTFS_INIT ((struct hostfs){ .fd = -1 })

/* root: directory, NULL or "" means "/". Errors: as open(2). */
int hostfs_init(struct hostfs *fs, const char *root, struct err *e);
void hostfs_fini(struct hostfs *fs);

/* Whether text can be one path component: not empty, no "/", not "." or "..", at most 255 bytes. */
bool hostfs_is_name(const char *text);

/*
 * open(2) below the root; for writing, the last component is never followed if it is a symlink (-ELOOP). With
 * O_CREAT the mode is 0600: whoever may open the lock file may hold the lock.
 */
int hostfs_open(const struct hostfs *fs, int flags, const char *fmt, ...) PRINTF(3, 4);

/*
 * Read one small file whole into buf, NUL-terminated, trailing newlines cut. Returns the length;
 * -EFBIG if it does not fit in size - 1 bytes (nothing is returned of it).
 */
int hostfs_read(const struct hostfs *fs, char *buf, size_t size, const char *fmt, ...) PRINTF(4, 5);

/* The same into malloc'ed memory, at most `limit` bytes (-EFBIG). *ret_len may be NULL. */
int hostfs_read_all(const struct hostfs *fs, size_t limit, char **ret, size_t *ret_len, const char *fmt, ...)
	PRINTF(5, 6);

/* One decimal number. -EINVAL if the file holds anything else. */
int hostfs_read_u64(const struct hostfs *fs, uint64_t *ret, const char *fmt, ...) PRINTF(3, 4);

/* A kernel CPU or node list ("0-3,8"). An empty file gives the empty set and 0. */
int hostfs_read_idset(const struct hostfs *fs, struct idset *ret, const char *fmt, ...) PRINTF(3, 4);

/*
 * Write one value to an existing attribute file: one write(2), a newline appended, O_TRUNC so that plain
 * files of a fake root behave like attributes, never O_CREAT. Side effect: the host changes; only back ends
 * (be_*.c) call this.
 */
int hostfs_write(const struct hostfs *fs, const char *value, const char *fmt, ...) PRINTF(3, 4);

/*
 * Replace a whole file of ours: unique temporary name in the same directory (O_EXCL|O_NOFOLLOW), write,
 * fchmod, rename. On any failure the old file stays and the temporary one is gone.
 */
int hostfs_replace(const struct hostfs *fs, const void *data, size_t len, mode_t mode, const char *fmt, ...)
	PRINTF(5, 6);

/*
 * A kill between write and rename leaves a temporary file. Its name (".tmp.PID.N") holds nothing of the file it
 * was to become. Readers of a directory skip what hostfs_is_temp() says; hostfs_clean_temps() removes those of
 * processes that are gone, in one directory, and returns how many.
 */
bool hostfs_is_temp(const char *name);
int hostfs_clean_temps(const struct hostfs *fs, const char *fmt, ...) PRINTF(2, 3);

/* Append to an open file of ours: one write(2), nothing is repeated. A short write is taken back and -EIO. */
int hostfs_append(int fd, const void *data, size_t len);

/*
 * For tests, in builds with DT_SAN or DT_TEST: called before every action that outlives the process (write,
 * append, rename, unlink, mkdir, rmdir here; affinities and the like in back ends). DOMTUNE_CRASH_AT=N, or
 * DOMTUNE_CRASH_AT=PROGRAM:N to mean one of several programs, ends the process with SIGKILL before the N-th.
 * hostfs_fault() is the errno (0: none) that DOMTUNE_FAULT="SUBSTRING:ERRNO[*TIMES][;...]" wants for a path.
 */
#if defined(DT_SAN) || defined(DT_TEST)
void hostfs_durable(void);
int hostfs_fault(const char *path);
#else
static inline void hostfs_durable(void)
{
}
static inline int hostfs_fault(const char *path)
{
	(void)path;
	return 0;
}
#endif

/* mkdir -p, mode for the last component, 0755 for the others; an existing directory is success. */
int hostfs_mkdir(const struct hostfs *fs, mode_t mode, const char *fmt, ...) PRINTF(3, 4);
int hostfs_unlink(const struct hostfs *fs, const char *fmt, ...) PRINTF(2, 3); /* absent is success */
/*
 * mkdir(2) and rmdir(2) of one directory where that itself is the change to the host, as in resctrl. Its parent must be
 * there; nothing is forgiven (-EEXIST, -ENOENT). Like hostfs_write() for back ends only.
 */
int hostfs_make_dir(const struct hostfs *fs, const char *fmt, ...) PRINTF(2, 3);
int hostfs_remove_dir(const struct hostfs *fs, const char *fmt, ...) PRINTF(2, 3);
bool hostfs_exists(const struct hostfs *fs, const char *fmt, ...) PRINTF(2, 3);
/* fstat of what the path names, links followed inside the root. struct stat is declared in <sys/stat.h>. */
struct stat;
int hostfs_stat(const struct hostfs *fs, struct stat *ret, const char *fmt, ...) PRINTF(3, 4);
DIR *hostfs_opendir(const struct hostfs *fs, const char *fmt, ...) PRINTF(2, 3); /* NULL: errno */
/* The text of a link (also of a magic one, as in /proc/PID/fd) in an open directory; not followed. Its length; -EFBIG. */
int hostfs_readlink_in(DIR *dir, const char *name, char *buf, size_t size);

/* This boot's id (/proc/sys/kernel/random/boot_id), or the constant "no-boot-id" where it cannot be read. */
#define BOOT_ID_SIZE 40
void hostfs_boot_id(const struct hostfs *fs, char buf[BOOT_ID_SIZE]);

/*
 * Start time of a process in clock ticks since boot, field 22 of /proc/PID/stat (proc(5)); a process is
 * identified by (pid, start). 0: no such process, or not readable.
 */
uint64_t hostfs_proc_start(const struct hostfs *fs, int pid);
/* The same of a thread, where it is one of this process; else 0. */
uint64_t hostfs_thread_start(const struct hostfs *fs, int pid, int tid);
