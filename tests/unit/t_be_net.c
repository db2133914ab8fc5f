/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Back end net, on devices of a network namespace of its own: trees, classes, limits, flows with real packets. */
#include "netns.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <sys/mount.h>

#include "common/be_net_priv.h"
#include "common/backend.h"
#include "common/netinfo.h"
#include "root.h"

#define ENTER()                                                                                                        \
	do {                                                                                                           \
		const char *why = netns_enter();                                                                       \
		if (why)                                                                                               \
			SKIP(why);                                                                                     \
		fs_real();                                                                                             \
	} while (0)

static struct hostfs fs = {.fd = -1};

static void fs_real(void)
{
	struct err e = ERR_INIT;

	IS_INT(hostfs_init(&fs, "/", &e), 0);
}

/* "DEV:IFINDEX/REST" */
static const char *object(const char *dev, const char *rest)
{
	static char objects[4][64];
	static unsigned int n;
	char *o = objects[n++ % 4];

	(void)snprintf(o, sizeof(objects[0]), "%s/%s", netns_id(dev), rest);
	return o;
}

static const char *get(const char *o)
{
	static char texts[4][256];
	static unsigned int n;
	char *text = texts[n++ % 4];
	int r = be_net.read(&fs, o, text, sizeof(texts[0]));

	if (r < 0)
		(void)snprintf(text, sizeof(texts[0]), "error %d", -r);
	else
		IS_INT(r, strlen(text));
	return text;
}

static int put(const char *o, const char *value)
{
	return be_net.write(&fs, o, value);
}

/* Written, and read back as the same. */
static void set(const char *o, const char *value)
{
	int r = put(o, value);
	const char *now = get(o);

	if (r != 0 || !be_net.same(o, now, value))
		TAP_FAIL("%s: '%s' gives %d, and '%s'", o, value, r, now);
}

#define TREE "link=1000000000 rest=100000000 prio=3"

TEST(a_default_root_gets_a_tree_and_comes_back)
{
	struct net_root before = {0}, now = {0};
	char *shown;

	ENTER();
	netns_uplink("nic");
	shown = strdup(sh("tc qdisc show dev nic"));
	IS_INT(net_root_read(&fs, "nic", &before), 0);
	OK(before.is_default && !before.is_ours);
	IS_STR(get(object("nic", "tree")), "");
	set(object("nic", "tree"), TREE);
	IS_STR(get(object("nic", "tree")), TREE);
	IS_INT(net_root_read(&fs, "nic", &now), 0);
	IS_STR(now.kind, "htb");
	IS_INT(now.handle, 0xd0700000);
	OK(!now.is_default && now.is_ours);
	OK(strstr(sh("tc qdisc show dev nic"), "htb d070: root"));
	OK(strstr(sh("tc qdisc show dev nic"), "default 0x2"));
	OK(strstr(sh("tc class show dev nic"), "class htb d070:1 root rate 1Gbit ceil 1Gbit"));
	OK(strstr(sh("tc class show dev nic classid d070:2"), "parent d070:1"));
	OK(strstr(sh("tc class show dev nic classid d070:2"), "prio 3 rate 100Mbit ceil 1Gbit"));
	set(object("nic", "tree"), "");
	IS_STR(sh("tc qdisc show dev nic"), shown);
	set(object("nic", "tree"), "");
	free(shown);
}

/* One queue for each CPU, which the tree replaces: the planner asks the policy first. */
TEST(a_default_root_of_many_queues_comes_back)
{
	struct net_root root = {0};
	char *before;

	ENTER();
	sh("ip tuntap add dev nic mode tap multi_queue && ip link set nic up");
	before = strdup(sh("tc qdisc show dev nic"));
	IS_INT(net_root_read(&fs, "nic", &root), 0);
	IS_STR(root.kind, "mq");
	OK(root.is_default && root.tx_queues > 1);
	IS_STR(get(object("nic", "tree")), "");
	set(object("nic", "tree"), TREE);
	IS_STR(get(object("nic", "tree")), TREE);
	set(object("nic", "tree"), "");
	IS_STR(sh("tc qdisc show dev nic"), before);
	free(before);
}

TEST(a_tree_is_changed_in_place)
{
	ENTER();
	netns_uplink("nic");
	set(object("nic", "tree"), TREE);
	set(object("nic", "class/d001"), "rate=8000000 ceil=16000000 burst=0 prio=1");
	set(object("nic", "tree"), "link=2000000000 rest=8000000 prio=7");
	OK(strstr(sh("tc class show dev nic classid d070:1"), "rate 2Gbit ceil 2Gbit"));
	OK(strstr(sh("tc class show dev nic classid d070:2"), "ceil 2Gbit"));
	OK(strstr(get(object("nic", "class/d001")), "rate=8000000 ceil=16000000 "));
	/* Somebody has taken a class away. */
	sh("tc class del dev nic classid d070:2");
	IS_STR(get(object("nic", "tree")), "link=2000000000 rest=0 prio=0");
	set(object("nic", "tree"), TREE);
}

TEST(a_tree_that_is_used_stays)
{
	ENTER();
	netns_uplink("nic");
	set(object("nic", "tree"), TREE);
	set(object("nic", "class/d001"), "rate=8000000 ceil=16000000 burst=0 prio=1");
	IS_INT(put(object("nic", "tree"), ""), -EBUSY);
	IS_STR(get(object("nic", "tree")), TREE);
	set(object("nic", "class/d001"), "");
	sh("tc class add dev nic parent d070:1 classid d070:77 htb rate 1mbit");
	IS_INT(put(object("nic", "tree"), ""), -EBUSY);
	sh("tc class del dev nic classid d070:77");
	set(object("nic", "tree"), "");
}

TEST(the_htb_of_somebody_is_joined)
{
	char *before;

	ENTER();
	netns_uplink("nic");
	sh("tc qdisc add dev nic root handle 1: htb default 30 && tc class add dev nic parent 1: classid 1:30 htb rate 9mbit");
	before = strdup(sh("tc qdisc show dev nic; tc class show dev nic"));
	IS_STR(get(object("nic", "tree")), "joined htb 1:");
	OK(be_net.same(object("nic", "tree"), TREE, "joined htb 1:"));
	IS_INT(put(object("nic", "tree"), TREE), 0);
	IS_STR(sh("tc qdisc show dev nic; tc class show dev nic"), before);
	set(object("nic", "class/d0ab"), "rate=8000000 ceil=16000000 burst=0 prio=1");
	OK(strstr(sh("tc class show dev nic"), "class htb 1:d0ab root "));
	set(object("nic", "flow/d0ab"), "direct mac=52:54:00:00:00:01");
	OK(strstr(sh("tc filter show dev nic"), "1:d0ab"));
	IS_INT(put(object("nic", "class/d0ab"), ""), -EBUSY); /* the flow leads there */
	set(object("nic", "flow/d0ab"), "");
	IS_STR(sh("tc filter show dev nic"), "");
	set(object("nic", "class/d0ab"), "");
	IS_INT(put(object("nic", "tree"), ""), 0);
	IS_STR(sh("tc qdisc show dev nic; tc class show dev nic"), before);
	free(before);
}

