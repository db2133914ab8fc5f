/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between plan_net.c (what is asked of interfaces, steering, rings) and plan_net_rate.c (classes). */
#pragma once

#include "plan_priv.h"

/* Why nothing of this interface can be shared out or steered on this host, in buf where it needs room. NULL: it can. */
const char *plan_net_why_not_ours(const struct maker *m, const struct domain_interface *itf, char *buf, size_t size);

const char *plan_net_source(const struct value *v);

/* Its class on each uplink. where: NULL if the host's devices were not looked at; target: what messages call it. */
void plan_net_class(struct maker *m, const struct domain_interface *itf, const struct netdev_interface *where,
		    const char *target);
