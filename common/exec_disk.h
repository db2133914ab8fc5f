/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the command line of a running QEMU says of one disk's block nodes. Those that libvirt made later, by the monitor
 * (snapshot, block copy, a new medium, a disk that was plugged in), are not on it: see exec_disk_index().
 */
#pragma once

#include "exec_result.h"
#include "qemuram.h"

/* Whether this is a property of a disk's block nodes: settings of disks may be of other things as well. */
bool exec_disk_knows(const char *knob);

/* Answer one setting of the exec stage, `why` only where it is the command line that says why. disk NULL: not known. */
void exec_disk_answer(const struct strings *argv, const struct plan_disk *disk, const struct setting *s,
		      struct exec_result *ret);

/*
 * N of the "libvirt-N-format" or "libvirt-N-storage" that the disk was started on: while libvirt's <source index=> is
 * the same, that node is still the active one. 0: not known.
 */
unsigned int exec_disk_index(const struct strings *argv, const struct plan_disk *disk);
