/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of our files, all below the root of struct hostfs, therefore without leading "/". */
#pragma once

/* Set by the makefile from sysconfdir; like all of these without the leading "/". */
#ifndef DT_SYSCONFDIR
#define DT_SYSCONFDIR "etc"
#endif

#define PATH_STATE "run/domtune"
#define PATH_LEDGER PATH_STATE "/ledger"
#define PATH_LOCK PATH_STATE "/lock"
#define PATH_CACHE PATH_STATE "/cache"
#define PATH_PLAN PATH_STATE "/plan" /* plan/UUID, 0644 */
#define PATH_UNDO PATH_STATE "/undo" /* undo/UUID, 0600 */
#define PATH_LATE PATH_STATE "/late" /* late/UUID, 0600; see late.h */
#define PATH_KEPT "var/lib/domtune"
#define PATH_ETC DT_SYSCONFDIR "/domtune"
#define PATH_POLICY PATH_ETC "/policy.xml"
#define PATH_DISABLED PATH_ETC "/disabled"
#define PATH_LIBVIRT_RUN "run/libvirt/qemu" /* NAME.pid, NAME.xml */

/* Set by the makefile from prefix, libexecdir, sbindir, datadir: where our programs and data were installed. */
#ifndef DT_LIBEXECDIR
#define DT_LIBEXECDIR "/usr/libexec"
#endif
#ifndef DT_SBINDIR
#define DT_SBINDIR "/usr/sbin"
#endif
#ifndef DT_DATADIR
#define DT_DATADIR "/usr/share"
#endif
#ifndef DT_VERSION
#define DT_VERSION "0"
#endif
#define DT_HELPERS DT_LIBEXECDIR "/domtune"
