/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* I/O priorities as words ("none", "idle", "be:0".."be:7", "rt:0".."rt:7") and as ioprio_set(2) has them. */
#pragma once

#include "util.h"

/* The kernel's number; -EINVAL: no such word. Pure. */
int ioprio_parse(const char *word);

/* The word of the kernel's number. Length, -EINVAL (a class that is not known here) or -EFBIG. Pure. */
int ioprio_format(int value, char *buf, size_t size);

/* Of one thread, 0: the caller. The kernel's number, or -errno. */
int ioprio_of_thread(int tid);
/* 0 or -errno. Side effect: what the thread submits from here on, and threads that it makes, have that priority. */
int ioprio_set_thread(int tid, int value);
