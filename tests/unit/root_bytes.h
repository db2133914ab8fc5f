/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* More of root.h: files with NULs in them, formatted ones, and what is in a file byte by byte. */
#pragma once

#include <stdarg.h>

#include "root.h"

static inline void root_put_bytes(struct root *r, const char *path, const void *bytes, size_t len)
{
	int fd;

	root_put(r, path, "");
	fd = openat(r->fs.fd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
		TAP_FAIL("write %s", path);
	if (fd >= 0)
		(void)close(fd);
}

static inline void PRINTF(3, 4) root_putf(struct root *r, const char *path, const char *fmt, ...)
{
	char text[8192];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	root_put(r, path, text);
}

/* The file's bytes in a static buffer; "(absent)" if it cannot be read. */
static inline const char *root_get(struct root *r, const char *path)
{
	static char text[65536];
	int fd = openat(r->fs.fd, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		(void)close(fd);
	if (n < 0)
		return "(absent)";
	text[n] = '\0';
	return text;
}

static inline void root_remove(struct root *r, const char *path)
{
	struct stat st;

	if (fstatat(r->fs.fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    unlinkat(r->fs.fd, path, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0)
		TAP_FAIL("remove %s", path);
}
