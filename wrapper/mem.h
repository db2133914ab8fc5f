/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest RAM on the command line: the back end that "-machine ...,memory-backend=ID" names, or those of guest cells,
 * that "-numa node,...,memdev=ID" names; locking and merging of all of it. Host-side properties only: type
 * memory-backend-ram becomes a private memory-backend-memfd on huge pages, or stays and gets nodes and preallocation.
 * The RAM blocks keep their names, so a saved image and a migration peer fit with and without.
 */
#pragma once

#include "common/wplan.h"
#include "wrapper/argv.h"
#include "wrapper/kept.h"
#include "wrapper/tryout.h"

/*
 * Change the words of `edit` (made of argc, argv) as the plan's memory records, lock and merge want, each part only if
 * its tryout succeeds; reasons for what stays go to kept. qemu: version, 0 unknown. -ENOMEM: edit is unusable.
 */
int mem_rewrite(const struct hostfs *fs, const struct wplan *w, unsigned int qemu, const struct tryout *t,
		struct argv_edit *edit, struct kept *kept);
