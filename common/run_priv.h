/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between run.c (QEMU and its threads) and run_worker.c (threads of the kernel's own that work for it). */
#pragma once

#include "step.h"

/* include/linux/sched.h, PF_*; field 9 of a stat file */
#define TASK_KERNEL_THREAD 0x00200000
#define TASK_NO_SETAFFINITY 0x04000000

/* What is used of a stat file, proc(5). */
struct thread_stat {
	char comm[64];
	uint64_t flags;
	uint64_t start;
};

/* text is modified. -EBADMSG: it is none. */
int run_parse_stat(char *text, struct thread_stat *ret);

/* A number's part in run.tasks: added up, so that the order of a list says nothing. splitmix64, Steele et al. 2014 */
static inline uint64_t run_mix(uint64_t v)
{
	v += 0x9e3779b97f4a7c15;
	v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9;
	v = (v ^ (v >> 27)) * 0x94d049bb133111eb;
	return v ^ (v >> 31);
}

/* Add them to r->threads, and who is in their list to r->tasks. 0 or -ENOMEM; what cannot be read is not there. */
int run_find_workers(const struct hostfs *fs, struct run *r);
uint64_t run_look_workers(const struct hostfs *fs, const char *file);
