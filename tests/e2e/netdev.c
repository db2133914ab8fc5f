/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * netdev find ROOT DOMAIN.xml | taps PID | taps-of-start PID: what common/netdev.h says, a line for each interface
 * ("WAY BRIDGE UPLINKS...", or "none BRIDGE WHY"; "-" for what is empty) or tap ("NAME IFINDEX ALIAS MAC").
 */
#include "common/netdev.h"
#include "common/num.h"

static const char *dash(const char *text)
{
	return *text ? text : "-";
}

static void show(const struct netdev_facts *f, const char *alias, const struct netdev_interface *i)
{
	static const char *const ways[] = {"none", "bridged", "routed", "direct"};

	printf("%s %s %s", dash(alias), ways[i->way], dash(i->bridge));
	for (unsigned int k = 0; k < i->n; k++)
		printf(" %s/%u", f->devices[i->uplinks[k]].name, f->devices[i->uplinks[k]].ifindex);
	printf("%s%s\n", *i->why ? " " : "", i->why);
}

static int find(const struct hostfs *fs, const char *path)
{
	_cleanup_fclose_ FILE *in = fopen(path, "re");
	static char text[DOMAIN_XML_MAX];
	struct netdev_facts f = {0};
	struct domain d;
	int r;

	if (!in)
		return -errno;
	r = domain_parse(text, fread(text, 1, sizeof(text), in), &d, NULL);
	if (r < 0)
		return r;
	r = netdev_find(fs, &d, &f);
	for (unsigned int i = 0; i < f.n_interfaces; i++)
		show(&f, d.interfaces[i].alias, &f.interfaces[i]);
	netdev_fini(&f);
	domain_fini(&d);
	return r;
}

static int taps(const struct hostfs *fs, bool all, const char *text)
{
	struct netdev_tap *t = NULL;
	uint64_t pid;
	int n;

	if (num_parse_range(text, 1, INT32_MAX, &pid) < 0)
		return -EINVAL;
	n = all ? netdev_taps(fs, (int)pid, &t) : netdev_taps_of_start(fs, (int)pid, &t);
	for (int i = 0; i < n; i++)
		printf("%s %u %s %s\n", t[i].name, t[i].ifindex, dash(t[i].alias), dash(t[i].mac));
	free(t);
	return n < 0 ? n : 0;
}

int main(int argc, char **argv)
{
	bool is_find = argc == 4 && streq(argv[1], "find"), is_all = argc == 3 && streq(argv[1], "taps"),
	     is_start = argc == 3 && streq(argv[1], "taps-of-start");
	struct hostfs fs = HOSTFS_INIT;
	int r;

	if (!is_find && !is_all && !is_start) {
		fprintf(stderr, "usage: netdev find ROOT DOMAIN.xml | taps PID | taps-of-start PID\n");
		return 2;
	}
	r = hostfs_init(&fs, is_find ? argv[2] : NULL, NULL);
	if (r == 0)
		r = is_find ? find(&fs, argv[3]) : taps(&fs, is_all, argv[2]);
	hostfs_fini(&fs);
	if (r < 0)
		fprintf(stderr, "netdev: %s\n", err_name(-r));
	return r < 0;
}
