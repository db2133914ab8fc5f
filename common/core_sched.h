/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Core scheduling (Linux 5.14): the call's words, which a C library may be too old for, and what its answers mean. */
#pragma once

#include <sys/prctl.h>

#include "util.h"

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE        62
#define PR_SCHED_CORE_GET    0
#define PR_SCHED_CORE_CREATE 1
#endif
#ifndef PR_SCHED_CORE_SCOPE_THREAD
#define PR_SCHED_CORE_SCOPE_THREAD       0
#define PR_SCHED_CORE_SCOPE_THREAD_GROUP 1
#endif

/* In words; NULL: the errno says it all. */
static inline const char *core_sched_error(int code)
{
	return code == EINVAL	? "this kernel has no core scheduling (CONFIG_SCHED_CORE)"
	       : code == ENODEV ? "the cores in use have one thread each"
				: NULL;
}