TEST(a_filter_of_somebody_on_a_joined_root_stays)
{
	char *before;

	ENTER();
	netns_uplink("nic");
	sh("tc qdisc add dev nic root handle 1: htb && tc class add dev nic parent 1: classid 1:30 htb rate 9mbit && "
	   "tc filter add dev nic parent 1: pref 7 protocol ip u32 match ip dst 10.0.0.1 classid 1:30");
	before = strdup(sh("tc filter show dev nic"));
	set(object("nic", "class/d001"), "rate=8000000 ceil=16000000 burst=0 prio=1");
	set(object("nic", "flow/d001"), "direct mac=52:54:00:00:00:01");
	OK(strstr(sh("tc filter show dev nic"), "1:d001"));
	set(object("nic", "flow/d001"), "");
	IS_STR(sh("tc filter show dev nic"), before);
	set(object("nic", "class/d001"), "");
	free(before);
}

TEST(any_other_root_is_left)
{
	static const struct {
		const char *rest, *value;
	} cases[] = {
		{"tree", TREE},
		{"class/d001", "rate=8000000 ceil=16000000 burst=0 prio=1"},
		{"flow/d001", "direct mac=52:54:00:00:00:01"},
		{"limit", "rate=8000000 burst=0"},
	};
	char *before;

	ENTER();
	netns_uplink("nic");
	sh("tc qdisc add dev nic root handle 5: tbf rate 1gbit burst 1mb latency 50ms");
	before = strdup(sh("tc qdisc show dev nic; tc class show dev nic; tc filter show dev nic"));
	IS_STR(get(object("nic", "tree")), "foreign tbf 5:");
	IS_STR(get(object("nic", "limit")), "foreign tbf 5:");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		IS_INT(put(object("nic", cases[i].rest), cases[i].value), -EBUSY);
		IS_INT(put(object("nic", cases[i].rest), ""), 0);
	}
	IS_STR(sh("tc qdisc show dev nic; tc class show dev nic; tc filter show dev nic"), before);
	free(before);
}

TEST(without_a_tree_there_is_nothing_to_hang_a_class_below)
{
	ENTER();
	netns_uplink("nic");
	IS_STR(get(object("nic", "class/d001")), "");
	IS_STR(get(object("nic", "flow/d001")), "");
	IS_INT(put(object("nic", "class/d001"), "rate=8000000 ceil=16000000 burst=0 prio=1"), -ENOENT);
	IS_INT(put(object("nic", "flow/d001"), "direct mac=52:54:00:00:00:01"), -ENOENT);
	IS_INT(put(object("nic", "class/d001"), ""), 0);
	IS_INT(put(object("nic", "flow/d001"), ""), 0);
}

/* What is read back says what was written, and not what is a byte per second beside it. */
TEST(rates_and_bursts_as_they_were_given)
{
	static const char *const values[] = {
		"rate=800 ceil=8000 burst=3000 prio=0",
		"rate=1000000 ceil=1000000000 burst=15000 prio=7",
		"rate=123456789 ceil=987654321 burst=65536 prio=2",
		"rate=34359738360 ceil=34359738368 burst=1000000 prio=1",
		"rate=40000000000 ceil=100000000000 burst=262144 prio=1",
		"rate=100000000000 ceil=400000000000 burst=4000000 prio=1",
		"rate=400000000000 ceil=400000000000 burst=0 prio=1",
	};
	static const struct {
		const char *value;
		int code;
	} refused[] = {
		{"rate=0 ceil=8000 burst=0 prio=0", EINVAL},
		{"rate=16000 ceil=8000 burst=0 prio=0", EINVAL},
		{"rate=8000 ceil=8000 burst=0 prio=8", EINVAL},
		{"rate=8000 ceil=8000 burst=0", EINVAL},
		{"rate=8000 ceil=8000 burst=0 prio=0 ", EINVAL},
		{"ceil=8000 rate=8000 burst=0 prio=0", EINVAL},
		{"rate=8000  ceil=8000 burst=0 prio=0", EINVAL},
		{"rate=-8000 ceil=8000 burst=0 prio=0", EINVAL},
		{"rate=99999999999999999999999 ceil=8 burst=0 prio=0", EINVAL},
		{"rate=8000 ceil=8000 burst=99999999 prio=0", ERANGE},
		{"rate=80000000000 ceil=80000000000 burst=99999999999 prio=0", ERANGE},
		{"joined htb 1:", EINVAL},
	};
	const char *o;

	ENTER();
	netns_uplink("nic");
	set(object("nic", "tree"), "link=400000000000 rest=8000 prio=7");
	IS_STR(get(object("nic", "tree")), "link=400000000000 rest=8000 prio=7");
	o = object("nic", "class/d001");
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		unsigned long long rate, ceil, burst;
		unsigned int prio;
		char other[128];

		set(o, values[i]);
		IS_INT(sscanf(get(o), "rate=%llu ceil=%llu burst=%llu prio=%u", &rate, &ceil, &burst, &prio), 4);
		OK(burst >= 3000 - 3);
		(void)snprintf(other, sizeof(other), "rate=%llu ceil=%llu burst=%llu prio=%u", rate + 8, ceil + 8,
			       burst, prio);
		OK(!be_net.same(o, get(o), other));
		(void)snprintf(other, sizeof(other), "rate=%llu ceil=%llu burst=%llu prio=%u", rate, ceil,
			       burst + burst / 10 + 100, prio);
		OK(!be_net.same(o, get(o), other));
	}
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (put(o, refused[i].value) != -refused[i].code)
			TAP_FAIL("'%s' gives %d", refused[i].value, put(o, refused[i].value));
	OK(be_net.same(o, get(o), values[ARRAY_SIZE(values) - 1]));
}

