/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disks on the command line: the device with the plan's alias names a block node, and that one those below it,
 *
 *     -device {..."drive":"libvirt-2-format","id":"virtio-disk0"}
 *     -blockdev
 * {"node-name":"libvirt-2-format","driver":"qcow2","file":"libvirt-2-storage","backing":"libvirt-3-format"} -blockdev
 * {"node-name":"libvirt-2-storage","driver":"file","filename":"/srv/web1.qcow2"}
 *
 * (libvirt leaves the format node out for raw images, from 10.0 on.) Only properties of nodes are changed, which are
 * the host's side; devices never are.
 */
#pragma once

#include "common/wplan.h"
#include "wrapper/argv.h"
#include "wrapper/kept.h"
#include "wrapper/tryout.h"

/*
 * Change the words of `edit` as the plan's disk records want, each property only if its tryout succeeds and all nodes
 * of the disk are understood; reasons for what stays go to kept, as "disk.io vda", or "disk vda" for all that was
 * asked. emulator: the real one's path, NULL unknown. -ENOMEM: edit is unusable.
 */
int blk_rewrite(const struct hostfs *fs, const struct wplan *w, const char *emulator, const struct tryout *t,
		struct argv_edit *edit, struct kept *kept);
