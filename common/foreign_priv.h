/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between foreign.c (guests) and foreign_busy.c (other programs). */
#pragma once

#include "foreign.h"

/* Cpus_allowed_list of one thread (proc_pid_status(5)). 0 or -errno. */
int foreign_thread_cpus(const struct hostfs *fs, int pid, const char *tid, struct idset *ret);

/*
 * A CLAIM_FOREIGN for a process that is no guest; its uuid is made of pid and start time. 1, 0 if there is one
 * already, -ENOMEM.
 */
int foreign_add_process(struct ledger *known, struct ledger *found, const char *name, int pid, uint64_t start,
			const struct idset *cpus);
