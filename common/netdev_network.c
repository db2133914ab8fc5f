/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt's networks, from its own files: run/libvirt/network has those that are active, as they are now, within an
 * element <networkstatus> (src/conf/virnetworkobj.c); etc/libvirt/qemu/networks those that are defined. What the modes
 * of <forward> mean: formatnetwork, "Connectivity".
 */
#include "netdev_priv.h"
#include "xml.h"

#define CONFIG_MAX (256u << 10) /* with a host entry for each guest of a large network */

static const struct {
	const char *mode;
	enum netdev_forward forward;
} modes[] = {
	{"nat", FORWARD_ROUTED},         {"route", FORWARD_ROUTED},     {"open", FORWARD_ROUTED},
	{"bridge", FORWARD_DIRECT},      {"private", FORWARD_DIRECT},   {"vepa", FORWARD_DIRECT},
	{"passthrough", FORWARD_DIRECT}, {"hostdev", FORWARD_FUNCTION},
};

static bool attr_is(const xmlNode *n, const char *attr, const char *want)
{
	_cleanup_free_ char *text = n ? xml_attr(n, attr) : NULL;

	return text && streq(text, want);
}

static void take_name(const xmlNode *n, const char *attr, char ret[NETDEV_NAME])
{
	_cleanup_free_ char *text = n ? xml_attr(n, attr) : NULL;

	if (text && netdev_is_name(text))
		memcpy(ret, text, strlen(text) + 1);
}

/* <forward dev=> is the first of its <interface>s; libvirt prints both. */
static void take_devices(struct netdev_network *net, const xmlNode *forward)
{
	take_name(forward, "dev", net->devices[0]);
	if (net->devices[0][0])
		net->n_devices = 1;
	for (const xmlNode *i = xml_child(forward, NULL, "interface"); i && net->n_devices < NETDEV_MAX;
	     i = xml_next(i, NULL, "interface")) {
		char *name = net->devices[net->n_devices];

		take_name(i, "dev", name);
		if (name[0] && !(net->n_devices == 1 && streq(name, net->devices[0])))
			net->n_devices++;
	}
}

static void take_forward(struct netdev_network *net, const xmlNode *forward)
{
	if (!forward)
		return;
	net->forward = FORWARD_ROUTED; /* nat is the default */
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (attr_is(forward, "mode", modes[i].mode))
			net->forward = modes[i].forward;
	take_devices(net, forward);
}

static void take_network(struct netdev_network *net, const xmlNode *n)
{
	take_forward(net, xml_child(n, NULL, "forward"));
	take_name(xml_child(n, NULL, "bridge"), "name", net->bridge);
	if (net->forward == FORWARD_DIRECT && net->bridge[0])
		net->forward = FORWARD_BRIDGE;
	net->is_ovs = attr_is(xml_child(n, NULL, "virtualport"), "type", "openvswitch");
	for (const xmlNode *ip = xml_child(n, NULL, "ip"); ip; ip = xml_next(ip, NULL, "ip")) {
		bool is_ipv6 = attr_is(ip, "family", "ipv6");

		net->ipv6 |= is_ipv6;
		net->ipv4 |= !is_ipv6;
	}
}

static int take_text(struct netdev_network *net, const char *text, size_t len)
{
	struct err e = ERR_INIT;
	_cleanup_xmldoc_ xmlDoc *doc = xml_parse(text, len, CONFIG_MAX, &e);
	const xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;

	if (!doc)
		return e.code == ENOMEM ? -ENOMEM : -EBADMSG;
	if (root && !xml_is(root, NULL, "network"))
		root = xml_child(root, NULL, "network");
	if (!root)
		return -EBADMSG;
	take_network(net, root);
	return 0;
}

int netdev_network_read(const struct hostfs *fs, const char *name, struct netdev_network *ret)
{
	static const char *const dirs[] = {"run/libvirt/network", "etc/libvirt/qemu/networks"};
	struct netdev_network net = {0};
	int r = -ENOENT;

	if (!hostfs_is_name(name))
		return -ENOENT;
	for (size_t i = 0; i < ARRAY_SIZE(dirs) && r == -ENOENT; i++) {
		_cleanup_free_ char *text = NULL;
		size_t len;

		r = hostfs_read_all(fs, CONFIG_MAX, &text, &len, "%s/%s.xml", dirs[i], name);
		if (r == 0)
			r = take_text(&net, text, len);
	}
	if (r == 0)
		*ret = net;
	return r;
}