TEST(limits_of_a_tap)
{
	char *before;
	int tap;

	ENTER();
	tap = netns_tap("vnet0");
	before = strdup(sh("tc qdisc show dev vnet0"));
	IS_STR(get(object("vnet0", "limit")), "");
	set(object("vnet0", "limit"), "rate=80000000 burst=100000");
	OK(strstr(sh("tc qdisc show dev vnet0"), "htb d071: root"));
	OK(strstr(sh("tc class show dev vnet0"), "class htb d071:1 root"));
	set(object("vnet0", "limit"), "rate=160000000 burst=0");
	OK(strstr(sh("tc class show dev vnet0"), "rate 160Mbit ceil 160Mbit"));
	IS_INT(put(object("vnet0", "limit"), "rate=0 burst=0"), -EINVAL);
	IS_INT(put(object("vnet0", "limit"), "rate=8000"), -EINVAL);
	set(object("vnet0", "limit"), "");
	IS_STR(sh("tc qdisc show dev vnet0"), before);
	/* As libvirt makes every tap. */
	sh("tc qdisc add dev vnet0 root handle 0: noqueue");
	IS_STR(get(object("vnet0", "limit")), "noqueue");
	set(object("vnet0", "limit"), "rate=80000000 burst=100000");
	OK(strstr(sh("tc qdisc show dev vnet0"), "htb d071: root"));
	set(object("vnet0", "limit"), "noqueue");
	OK(strstr(sh("tc qdisc show dev vnet0"), "noqueue"));
	OK(!strstr(sh("tc qdisc show dev vnet0"), "htb"));
	IS_INT(put(object("vnet0", "limit"), "noqueue"), 0); /* it is there */
	IS_INT(put(object("vnet0", "limit"), ""), 0);        /* nothing of ours is */
	IS_STR(get(object("vnet0", "limit")), "noqueue");
	/* Again, now that it is one that was put back; and what somebody puts there between look and change stays. */
	set(object("vnet0", "limit"), "rate=80000000 burst=100000");
	OK(strstr(sh("tc qdisc show dev vnet0"), "htb d071: root"));
	sh("tc qdisc replace dev vnet0 root handle 7: pfifo");
	OK(put(object("vnet0", "limit"), "noqueue") < 0);
	OK(strstr(sh("tc qdisc show dev vnet0"), "pfifo 7: root"));
	sh("tc qdisc del dev vnet0 root");
	/* As libvirt makes it of <inbound>. */
	sh("tc qdisc add dev vnet0 root handle 1: htb default 1 && tc class add dev vnet0 parent 1: classid 1:1 htb rate 1mbit");
	IS_STR(get(object("vnet0", "limit")), "foreign htb 1:");
	IS_INT(put(object("vnet0", "limit"), "rate=80000000 burst=100000"), -EBUSY);
	IS_INT(put(object("vnet0", "limit"), ""), 0);
	OK(strstr(sh("tc class show dev vnet0"), "class htb 1:1 root"));
	free(before);
	close(tap);
}

TEST(a_device_that_went_is_gone_whatever_has_its_name)
{
	char old[4][64];
	static const char *const rests[] = {"tree", "class/d001", "flow/d001", "limit"};
	static const char *const values[] = {TREE, "rate=8000 ceil=8000 burst=0 prio=0", "direct mac=52:54:00:00:00:01",
					     "rate=8000 burst=0"};

	ENTER();
	netns_uplink("nic");
	for (size_t i = 0; i < ARRAY_SIZE(rests); i++)
		(void)snprintf(old[i], sizeof(old[i]), "%s", object("nic", rests[i]));
	set(old[0], TREE);
	for (int again = 0; again < 2; again++) {
		if (again)
			netns_uplink("nic");
		else
			sh("ip link del nic");
		for (size_t i = 0; i < ARRAY_SIZE(rests); i++) {
			IS_STR(get(old[i]), "error 2");
			IS_INT(be_net.probe(&fs, old[i]), -ENOENT);
			IS_INT(put(old[i], values[i]), -ENOENT);
			IS_INT(put(old[i], ""), -ENOENT);
		}
	}
	IS_STR(get(object("nic", "tree")), "");
	/* The same device under another name is still that one: what was made on it is undone. */
	(void)snprintf(old[0], sizeof(old[0]), "%s", object("nic", "tree"));
	set(old[0], TREE);
	sh("ip link set nic down && ip link set nic name other && ip link set other up");
	OK(be_net.same(old[0], get(old[0]), TREE));
	IS_INT(put(old[0], ""), 0);
	IS_STR(get(old[0]), "");
	/* A device in another namespace. */
	IS_STR(get("nic:999999/tree"), "error 2");
}

TEST(objects_that_are_none)
{
	static const struct {
		const char *object;
		int code;
	} cases[] = {
		{"", EINVAL},
		{"lo", EINVAL},
		{"lo:1", EINVAL},
		{"lo:/tree", EINVAL},
		{":1/tree", EINVAL},
		{"lo:0/tree", EINVAL},
		{"lo:-1/tree", EINVAL},
		{"lo:4294967297/tree", EINVAL},
		{"lo:99999999999999999999/tree", EINVAL},
		{"lo:1x/tree", EINVAL},
		{"../lo:1/tree", EINVAL},
		{"..:1/tree", EINVAL},
		{"a-name-of-16-chars:1/tree", EINVAL},
		{"lo:1/", EOPNOTSUPP},
		{"lo:1/trees", EOPNOTSUPP},
		{"lo:1/tree/d001", EINVAL},
		{"lo:1/class", EINVAL},
		{"lo:1/class/", EINVAL},
		{"lo:1/class/d000", EINVAL},
		{"lo:1/class/e000", EINVAL},
		{"lo:1/class/D001", EINVAL},
		{"lo:1/class/0d001", EINVAL},
		{"lo:1/class/d001/d002", EINVAL},
		{"lo:1/class/d001 ", EINVAL},
		{"lo:1/flow/2", EINVAL},
		{"lo:1/rx-ring/d001", EINVAL},
	};
	char huge[5000];

	ENTER();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[256];

		if (be_net.read(&fs, cases[i].object, text, sizeof(text)) != -cases[i].code ||
		    be_net.write(&fs, cases[i].object, "") != -cases[i].code ||
		    be_net.probe(&fs, cases[i].object) != -cases[i].code)
			TAP_FAIL("'%s' gives %d", cases[i].object, be_net.probe(&fs, cases[i].object));
		OK(be_net.same(cases[i].object, "x", "x") && !be_net.same(cases[i].object, "x", "y"));
	}
	memset(huge, 'a', sizeof(huge));
	huge[sizeof(huge) - 1] = '\0';
	IS_INT(be_net.probe(&fs, huge), -EINVAL);
	memcpy(huge, "lo:1/flow/", 10);
	IS_INT(be_net.probe(&fs, huge), -EINVAL);
	(void)snprintf(huge, sizeof(huge), "%s", object("lo", "tree"));
	IS_INT(be_net.read(&fs, huge, huge + 100, 0), -EFBIG);
}

