/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The network devices of a running domain: which it has is in netdev.h; here they are joined by what their queues are
 * called, so that steps can be made without a look at the host.
 */
#include "num.h"
#include "step.h"

#define QUEUES_MAX 4096 /* MAX_TAP_QUEUES is 256, drivers/net/tun.c; a device of somebody else's may have more */

/* Directories "rx-0", "rx-1", ... */
static void count_queues(const struct hostfs *fs, struct run_tap *t)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "sys/class/net/%s/queues", t->tap.name);
	const struct {
		const char *prefix;
		unsigned int *count;
	} kinds[] = {{"rx-", &t->n_rxq}, {"tx-", &t->n_txq}};
	struct dirent *d;
	uint64_t number;

	while (dir && (d = readdir(dir)))
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
			if (str_starts(d->d_name, kinds[i].prefix) &&
			    num_parse_range(d->d_name + strlen(kinds[i].prefix), 0, QUEUES_MAX, &number) == 0)
				++*kinds[i].count;
}

void run_read_taps(const struct hostfs *fs, struct run *r, const struct plan *p, bool starts)
{
	_cleanup_free_ struct netdev_tap *taps = NULL;
	int n = 0;

	if (steps_need_taps(p))
		n = starts ? netdev_taps_of_start(fs, r->pid, &taps) : netdev_taps(fs, r->pid, &taps);
	free(r->taps);
	r->n_taps = 0;
	r->taps = n > 0 ? calloc((size_t)n, sizeof(*r->taps)) : NULL;
	for (int i = 0; i < n && r->taps; i++) {
		struct run_tap *t = &r->taps[r->n_taps++];

		t->tap = taps[i];
		if (hostfs_is_name(t->tap.name))
			count_queues(fs, t);
	}
}
