/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small things every file needs: cleanup attributes, hand-over, array sizes. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define streq(a, b) (strcmp((a), (b)) == 0)

static inline void cleanup_freep(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_closep(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		(void)close(*fd); /* nothing was buffered: there is nothing to lose */
		errno = saved;
	}
}

static inline void cleanup_closedirp(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

static inline void cleanup_fclosep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _cleanup_free_ _cleanup_(cleanup_freep)
#define _cleanup_close_ _cleanup_(cleanup_closep)
#define _cleanup_closedir_ _cleanup_(cleanup_closedirp)
#define _cleanup_fclose_ _cleanup_(cleanup_fclosep)

/* Hand the pointer (the descriptor) over: the variable forgets it. */
#define steal_ptr(pp)                            \
	({                                       \
		__typeof__(*(pp)) stolen = *(pp); \
		*(pp) = NULL;                    \
		stolen;                          \
	})

static inline int steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

static inline bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}