TEST(flows_that_are_none)
{
	static const char *const values[] = {
		"bridged",
		"bridged ",
		"bridged dev=lo:1",
		"bridged mac=52:54:00:00:00:01 dev=lo:1",
		"direct mac=52:54:00:00:00",
		"direct mac=52:54:00:00:00:01:02",
		"direct mac=52:54:00:00:00:0g",
		"direct mac=5254:00:00:00:01",
		"direct mac=52:54:00:00:00:01 ",
		"direct  mac=52:54:00:00:00:01",
		"direct dev=lo:1",
		"bridged dev=lo mac=52:54:00:00:00:01",
		"bridged dev=lo:0 mac=52:54:00:00:00:01",
		"bridged dev=a-name-of-16-char:1 mac=52:54:00:00:00:01",
		"bridged dev=../x:1 mac=52:54:00:00:00:01",
		"routed dev=lo:1 mac=52:54:00:00:00:01",
		"routed dev=lo:1 mac=52:54:00:00:00:01 mark=0x100",
		"routed dev=lo:1 mac=52:54:00:00:00:01 mark=0x0/0xff00",
		"routed dev=lo:1 mac=52:54:00:00:00:01 mark=0x1/0xff00",
		"routed dev=lo:1 mac=52:54:00:00:00:01 mark=256/0xff00",
		"routed dev=lo:1 mac=52:54:00:00:00:01 mark=0x100000000/0xff",
		"routed dev=lo:1 mac=52:54:00:00:00:01 mark=0x/0xff00",
		"marked 0x100/0xff00 via lo",
		"fw 0x100/0xff00",
		"none",
		"u32",
		"flower 52:54:00:00:00:01:",
		"nonsense x",
	};
	char huge[600];

	ENTER();
	netns_uplink("nic");
	set(object("nic", "tree"), TREE);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		if (put(object("nic", "flow/d001"), values[i]) != -EINVAL)
			TAP_FAIL("'%s' gives %d", values[i], put(object("nic", "flow/d001"), values[i]));
	memset(huge, ' ', sizeof(huge));
	huge[sizeof(huge) - 1] = '\0';
	IS_INT(put(object("nic", "flow/d001"), huge), -EINVAL);
	IS_STR(sh("tc filter show dev nic"), "");
}

