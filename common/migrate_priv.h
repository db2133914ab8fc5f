/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For the tests of migrate.c: what of the kernel it needs. */
#pragma once

#include "migrate.h"

struct migrate_kernel {
	/*
	 * As move_pages(2): nodes NULL asks where the pages are. status: a node, or a negative errno.
	 * 0 or more (pages that were not moved), or -errno.
	 */
	int (*move)(void *state, int pid, unsigned long n, void **pages, const int *nodes, int *status);
	int (*touch)(void *state, int pid, unsigned long n, void **pages); /* read a byte of each; 0 or -errno */
	uint64_t (*now_ms)(void *state);
	bool (*is_alive)(void *state); /* still the process that was meant */
	void *state;
};

int migrate_with(const struct hostfs *fs, const struct migrate_kernel *k, int pid, uint64_t memory,
		 const struct idset *nodes, unsigned int budget_ms, struct migrate_result *ret, struct err *e);
