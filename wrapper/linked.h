/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which libraries a program names: whether a QEMU was built with io_uring (liburing) and the kernel's own asynchronous
 * I/O (libaio) cannot be asked without running it. libvirt's capability cache tells of the first only. Reads the
 * program's file, nothing else; all of it is checked, so a damaged one is no harm.
 */
#pragma once

#include "common/hostfs.h"

/*
 * 0: it needs `library` ("liburing.so", of whatever version) itself. -ENOENT: it does not; -ENOEXEC: not an ELF program
 * of this machine's kind; else as opening it. The reason is in e.
 */
int linked_with(const struct hostfs *fs, const char *program, const char *library, struct err *e);