TEST(same_values)
{
	static const struct {
		const char *subject, *a, *b;
		bool same;
	} cases[] = {
		{"tree", TREE, TREE, true},
		{"tree", TREE, "link=1000000007 rest=100000000 prio=3", true}, /* eighths of a byte */
		{"tree", TREE, "link=1000000008 rest=100000000 prio=3", false},
		{"tree", TREE, "link=1000000000 rest=100000000 prio=2", false},
		{"tree", TREE, "", false},
		{"tree", "joined htb 1:", TREE, true},
		{"tree", "joined htb 1:", "joined htb 1:", true},
		{"tree", "joined htb 1:", "joined htb 2:", false},
		{"tree", "joined htb 1:", "", false},
		{"tree", "foreign prio 1:", TREE, false},
		{"class/d001", "rate=8000 ceil=8000 burst=0 prio=1", "rate=8000 ceil=8000 burst=3036 prio=1", true},
		{"class/d001", "rate=8000 ceil=8000 burst=3000 prio=1", "rate=8000 ceil=8000 burst=3002 prio=1", true},
		{"class/d001", "rate=8000 ceil=8000 burst=3000 prio=1", "rate=8000 ceil=8000 burst=3003 prio=1", false},
		{"class/d001", "rate=8000 ceil=8000 burst=0 prio=1", "rate=8000 ceil=8008 burst=0 prio=1", false},
		{"class/d001", "", "", true},
		{"class/d001", "", "rate=8000 ceil=8000 burst=0 prio=1", false},
		{"limit", "rate=8000000000 burst=100000", "rate=8000000000 burst=98000", true}, /* 2 us */
		{"limit", "rate=8000000000 burst=100000", "rate=8000000000 burst=97000", false},
		{"limit", "rate=8000 burst=0", "foreign htb 1:", false},
		{"limit", "", "noqueue", true},
		{"limit", "rate=8000 burst=0", "noqueue", false},
		{"limit", "", "foreign htb 1:", false},
		{"rx-ring", "256", "256", true},
		{"rx-ring", "256", "0256", true},
		{"rx-ring", "256", "512", false},
		{"flow/d001", "bridged dev=vnet0:7 mac=52:54:00:AB:00:01", "priority via vnet0", true},
		{"flow/d001", "bridged dev=vnet0:7 mac=52:54:00:ab:00:01", "priority via vnet1", false},
		{"flow/d001", "bridged dev=vnet0:7 mac=52:54:00:AB:00:01", "u32 52:54:00:ab:00:01", true},
		{"flow/d001", "flower 52:54:00:ab:00:01", "bridged dev=vnet0:7 mac=52:54:00:ab:00:01", true},
		{"flow/d001", "bridged dev=vnet0:7 mac=52:54:00:ab:00:01", "flower 52:54:00:ab:00:02", false},
		{"flow/d001", "bridged dev=vnet0:7 mac=52:54:00:ab:00:01", "mark 0x100/0xff00 via vnet0", false},
		{"flow/d001", "bridged dev=vnet0:7 mac=52:54:00:ab:00:01", "bridged dev=vnet0:8 mac=52:54:00:ab:00:01",
		 false},
		{"flow/d001", "bridged dev=vnet0:7 mac=52:54:00:ab:00:01", "bridged dev=vnet0:7 mac=52:54:00:AB:00:01",
		 true},
		{"flow/d001", "routed dev=vnet0:7 mac=52:54:00:ab:00:01 mark=0x100/0xff00",
		 "mark 0x100/0xff00 via vnet0", true},
		{"flow/d001", "routed dev=vnet0:7 mac=52:54:00:ab:00:01 mark=0x100/0xff00",
		 "mark 0x200/0xff00 via vnet0", false},
		{"flow/d001", "routed dev=vnet0:7 mac=52:54:00:ab:00:01 mark=0x100/0xff00",
		 "mark 0x100/0xfff00 via vnet0", false},
		{"flow/d001", "routed dev=vnet0:7 mac=52:54:00:ab:00:01 mark=0x100/0xff00", "priority via vnet0",
		 false},
		{"flow/d001", "routed dev=vnet0:7 mac=52:54:00:ab:00:01 mark=0x100/0xff00", "u32 52:54:00:ab:00:01",
		 false},
		{"flow/d001", "routed dev=vnet0:7 mac=52:54:00:ab:00:01 mark=0x100/0xff00",
		 "marked 0x100/0xff00 via vnet0", false},
		{"flow/d001", "routed dev=vnet0:7 mac=52:54:00:ab:00:01 mark=0x100/0xff00", "fw 0x100/0xff00", false},
		{"flow/d001", "mark 0x100/0xff00 via vnet0", "fw 0x100/0xff00", false},
		{"flow/d001", "mark 0x100/0xff00 via vnet0", "marked 0x100/0xff00 via vnet0", false},
		{"flow/d001", "direct mac=52:54:00:ab:00:01", "flower 52:54:00:ab:00:01", true},
		{"flow/d001", "direct mac=52:54:00:ab:00:01", "u32 52:54:00:ab:00:01", true},
		{"flow/d001", "direct mac=52:54:00:ab:00:01", "priority via vnet0", false},
		{"flow/d001", "", "", true},
		{"flow/d001", "", "u32 52:54:00:ab:00:01", false},
		{"flow/d001", "u32 52:54:00:ab:00:01", "flower 52:54:00:ab:00:01", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char o[64];

		(void)snprintf(o, sizeof(o), "eth0:2/%s", cases[i].subject);
		if (be_net.same(o, cases[i].a, cases[i].b) != cases[i].same ||
		    be_net.same(o, cases[i].b, cases[i].a) != cases[i].same)
			TAP_FAIL("%s: '%s' and '%s': not %d", cases[i].subject, cases[i].a, cases[i].b, cases[i].same);
	}
}

/* Of a routed flow, whichever half is left: when the tap has gone, or somebody has replaced the uplink's root. */
TEST(what_remains_of_a_value)
{
	static const struct {
		const char *subject, *now, *made;
		bool remains;
	} cases[] = {
		{"flow/d001", "fw 0x100/0xff00", "mark 0x100/0xff00 via vnet0", true},
		{"flow/d001", "marked 0x100/0xff00 via vnet0", "mark 0x100/0xff00 via vnet0", true},
		{"flow/d001", "marked 0x100/0xff00 via vnet0",
		 "routed dev=vnet0:7 mac=52:54:00:ab:00:01 mark=0x100/0xff00", true},
		{"flow/d001", "marked 0x200/0xff00 via vnet0", "mark 0x100/0xff00 via vnet0", false},
		{"flow/d001", "marked 0x100/0xff00 via vnet1", "mark 0x100/0xff00 via vnet0", false},
		{"flow/d001", "fw 0x200/0xff00", "mark 0x100/0xff00 via vnet0", false},
		{"flow/d001", "mark 0x100/0xff00 via vnet0", "fw 0x100/0xff00", false},
		{"flow/d001", "priority via vnet0", "bridged dev=vnet0:7 mac=52:54:00:ab:00:01", false},
		{"flow/d001", "", "mark 0x100/0xff00 via vnet0", false},
		{"class/d001", "", "rate=8 ceil=8 burst=0 prio=3", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char o[64];

		(void)snprintf(o, sizeof(o), "eth0:2/%s", cases[i].subject);
		if (be_net.remains(o, cases[i].now, cases[i].made) != cases[i].remains)
			TAP_FAIL("'%s' of '%s': not %d", cases[i].now, cases[i].made, cases[i].remains);
	}
}

TEST(below_another_root_there_are_no_links)
{
	struct net_root root;
	struct net_rings rings;
	struct root t;
	char text[64];

	root_init(&t);
	IS_INT(be_net.probe(&t.fs, "lo:1/tree"), -EOPNOTSUPP);
	IS_INT(be_net.read(&t.fs, "lo:1/tree", text, sizeof(text)), -EOPNOTSUPP);
	IS_INT(be_net.write(&t.fs, "lo:1/tree", ""), -EOPNOTSUPP);
	IS_INT(net_root_read(&t.fs, "lo", &root), -EOPNOTSUPP);
	IS_INT(net_ring_read(&t.fs, "lo", &rings), -EOPNOTSUPP);
	root_fini(&t);
}

/* Where the library should be is something else. */
TEST(without_the_library_nothing_is_supported)
{
	static const struct nl_function functions[] = {{"nl_socket_alloc", 0}, {"nl_no_such_function", 8}};
	struct net_root root;
	char text[64];
	void *into[2];

	ENTER();
	IS_INT(nl_load("libnl-0.so.1", functions, 1, into), -EOPNOTSUPP);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		SKIP("no mount namespaces here");
	sh("for f in $(ldconfig -p | sed -n 's/.*libnl-route-3.so.200 .*=> //p'); do mount --bind /dev/null $f || exit; done");
	IS_INT(be_net.probe(&fs, object("lo", "tree")), -EOPNOTSUPP);
	IS_INT(be_net.read(&fs, object("lo", "tree"), text, sizeof(text)), -EOPNOTSUPP);
	IS_INT(be_net.write(&fs, object("lo", "tree"), TREE), -EOPNOTSUPP);
	IS_INT(be_net.read(&fs, object("lo", "rx-ring"), text, sizeof(text)), -EOPNOTSUPP);
	IS_INT(net_root_read(&fs, "lo", &root), -EOPNOTSUPP);
	IS_INT(nl_load("libnl-3.so.200", functions, 2, into), -EOPNOTSUPP);
}

TEST(what_is_known_of_a_device)
{
	struct net_root root;
	struct net_rings rings = {1, 1, 1, 1};

	ENTER();
	sh("ip link add nic numtxqueues 3 type veth peer name peer");
	IS_INT(net_root_read(&fs, "nic", &root), 0);
	IS_STR(root.kind, "noqueue");
	IS_INT(root.tx_queues, 3);
	OK(root.is_default && !root.is_ours);
	IS_INT(root.handle, 0);
	sh("tc qdisc add dev nic root handle 7: tbf rate 1gbit burst 1mb latency 50ms");
	IS_INT(net_root_read(&fs, "nic", &root), 0);
	IS_STR(root.kind, "tbf");
	IS_INT(root.handle, 0x70000);
	OK(!root.is_default && !root.is_ours);
	IS_INT(net_root_read(&fs, "none", &root), -ENODEV);
	IS_INT(net_root_read(&fs, "../../etc", &root), -ENODEV);
	IS_INT(net_root_read(&fs, "a-name-of-more-than-16-chars", &root), -ENODEV);
	IS_INT(net_ring_read(&fs, "none", &rings), -ENODEV);
	IS_INT(net_ring_read(&fs, "lo", &rings), 0);
	IS_INT(rings.rx | rings.tx | rings.rx_max | rings.tx_max, 0);
	IS_STR(get(object("lo", "rx-ring")), "error 95");
	IS_INT(put(object("lo", "tx-ring"), "256"), -EOPNOTSUPP);
}

/* --- packets ----------------------------------------------------------------------------------------------------- */

#define GUESTS 4
#define CLASS  "rate=80000000 ceil=800000000 burst=0 prio=1"

/* Four guests on a bridge with an uplink. The MACs of the first two end alike, the third shares all but the first byte.
 */
static const uint8_t macs[GUESTS][6] = {
	{0x52, 0x54, 0x00, 0x11, 0x22, 0x33},
	{0x52, 0x54, 0x00, 0x44, 0x55, 0x33},
	{0x56, 0x54, 0x00, 0x11, 0x22, 0x33},
	{0x52, 0x54, 0x00, 0x11, 0x22, 0x00},
};
static int taps[GUESTS];

static void make_bridge(void)
{
	netns_uplink("nic");
	sh("ip link add br0 type bridge mcast_snooping 0 && ip link set nic master br0 && ip link set br0 up");
	for (int i = 0; i < GUESTS; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "vnet%d", i);
		taps[i] = netns_tap(name);
		sh("ip link set %s master br0", name);
	}
}

/* Frames to somewhere beyond the uplink. */
static void guest_sends(int guest, int frames, bool tagged)
{
	uint8_t frame[100] = {0x52, 0x54, 0x00, 0xff, 0xff, 0xfe};
	static const uint8_t tag[] = {0x81, 0x00, 0x00, 0x05}, type[] = {0x88, 0xb5}; /* VLAN 5; local experimental */

	memcpy(frame + 6, macs[guest], 6);
	memcpy(frame + 12, tagged ? tag : type, tagged ? 4 : 2);
	memcpy(frame + 16, type, 2);
	for (int i = 0; i < frames; i++)
		IS_INT(write(taps[guest], frame, sizeof(frame)), sizeof(frame));
}

static const char *flow_of(int guest)
{
	static char rests[4][16];
	static unsigned int n;
	char *rest = rests[n++ % 4];

	(void)snprintf(rest, sizeof(rests[0]), "flow/d%03x", guest + 1);
	return object("nic", rest);
}

static const char *class_of(int guest)
{
	char rest[16];

	(void)snprintf(rest, sizeof(rest), "class/d%03x", guest + 1);
	return object("nic", rest);
}

static const char *class_id(int guest)
{
	static char id[16];

	(void)snprintf(id, sizeof(id), "d070:d%03x", guest + 1);
	return id;
}

static const char *bridged(int guest)
{
	static char value[128];
	const uint8_t *m = macs[guest];
	char tap[16];

	(void)snprintf(tap, sizeof(tap), "vnet%d", guest);
	(void)snprintf(value, sizeof(value), "bridged dev=%s mac=%02x:%02x:%02x:%02x:%02x:%02x", netns_id(tap), m[0],
		       m[1], m[2], m[3], m[4], m[5]);
	return value;
}

static const char *direct(int guest)
{
	static char value[64];

	(void)snprintf(value, sizeof(value), "direct %s", strstr(bridged(guest), "mac="));
	return value;
}

static void check_counters(const char *const flows[GUESTS])
{
	make_bridge();
	set(object("nic", "tree"), TREE);
	for (int i = 0; i < GUESTS; i++) {
		set(class_of(i), CLASS);
		set(flow_of(i), flows[i] ? flows[i] : bridged(i));
	}
	printf("# flows of this kernel: %s\n", get(flow_of(0)));
	for (int i = 0; i < GUESTS; i++)
		guest_sends(i, 10 + i, false);
	for (int i = 0; i < GUESTS; i++)
		OK(netns_sends("nic", class_id(i), 10 + i));
	for (int i = 0; i < GUESTS; i++)
		guest_sends(i, 100, true);
	for (int i = 0; i < GUESTS; i++)
		OK(netns_sends("nic", class_id(i), 110 + i));
	IS_INT(netns_packets("nic", "d070:2"), 0);
	/* A class is changed in place: what it has sent stays, and what is sent now goes there. */
	set(class_of(1), "rate=8000000 ceil=80000000 burst=20000 prio=2");
	guest_sends(1, 10, false);
	OK(netns_sends("nic", class_id(1), 121));
	/* Without its flow, a guest is among the rest. */
	set(flow_of(2), "");
	guest_sends(2, 10, false);
	OK(netns_sends("nic", "d070:2", 10));
	IS_INT(netns_packets("nic", class_id(2)), 112);
	guest_sends(0, 10, false);
	OK(netns_sends("nic", class_id(0), 120));
}

TEST(frames_of_bridged_guests_go_to_their_classes)
{
	static const char *const flows[GUESTS];

	ENTER();
	check_counters(flows);
}

/* By the source MAC, in the best way of this kernel, and in the one that any has. */
TEST(frames_go_by_their_source)
{
	static const char *const flows[GUESTS] = {
		"direct mac=52:54:00:11:22:33",
		"direct mac=52:54:00:44:55:33",
		"direct mac=56:54:00:11:22:33",
		"direct mac=52:54:00:11:22:00",
	};

	ENTER();
	check_counters(flows);
}

TEST(frames_go_by_a_hash_of_their_source)
{
	static const char *const flows[GUESTS] = {
		"u32 52:54:00:11:22:33",
		"u32 52:54:00:44:55:33",
		"u32 56:54:00:11:22:33",
		"u32 52:54:00:11:22:00",
	};

	ENTER();
	check_counters(flows);
	IS_STR(get(flow_of(0)), "u32 52:54:00:11:22:33");
}

/* Each order leaves nothing behind, and the guests that are still there their classes. */
TEST(flows_are_removed_in_any_order)
{
	static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	const char *(*const wanted[])(int) = {bridged, direct};

	ENTER();
	make_bridge();
	for (size_t n = 0; n < 2 * ARRAY_SIZE(orders); n++) {
		const char *(*value)(int) = wanted[n % 2];
		const int *order = orders[n / 2];

		set(object("nic", "tree"), TREE);
		for (int i = 0; i < 3; i++) {
			set(class_of(i), CLASS);
			set(flow_of(i), value(i));
		}
		for (int i = 0; i < 3; i++) {
			set(flow_of(order[i]), "");
			set(flow_of(order[i]), "");
			set(class_of(order[i]), "");
			for (int j = i + 1; j < 3; j++)
				OK(be_net.same(flow_of(order[j]), get(flow_of(order[j])), value(order[j])));
		}
		IS_STR(sh("tc filter show dev nic"), "");
		IS_STR(sh("tc qdisc show dev vnet0 ingress; tc qdisc show dev vnet1 ingress"), "");
		set(object("nic", "tree"), "");
	}
}

TEST(a_flow_is_changed_and_repaired)
{
	char value[128];

	ENTER();
	make_bridge();
	set(object("nic", "tree"), TREE);
	set(class_of(0), CLASS);
	set(flow_of(0), bridged(0));
	set(flow_of(0), bridged(0));
	/* The guest came back with another tap and MAC. */
	(void)snprintf(value, sizeof(value), "bridged dev=%s mac=52:54:00:aa:bb:cc", netns_id("vnet1"));
	OK(!be_net.same(flow_of(0), get(flow_of(0)), value));
	set(flow_of(0), value);
	IS_STR(sh("tc qdisc show dev vnet0 ingress"), "");
	/* A tap that is not there, or not that one. */
	IS_INT(put(flow_of(1), "bridged dev=vnet9:999999 mac=52:54:00:00:00:01"), -ENOENT);
	(void)snprintf(value, sizeof(value), "bridged dev=vnet0:%u mac=52:54:00:00:00:01", if_nametoindex("vnet1"));
	IS_INT(put(flow_of(1), value), -ENOENT);
	IS_STR(get(flow_of(1)), "");
	/* What belongs to the tap has gone with it; what is on the uplink is undone. */
	close(taps[1]);
	IS_INT(put(flow_of(0), ""), 0);
	IS_STR(get(flow_of(0)), "");
	IS_STR(sh("tc filter show dev nic"), "");
	set(class_of(0), "");
	set(object("nic", "tree"), "");
}

/* What another process does to the table at the same time: the steps of the last one out, with a guest coming in
 * between. */
TEST(a_key_that_comes_while_the_table_goes_is_kept)
{
	ENTER();
	make_bridge();
	set(object("nic", "tree"), TREE);
	set(class_of(0), CLASS);
	set(class_of(1), CLASS);
	set(flow_of(0), "u32 52:54:00:11:22:33");
	/* The link has just gone, the other guest's key was not seen. */
	sh("tc filter del dev nic pref 53456 protocol all handle 800::1 u32");
	set(flow_of(1), "u32 52:54:00:44:55:33");
	set(flow_of(0), "");
	guest_sends(1, 5, false);
	OK(netns_sends("nic", class_id(1), 5));
	set(flow_of(1), "");
	IS_STR(sh("tc filter show dev nic"), "");
}

/* libvirt's police filter of <outbound> stays, and sees what it saw: ours says "continue". */
TEST(the_ingress_of_somebody_is_joined)
{
	static const char police[] = "police rate 1gbit burst 1mb drop ";
	bool has_police;
	char *before;

	ENTER();
	make_bridge();
	set(object("nic", "tree"), TREE);
	set(class_of(0), CLASS);
	sh("tc qdisc add dev vnet0 ingress");
	has_police =
		system("tc filter add dev vnet0 parent ffff: protocol all pref 49152 u32 match u32 0 0 police rate 1gbit "
		       "burst 1mb drop flowid :1 2>/dev/null") == 0;
	if (!has_police)
		sh("tc filter add dev vnet0 parent ffff: protocol all pref 49152 u32 match u32 0 0 flowid :1");
	before = strdup(
		sh("tc qdisc show dev vnet0; tc filter show dev vnet0 parent ffff: | sed s/filter.ingress/filter/"));
	OK(!has_police || strstr(before, "police"));
	set(flow_of(0), bridged(0));
	guest_sends(0, 7, false);
	OK(netns_sends("nic", class_id(0), 7));
	if (has_police)
		IS_INT(strtol(sh("tc -s filter show dev vnet0 parent ffff: pref 49152 | sed -n 's/.*bytes \\([0-9]*\\) pkt.*/\\1/p'"),
			      NULL, 10),
		       7);
	else
		printf("# no %s here\n", police);
	set(flow_of(0), "");
	IS_STR(sh("tc qdisc show dev vnet0; tc filter show dev vnet0 parent ffff: | sed s/filter.ingress/filter/"),
	       before);
	/* `virsh domiftune --outbound` makes it anew. */
	set(flow_of(0), bridged(0));
	sh("tc qdisc del dev vnet0 ingress");
	if (strstr(get(flow_of(0)), "priority"))
		TAP_FAIL("'%s' without an ingress", get(flow_of(0)));
	set(flow_of(0), bridged(0));
	guest_sends(0, 7, false);
	OK(netns_sends("nic", class_id(0), 14));
	set(flow_of(0), "");
	IS_STR(sh("tc qdisc show dev vnet0 ingress"), "");
	free(before);
}

#if defined(DT_SAN) || defined(DT_TEST)
static void set_all(void)
{
	(void)put(object("nic", "tree"), TREE);
	for (int i = 0; i < 2; i++) {
		(void)put(class_of(i), CLASS);
		(void)put(flow_of(i), bridged(i));
	}
}

static void unset_all(void)
{
	for (int i = 0; i < 2; i++) {
		(void)put(flow_of(i), "");
		(void)put(class_of(i), "");
	}
	(void)put(object("nic", "tree"), "");
}

/* In a process of its own, which is killed before its n-th change. Whether it was. */
static bool killed_at(int n, void (*work)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char number[16];

		(void)snprintf(number, sizeof(number), "%d", n);
		setenv("DOMTUNE_CRASH_AT", number, 1);
		work();
		_exit(0);
	}
	IS_INT(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status);
}

