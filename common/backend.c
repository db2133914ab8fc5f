/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of back ends: a new one is a new be_*.c and a line here. */
#include "backend.h"

static const struct backend *const backends[] = {
	&be_file, &be_cgroup, &be_thread, &be_unit, &be_cgkey, &be_mask, &be_net, &be_resctrl, &be_irq,
	&be_irqbalance,
};

const struct backend *backend_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
		if (streq(backends[i]->name, name))
			return backends[i];
	return NULL;
}
