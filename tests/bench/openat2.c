/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For valgrind, which does not know openat2(2) (3.19): preloaded, it makes it an openat(2) below the fake root. No more than
 * what a bench needs: nothing keeps a path inside.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <sys/syscall.h>

static long call(long n, const long a[6])
{
	register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(n), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	if (r < 0 && r > -4096) {
		errno = (int)-r;
		return -1;
	}
	return r;
}

long syscall(long n, ...)
{
	va_list ap;
	long a[6];

	va_start(ap, n);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (n == SYS_openat2) {
		const struct open_how *how = (const void *)a[2];
		const char *path = (const char *)a[1];

		while (*path == '/')
			path++;
		a[1] = (long)(*path ? path : ".");
		a[2] = (long)how->flags;
		a[3] = (long)how->mode;
		n = SYS_openat;
	}
	return call(n, a);
}