/* Whatever was killed at whatever point: the same again is all of it, and undo leaves nothing. */
TEST(a_kill_between_two_changes_is_made_good)
{
	char *before;
	bool killed = true;
	int n;

	ENTER();
	make_bridge();
	before = strdup(sh("tc qdisc show dev nic; tc filter show dev nic; tc qdisc show dev vnet0"));
	for (n = 1; killed; n++) {
		killed = killed_at(n, set_all);
		OK(!killed_at(0, unset_all));
		IS_STR(sh("tc qdisc show dev nic; tc filter show dev nic; tc qdisc show dev vnet0"), before);
	}
	OK(n > 5);
	for (n = 1, killed = true; killed; n++) {
		OK(!killed_at(0, set_all));
		killed = killed_at(n, unset_all);
		OK(!killed_at(0, unset_all));
		IS_STR(sh("tc qdisc show dev nic; tc filter show dev nic; tc qdisc show dev vnet0"), before);
	}
	OK(n > 5);
	OK(killed_at(3, set_all));
	set_all();
	for (int i = 0; i < 2; i++) {
		OK(be_net.same(flow_of(i), get(flow_of(i)), bridged(i)));
		OK(be_net.same(class_of(i), get(class_of(i)), CLASS));
	}
	free(before);
}
#endif

