/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wrapper/attr.h"

#include <numaif.h>
#include <sys/prctl.h>

#include "common/core_sched.h"
#include "common/ioprio.h"
#include "wrapper/tryout.h"

#ifndef MPOL_PREFERRED_MANY
#define MPOL_PREFERRED_MANY 5 /* Linux 5.15 */
#endif

struct attr_value {
	int mode;         /* of a memory policy, or an I/O priority */
	struct idset set; /* of nodes or CPUs */
};

static int parse_mempolicy(const char *text, struct attr_value *ret)
{
	const char *colon = strchr(text, ':');
	char policy[16];

	if (!colon || (size_t)(colon - text) >= sizeof(policy))
		return -EINVAL;
	memcpy(policy, text, (size_t)(colon - text));
	policy[colon - text] = '\0';
	ret->mode = tryout_mode(policy);
	if (ret->mode != MPOL_PREFERRED && ret->mode != MPOL_INTERLEAVE)
		return -EINVAL;
	return idset_parse(colon + 1, &ret->set);
}

static int apply_mempolicy(const struct attr_value *v)
{
	struct tryout_mask mask;
	int r = tryout_mask(&v->set, &mask);

	if (r < 0)
		return r;
	/* MPOL_PREFERRED takes the first of several nodes and forgets the others. */
	if (v->mode == MPOL_PREFERRED && idset_count(&v->set) > 1 &&
	    set_mempolicy(MPOL_PREFERRED_MANY, mask.w, TRYOUT_NODES_MAX + 1) == 0)
		return 0;
	return set_mempolicy(v->mode, mask.w, TRYOUT_NODES_MAX + 1) < 0 ? -errno : 0;
}

static int parse_affinity(const char *text, struct attr_value *ret)
{
	return idset_parse(text, &ret->set);
}

static int apply_affinity(const struct attr_value *v)
{
	return tryout_set_affinity(&v->set);
}

static int parse_ioprio(const char *text, struct attr_value *ret)
{
	ret->mode = ioprio_parse(text);
	return ret->mode < 0 ? ret->mode : 0;
}

/* Of the thread that becomes QEMU's first; the others get it from the one that makes them. */
static int apply_ioprio(const struct attr_value *v)
{
	return ioprio_set_thread(0, v->mode);
}

static int parse_core(const char *text, struct attr_value *ret)
{
	(void)ret;
	return streq(text, "yes") ? 0 : -EINVAL;
}

/* Threads and execve(2) keep the cookie; this process has one thread yet, but the group is what is meant. */
static int apply_core(const struct attr_value *v)
{
	(void)v;
	return prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0UL, (unsigned long)PR_SCHED_CORE_SCOPE_THREAD_GROUP, 0UL) < 0
		       ? -errno
		       : 0;
}

static const struct attr {
	const char *name, *knob;
	int (*parse)(const char *text, struct attr_value *ret);
	int (*apply)(const struct attr_value *v); /* 0 or -errno; all or nothing */
	const char *(*explain)(int code);         /* what apply's errno means, NULL: what it always does */
} table[] = {
	{ "mempolicy", "memory.placement", parse_mempolicy, apply_mempolicy, NULL },
	{ "affinity", "cpu.emulator", parse_affinity, apply_affinity, NULL },
	{ "ioprio", "io.priority", parse_ioprio, apply_ioprio, NULL },
	{ "core-sched", "cpu.core-scheduling", parse_core, apply_core, core_sched_error },
};

static const struct attr *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (streq(table[i].name, name))
			return &table[i];
	}
	return NULL;
}

void attr_apply(const struct wplan_attr *attrs, unsigned int n, struct kept *kept)
{
	for (unsigned int i = 0; i < n; i++) {
		const struct attr *a = find(attrs[i].name);
		struct attr_value v = { 0 };
		const char *why = NULL;
		int r;

		if (!a) {
			kept_add(kept, attrs[i].name, "not known to this wrapper");
			continue;
		}
		r = a->parse(attrs[i].value, &v);
		if (r == 0) {
			r = a->apply(&v);
			why = r < 0 && a->explain ? a->explain(-r) : NULL;
		}
		if (why)
			kept_add(kept, a->knob, "%s", why);
		else if (r < 0)
			kept_add(kept, a->knob, "%s %s: %s", a->name, attrs[i].value, err_name(-r));
	}
}
