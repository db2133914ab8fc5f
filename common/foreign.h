/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains that run without us, and other programs: which CPUs they occupy. */
#pragma once

#include "domain.h"
#include "ledger.h"

/*
 * CPUs that a domain's own <vcpupin> of its present vCPUs name, cut to `online`. A vCPU that may use all of those is
 * not pinned. Empty: it pins nothing.
 */
struct idset foreign_pins(const struct domain *d, const struct idset *online);

/*
 * Look at all running domains (run/libvirt/qemu/NAME.xml, which only root can read) and add a CLAIM_FOREIGN to
 * *found for each that has no claim in `known` and occupies CPUs: pinned by its XML, or by somebody's hand. Files
 * that cannot be read or understood are skipped. Returns how many were added, or -ENOMEM.
 */
int foreign_scan(const struct hostfs *fs, struct ledger *known, const struct idset *online, struct ledger *found);

/*
 * The same for programs that are no guests: threads that may use one CPU only and keep it busy (foreign_busy.c). The
 * claim's name is the program's (comm), and it ends with the process.
 */
int foreign_scan_busy(const struct hostfs *fs, struct ledger *known, const struct idset *online, struct ledger *found);

/* Take over what was found, but for domains that have a claim by now. Returns 0 or -ENOMEM. */
int foreign_merge(struct ledger *to, const struct ledger *found);