#if defined(DT_SAN) || defined(DT_TEST)
static void set_limit(void)
{
	(void)put(object("vnet0", "limit"), "rate=80000000 burst=100000");
}

static void unset_limit(void)
{
	(void)put(object("vnet0", "limit"), "noqueue");
}

/* What libvirt gives a tap is there, or our limit, at whatever change we are killed. */
TEST(a_kill_does_not_lose_the_queue_of_a_tap)
{
	static void (*const works[])(void) = {set_limit, unset_limit};
	int tap, n = 0;

	ENTER();
	tap = netns_tap("vnet0");
	sh("tc qdisc add dev vnet0 root handle 0: noqueue");
	for (size_t i = 0; i < 2; i++)
		for (n = 1; n < 10 && killed_at(n, works[i]); n++) {
			const char *now = get(object("vnet0", "limit"));

			if (strcmp(now, "noqueue") != 0 && !be_net.same(object("vnet0", "limit"), now, "rate=80000000 burst=100000"))
				TAP_FAIL("'%s' when killed at %d of %zu", now, n, i);
		}
	IS_STR(get(object("vnet0", "limit")), "noqueue");
	OK(strstr(sh("tc qdisc show dev vnet0"), "noqueue"));
	close(tap);
}
#endif

static uint16_t checksum(const uint8_t *header)
{
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)(header[i] << 8 | header[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

/* UDP from 10.1.GUEST.2 to 10.9.0.2, by way of the host. */
static void routed_guest_sends(int guest, int packets)
{
	uint8_t frame[60] = {0xfe, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 0x08, 0x00}, *ip = frame + 14;
	const uint8_t header[20] = {0x45, 0, 0, 46, 0, 1, 0, 0, 64, 17, 0, 0, 10, 1, (uint8_t)guest, 2, 10, 9, 0, 2};
	uint16_t sum = checksum(header);

	memcpy(ip, header, sizeof(header));
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
	ip[25] = 26; /* length of the UDP datagram */
	for (int i = 0; i < packets; i++)
		IS_INT(write(taps[guest], frame, sizeof(frame)), sizeof(frame));
}

TEST(packets_of_routed_guests_go_to_their_classes)
{
	char values[2][128];

	ENTER();
	netns_uplink("nic");
	sh("ip addr add 10.9.0.1/24 dev nic && ip neigh add 10.9.0.2 lladdr 52:54:00:ff:ff:fe dev nic nud permanent && "
	   "echo 1 >/proc/sys/net/ipv4/ip_forward");
	set(object("nic", "tree"), TREE);
	for (int i = 0; i < 2; i++) {
		char tap[16];

		(void)snprintf(tap, sizeof(tap), "vnet%d", i);
		taps[i] = netns_tap(tap);
		sh("ip link set %s address fe:54:00:00:00:01 && ip addr add 10.1.%d.1/24 dev %s", tap, i, tap);
		(void)snprintf(values[i], sizeof(values[i]), "routed dev=%s mac=52:54:00:00:00:02 mark=0x%x00/0xff00",
			       netns_id(tap), i + 1);
		set(class_of(i), CLASS);
	}
	if (put(flow_of(0), values[0]) == -EOPNOTSUPP) {
		IS_STR(get(flow_of(0)), "");
		IS_STR(sh("tc qdisc show dev vnet0 ingress; tc filter show dev nic"), "");
		if (!tap_failed)
			SKIP("this kernel has not both, skbedit and fw");
		return;
	}
	for (int i = 0; i < 2; i++)
		set(flow_of(i), values[i]);
	printf("# %s\n", get(flow_of(0)));
	for (int i = 0; i < 2; i++)
		routed_guest_sends(i, 20 + i);
	for (int i = 0; i < 2; i++)
		OK(netns_sends("nic", class_id(i), 20 + i));
	IS_INT(netns_packets("nic", "d070:2"), 0);
	/* The first guest ends, tap and all, and then what it had is undone. */
	close(taps[0]);
	IS_STR(get(flow_of(0)), "fw 0x100/0xff00");
	set(flow_of(0), "");
	set(class_of(0), "");
	routed_guest_sends(1, 5);
	OK(netns_sends("nic", class_id(1), 26));
	set(flow_of(1), "");
	IS_STR(sh("tc qdisc show dev vnet1 ingress; tc filter show dev nic"), "");
	set(class_of(1), "");
	set(object("nic", "tree"), "");
}

/* Read, and written as it is, which sends nothing. */
TEST(rings_of_a_nic_of_this_machine)
{
	struct net_rings rings = {0};
	struct dirent *d;
	DIR *dir = opendir("/sys/class/net");

	fs_real();
	while (dir && !rings.rx_max && (d = readdir(dir)))
		if (d->d_name[0] != '.' && net_ring_read(&fs, d->d_name, &rings) == 0 && rings.rx_max) {
			char number[16];

			(void)snprintf(number, sizeof(number), "%" PRIu32, rings.rx);
			printf("# %s: rx %s of %" PRIu32 "\n", d->d_name, number, rings.rx_max);
			IS_STR(get(object(d->d_name, "rx-ring")), number);
			OK(rings.rx <= rings.rx_max && rings.tx <= rings.tx_max);
			if (geteuid() == 0)
				IS_INT(put(object(d->d_name, "rx-ring"), number), 0);
		}
	if (dir)
		closedir(dir);
	if (!rings.rx_max)
		SKIP("no NIC with rings here");
}

TAP_MAIN
