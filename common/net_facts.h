/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a plan has to know of uplinks beside what sysfs says: their roots and rings, by netlink. Reads only. */
#pragma once

#include "plan.h"

/* ret[i] is about nets->devices[i], if an interface's traffic leaves by it; what cannot be read stays "not known". */
void net_facts_read(const struct hostfs *fs, const struct netdev_facts *nets, struct plan_nic ret[NETDEV_MAX]);
