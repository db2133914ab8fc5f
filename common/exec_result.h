/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a running QEMU really has of the settings that only the wrapper can bring into force. */
#pragma once

#include "plan.h"

struct exec_result {
	bool ok;
	char effective[1024];
	char why[256]; /* where it is not in force */
};

struct exec_look;

/*
 * Read what all answers need. thorough: also what only the page tables say (the share of guest RAM in transparent huge
 * pages, what may be merged): it takes seconds per TiB, so it is for `verify`, not for a hook. plan is borrowed.
 * -ESRCH: the process is gone; -EACCES: not ours to read; -ENOMEM.
 */
int exec_look(const struct hostfs *fs, const struct plan *plan, int pid, bool thorough, struct exec_look **ret);
/* One setting of the exec stage. */
void exec_answer(const struct exec_look *q, const struct setting *s, struct exec_result *ret);
/* N of "libvirt-N-format", the block node that this disk was started on; 0: not known. */
unsigned int exec_disk_node(const struct exec_look *q, const char *target);
void exec_look_free(struct exec_look *q); /* NULL is fine */
