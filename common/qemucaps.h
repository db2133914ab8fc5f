/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is known of an emulator without running it: libvirt's capability cache, tolerantly
 * (/var/cache/libvirt/qemu/capabilities/SHA256-OF-PATH.xml, its <version> element), and the record of what
 * `domtune wrap` replaced (/var/lib/domtune/emulator/UUID).
 */
#pragma once

#include "hostfs.h"

/* Version * 1000 scheme of struct plan_wrapper: 7.2.22 is 7002022. 0: not known. Only the file's text is scanned. */
unsigned int qemucaps_version(const struct hostfs *fs, const char *emulator);

/* Whether an <emulator> path is one of our wrappers, i.e. lies in DT_HELPERS. */
bool qemucaps_is_wrapper(const char *emulator);

/* The emulator that `wrap` replaced for this domain. -ENOENT: none recorded. buf holds a path. */
int qemucaps_kept_emulator(const struct hostfs *fs, const char *uuid, char *buf, size_t size);
int qemucaps_keep_emulator(const struct hostfs *fs, const char *uuid, const char *path, struct err *e);
int qemucaps_forget_emulator(const struct hostfs *fs, const char *uuid);

/*
 * The real emulator behind a wrapper path: the kept one, else the wrapper's base name in usr/bin, usr/libexec,
 * then the build's list (DT_EMULATOR_DIRS); must be an executable regular file that is not the wrapper itself
 * (device and inode). -ENOENT.
 */
int qemucaps_real_emulator(const struct hostfs *fs, const char *uuid, const char *wrapper, char *buf, size_t size);
