/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Attributes of the process that becomes QEMU: kept across execve(2) and inherited by all its threads. One
 * table; a new attribute is a new row, and a new name in the plan:
 *
 *   mempolicy   "preferred:NODES" or "interleave:NODES"; never bind, a full node would get QEMU killed
 *   affinity    "CPUS"; of the emulator's threads, libvirt resets that of vCPU and I/O threads
 *   ioprio      "be:4", as ioprio.h spells it
 *   core-sched  "yes": a core scheduling cookie of its own (admin-guide/hw-vuln/core-scheduling.rst)
 */
#pragma once

#include "common/wplan.h"
#include "wrapper/kept.h"

/* Set all, in the plan's order. What cannot be set is one reason each, under the attribute's knob. */
void attr_apply(const struct wplan_attr *attrs, unsigned int n, struct kept *kept);
