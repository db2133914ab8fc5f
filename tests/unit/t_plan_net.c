/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Interfaces in plans: attributes, uplinks, roots, policy and others' claims in; settings, classes and reasons out. */
#include "tap.h"

#include "common/plan.h"

#include "placehost.h"

#define UUID "11111111-2222-4333-8444-555555555555"
#define MAC1 "52:54:00:00:00:01"
#define MAC2 "52:54:00:00:00:02"
#define MBIT UINT64_C(1000000)
#define GBIT UINT64_C(1000000000)

/* An interface of the domain and where it goes. */
struct nic_case {
	const char *mac; /* NULL: no more */
	enum domain_interface_kind kind;
	enum netdev_way way;
	const char *uplinks; /* "01": indices of the devices below */
	unsigned int has;
	const char *type, *why;
};

struct device_case {
	const char *name; /* NULL: no more */
	uint64_t speed;
	unsigned int n_txq;
	struct plan_nic nic;
};

/* What a living domain has: "eth0:d001:600000000:0 ..." */
struct holder_case {
	const char *name, *links;
	enum claim_kind kind;
};

struct ncase {
	const char *name;
	const char *intent; /* "interface[*].rate=1gbit", profile p's; "!interface..." is the annotation's */
	struct nic_case nics[3];
	struct device_case devices[3];
	struct holder_case holders[5];
	struct policy_uplink uplinks[2];
	const char *was; /* "eth0:d007:MARK" of MAC1 before the retune */
	const char *emulatorpin;
	bool fail, running, not_looked_at, dedicated, placed;
	const char *want;
};

static void add_wish(struct intent *in, char *word)
{
	bool annotated = *word == '!';
	char *bracket = strchr(word, '['), *end = strchr(word, ']'), *equals = strchr(end, '=');
	struct err e = ERR_INIT;
	struct tune_target *t;
	enum knob_id id;

	*equals = *bracket = *end = '\0';
	id = knob_find(word + annotated, end + 2);
	in->targets = reallocarray(in->targets, in->n_targets + 1, sizeof(*in->targets));
	t = &in->targets[in->n_targets++];
	memset(t, 0, sizeof(*t));
	t->element = KNOB_ELEMENT_INTERFACE;
	t->target = strdup(bracket + 1);
	if (knob_parse_value(id, equals + 1, &t->v[id], &e)) {
		fprintf(stderr, "%s\n", e.text);
		exit(2);
	}
	t->v[id].source = strdup(annotated ? "annotation" : "profile p");
}

static void make_intent(struct intent *in, const struct ncase *t)
{
	char *copy = strdup(t->intent), *save = NULL;

	memset(in, 0, sizeof(*in));
	in->profile = strdup("p");
	in->fail = t->fail;
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		add_wish(in, w);
	if (t->placed || t->dedicated) {
		struct err e = ERR_INIT;

		if (knob_parse_value(KNOB_CPU_POLICY, t->dedicated ? "dedicated" : "shared", &in->v[KNOB_CPU_POLICY], &e))
			exit(2);
		in->v[KNOB_CPU_POLICY].source = strdup("profile p");
	}
	free(copy);
}

static void free_intent(struct intent *in)
{
	value_fini(&in->v[KNOB_CPU_POLICY]);
	for (size_t t = 0; t < in->n_targets; t++) {
		for (unsigned int i = 0; i < KNOB_ID_MAX; i++)
			value_fini(&in->targets[t].v[i]);
		free(in->targets[t].target);
	}
	free(in->targets);
	free(in->profile);
	msgs_fini(&in->msgs);
}

static void take_link(const char *text, struct claim_link *ret)
{
	unsigned long long rate = 0;
	unsigned int mark = 0;

	memset(ret, 0, sizeof(*ret));
	if (sscanf(text, "%15[^:]:%x:%llu:%x", ret->device, &ret->number, &rate, &mark) < 2)
		exit(2);
	ret->rate = rate;
	ret->mark = mark;
}

static void hold(struct ledger *l, const struct holder_case *h)
{
	struct claim *c = claim_make(l, h->name, "");
	char *copy = strdup(h->links), *save = NULL;

	c->kind = h->kind;
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		struct claim_link link;

		take_link(w, &link);
		IS_INT(claim_add_link(c, &link), 0);
	}
	free(copy);
}

struct world {
	struct domain domain;
	struct domain_interface interfaces[3];
	struct intent intent;
	struct policy policy;
	struct host host;
	struct ledger ledger;
	struct netdev_facts nets;
	struct netdev_interface where[3];
	struct plan_nic nics[3];
	struct plan was;
	struct place_vcpu was_vcpus[2];
	char texts[3][6][40];
};

static char *text(struct world *w, unsigned int i, unsigned int k, const char *value)
{
	(void)snprintf(w->texts[i][k], sizeof(w->texts[i][k]), "%s", value);
	return w->texts[i][k];
}

static void add_interface(struct world *w, unsigned int i, const struct nic_case *n)
{
	struct netdev_interface *at = &w->where[i];
	char alias[16];

	(void)snprintf(alias, sizeof(alias), "net%u", i);
	w->interfaces[i] = (struct domain_interface){
		.mac = text(w, i, 0, n->mac), .alias = text(w, i, 1, alias),
		.target = text(w, i, 2, i ? "" : "vnet7"), .type = text(w, i, 3, n->type ? n->type : "bridge"),
		.kind = n->kind, .source = text(w, i, 4, "br0"), .more = text(w, i, 5, ""), .has = n->has,
	};
	at->way = n->way;
	(void)snprintf(at->why, sizeof(at->why), "%s", n->why ? n->why : "");
	for (const char *u = n->uplinks; u && *u; u++)
		at->uplinks[at->n++] = (unsigned int)(*u - '0');
}

static struct plan_inputs make_world(struct world *w, const struct ncase *t)
{
	struct domain *d = &w->domain;
	static char name[] = "web1", empty[] = "";
	struct host_spec spec = { .cores = 4 };

	memset(w, 0, sizeof(*w));
	host_make(&w->host, &spec);
	make_intent(&w->intent, t);
	w->policy.max_dedicated = w->policy.max_hugepages = w->policy.max_memory =
		(struct policy_limit){ .num = 100, .is_percent = true };
	w->policy.uplinks = (struct policy_uplink *)(uintptr_t)t->uplinks;
	while (w->policy.n_uplinks < 2 && t->uplinks[w->policy.n_uplinks].device)
		w->policy.n_uplinks++;
	for (unsigned int i = 0; i < 5 && t->holders[i].name; i++)
		hold(&w->ledger, &t->holders[i]);
	(void)snprintf(d->uuid, sizeof(d->uuid), "%s", UUID);
	d->name = name;
	d->vcpus = d->vcpus_max = 2;
	idset_add(&d->vcpus_online, 0);
	idset_add(&d->vcpus_online, 1);
	d->memory = GIB;
	if (t->emulatorpin) {
		d->emulatorpin = set_of(t->emulatorpin);
		d->has = DOMAIN_HAS_EMULATORPIN;
	}
	for (; d->n_interfaces < 3 && t->nics[d->n_interfaces].mac; d->n_interfaces++)
		add_interface(w, d->n_interfaces, &t->nics[d->n_interfaces]);
	d->interfaces = w->interfaces;
	w->nets.interfaces = w->where;
	w->nets.n_interfaces = d->n_interfaces;
	for (unsigned int i = 0; i < 3 && t->devices[i].name; i++, w->nets.n_devices++) {
		struct netdev *dev = &w->nets.devices[i];

		(void)snprintf(dev->name, sizeof(dev->name), "%s", t->devices[i].name);
		dev->ifindex = 2 + i;
		dev->speed = t->devices[i].speed;
		dev->n_txq = t->devices[i].n_txq ? t->devices[i].n_txq : 1;
		w->nics[i] = t->devices[i].nic;
	}
	if (t->was) {
		struct claim_link before;
		struct plan_link link = { .mac = MAC1 };

		take_link(t->was, &before);
		memcpy(link.uplink, before.device, sizeof(link.uplink));
		link.number = before.number;
		link.mark = before.mark;
		IS_INT(plan_add_link(&w->was, &link), 0);
	}
	return (struct plan_inputs){
		.domain = d, .intent = &w->intent, .policy = &w->policy, .host = &w->host, .ledger = &w->ledger,
		.wrapper = { .emulator = empty }, .nets = t->not_looked_at ? NULL : &w->nets, .nics = w->nics,
		.was = t->was ? &w->was : NULL, .running = t->running || t->was,
	};
}

static char *plan_text(const struct plan *p)
{
	static const char *const ways[] = { "none", "bridged", "routed", "direct" };
	struct sbuf b = { 0 };

	for (unsigned int i = 0; i < p->n_uplinks; i++)
		sbuf_addf(&b, "uplink %s %u link %" PRIu64 " rest %" PRIu64 "\n", p->uplinks[i].name, p->uplinks[i].ifindex,
			  p->uplinks[i].link, p->uplinks[i].rest);
	for (unsigned int i = 0; i < p->n_links; i++) {
		const struct plan_link *l = &p->links[i];

		sbuf_addf(&b, "link %s %s %s %x %" PRIu64 " %" PRIu64 " %" PRIu64 " %u", l->mac + 15, l->uplink, ways[l->way],
			  l->number, l->rate, l->ceil, l->burst, l->priority);
		if (l->mark || l->mask)
			sbuf_addf(&b, " mark %x/%x", l->mark, l->mask);
		if (l->limit)
			sbuf_addf(&b, " limit %" PRIu64, l->limit);
		sbuf_add(&b, "\n");
	}
	for (size_t i = 0; i < p->n_settings; i++) {
		const struct setting *s = &p->settings[i];

		if (!str_starts(s->knob, "interface."))
			continue;
		sbuf_addf(&b, "%s[%s] %s %s %s: %s\n", s->knob + 10, s->target, stage_name(s->stage), s->value, s->source,
			  s->why);
	}
	for (size_t i = 0; i < p->n_skipped; i++)
		if (str_starts(p->skipped[i].knob, "interface."))
			sbuf_addf(&b, "skip %s[%s]: %s\n", p->skipped[i].knob + 10, p->skipped[i].target,
				  p->skipped[i].why);
	for (size_t i = 0; i < p->warnings.n; i++)
		sbuf_addf(&b, "warn %s\n", p->warnings.m[i].text);
	if (p->refused)
		sbuf_addf(&b, "refused %s\n", p->refused);
	return sbuf_steal(&b);
}

/* clang-format off */
#define BRIDGED { MAC1, DOMAIN_INTERFACE_BRIDGE, NETDEV_BRIDGED, "0" }
#define NO_MASK \
	"forwarded packets are told apart by a mark only, and the policy gives none: <uplink device='eth0' mark-mask='0xff00'/>"
#define ROUTED  { MAC1, DOMAIN_INTERFACE_NETWORK, NETDEV_ROUTED, "0" }
#define ETH0    { "eth0", GBIT, 1, { .root = "fq_codel" } }
#define ON_ETH0 "guaranteed on eth0: class d001 of 1 Gbit/s (its speed), 50 Mbit/s of them for all other traffic"
#define TREE    "uplink eth0 2 link 1000000000 rest 50000000\n"

static const struct ncase cases[] = {
	{ .name = "nothing asked", .intent = "", .nics = { BRIDGED }, .devices = { ETH0 }, .want = "" },
	{ .name = "all four", .nics = { BRIDGED }, .devices = { ETH0 },
	  .intent = "interface[*].rate=300mbit interface[*].ceil=500mbit interface[*].burst=64k interface[*].priority=1",
	  .want = TREE
		  "link 01 eth0 bridged d001 300000000 500000000 65536 1 limit 500000000\n"
		  "rate[" MAC1 "] started 300000000 profile p: " ON_ETH0 "\n"
		  "ceil[" MAC1 "] started 500000000 profile p: at most this on eth0, and towards the guest on its tap\n"
		  "burst[" MAC1 "] started 65536 profile p: bytes that its class may send at once\n"
		  "priority[" MAC1 "] started 1 profile p: who is first offered what nobody's guarantee needs: 0 before 7, "
		  "3 is everybody else's\n" },
	{ .name = "priority alone: a small guarantee, the whole link", .nics = { BRIDGED }, .devices = { ETH0 },
	  .intent = "interface[*].priority=0",
	  .want = TREE
		  "link 01 eth0 bridged d001 10000000 1000000000 0 0\n"
		  "rate[" MAC1 "] started 10000000 default: " ON_ETH0 "; no rate was asked for, and a class needs one: "
		  "10 Mbit/s, 1 % of the link or what is left\n"
		  "priority[" MAC1 "] started 0 profile p: who is first offered what nobody's guarantee needs: 0 before 7, "
		  "3 is everybody else's\n" },
	{ .name = "a named target before *, the annotation before the profile", .nics = { BRIDGED }, .devices = { ETH0 },
	  .intent = "!interface[*].rate=100mbit interface[net0].rate=200mbit interface[net0].ceil=300mbit "
		    "interface[*].ceil=400mbit",
	  .want = TREE
		  "link 01 eth0 bridged d001 100000000 300000000 0 3 limit 300000000\n"
		  "rate[" MAC1 "] started 100000000 annotation: " ON_ETH0 "\n"
		  "ceil[" MAC1 "] started 300000000 profile p: at most this on eth0, and towards the guest on its tap\n" },
	{ .name = "by host device and by MAC in capitals", .devices = { ETH0 },
	  .nics = { BRIDGED, { "52:54:00:00:00:ab", DOMAIN_INTERFACE_BRIDGE, NETDEV_BRIDGED, "0" } },
	  .intent = "interface[vnet7].rate=100mbit interface[52:54:00:00:00:AB].rate=200mbit",
	  .want = TREE
		  "link 01 eth0 bridged d001 100000000 1000000000 0 3\n"
		  "link ab eth0 bridged d002 200000000 1000000000 0 3\n"
		  "rate[" MAC1 "] started 100000000 profile p: " ON_ETH0 "\n"
		  "rate[52:54:00:00:00:ab] started 200000000 profile p: guaranteed on eth0: class d002 of 1 Gbit/s (its speed), "
		  "50 Mbit/s of them for all other traffic\n" },
	{ .name = "targets that it does not have", .nics = { BRIDGED }, .devices = { ETH0 },
	  .intent = "interface[../../x].rate=1gbit interface[net9].steering=auto interface[net9].queues=4",
	  .want = "skip rate[../../x]: the domain has no interface '../../x'\n"
		  "skip steering[net9]: the domain has no interface 'net9'\n"
		  "skip queues[net9]: the domain has no interface 'net9'\n" },
	{ .name = "no interface at all", .intent = "interface[*].steering=auto", .devices = { ETH0 },
	  .want = "skip steering[*]: the domain has no interface\n" },
	{ .name = "a ceiling below the rate, and one above the link", .devices = { ETH0 },
	  .nics = { BRIDGED, { MAC2, DOMAIN_INTERFACE_BRIDGE, NETDEV_BRIDGED, "0" } },
	  .intent = "interface[net0].rate=200mbit interface[net0].ceil=100mbit interface[net1].ceil=2gbit",
	  .want = TREE
		  "link 01 eth0 bridged d001 200000000 200000000 0 3 limit 200000000\n"
		  "link 02 eth0 bridged d002 10000000 1000000000 0 3 limit 1000000000\n"
		  "rate[" MAC1 "] started 200000000 profile p: " ON_ETH0 "\n"
		  "ceil[" MAC1 "] started 200000000 limit: at most this on eth0, and towards the guest on its tap\n"
		  "rate[" MAC2 "] started 10000000 default: guaranteed on eth0: class d002 of 1 Gbit/s (its speed), 50 Mbit/s "
		  "of them for all other traffic; no rate was asked for, and a class needs one: 10 Mbit/s, 1 % of the link or "
		  "what is left\n"
		  "ceil[" MAC2 "] started 1000000000 limit: 2 Gbit/s asked, but eth0 carries no more; at most this on eth0, and "
		  "towards the guest on its tap\n"
		  "warn interface.ceil 100 Mbit/s of " MAC1 " is less than its rate: it is raised to 200 Mbit/s\n" },
	{ .name = "others' guarantees: what is left", .nics = { BRIDGED }, .devices = { ETH0 },
	  .intent = "interface[*].rate=600mbit",
	  .holders = { { "db1", "eth0:d001:500000000 eth1:d009:900000000", CLAIM_OURS },
		       { "db2", "eth0:d002:100000000", CLAIM_OURS }, { "seen", "eth0:d003:300000000", CLAIM_OBSERVE } },
	  .want = TREE
		  "link 01 eth0 bridged d003 350000000 1000000000 0 3\n"
		  "rate[" MAC1 "] started 350000000 limit: guaranteed on eth0: class d003 of 1 Gbit/s (its speed), 50 Mbit/s of "
		  "them for all other traffic; 600 Mbit/s asked: of the 950 Mbit/s that eth0 can promise db1 holds 500 Mbit/s, "
		  "db2 100 Mbit/s\n"
		  "warn interface.rate of " MAC1 " is scaled down: 600 Mbit/s asked: of the 950 Mbit/s that eth0 can promise "
		  "db1 holds 500 Mbit/s, db2 100 Mbit/s\n" },
	{ .name = "more than the link itself", .nics = { BRIDGED }, .devices = { ETH0 },
	  .intent = "interface[*].rate=10gbit",
	  .want = TREE
		  "link 01 eth0 bridged d001 950000000 1000000000 0 3\n"
		  "rate[" MAC1 "] started 950000000 limit: " ON_ETH0 "; 10 Gbit/s asked: of the 950 Mbit/s that eth0 can "
		  "promise nobody holds any\n"
		  "warn interface.rate of " MAC1 " is scaled down: 10 Gbit/s asked: of the 950 Mbit/s that eth0 can promise "
		  "nobody holds any\n" },
	{ .name = "nothing is left", .nics = { BRIDGED }, .devices = { ETH0 }, .intent = "interface[*].rate=600mbit",
	  .holders = { { "db1", "eth0:d001:950000000", CLAIM_OURS } },
	  .want = "skip rate[" MAC1 "]: 600 Mbit/s asked: of the 950 Mbit/s that eth0 can promise db1 holds 950 Mbit/s\n" },
	{ .name = "nothing is left, but there is a ceiling to be kept", .nics = { BRIDGED }, .devices = { ETH0 },
	  .intent = "interface[*].rate=600mbit interface[*].ceil=700mbit",
	  .holders = { { "db1", "eth0:d001:950000000", CLAIM_OURS } },
	  .want = TREE
		  "link 01 eth0 bridged d002 64000 700000000 0 3 limit 700000000\n"
		  "rate[" MAC1 "] started 64000 limit: guaranteed on eth0: class d002 of 1 Gbit/s (its speed), 50 Mbit/s of "
		  "them for all other traffic; 600 Mbit/s asked: of the 950 Mbit/s that eth0 can promise db1 holds 950 Mbit/s\n"
		  "ceil[" MAC1 "] started 700000000 profile p: at most this on eth0, and towards the guest on its tap\n"
		  "warn interface.rate of " MAC1 " is scaled down: 600 Mbit/s asked: of the 950 Mbit/s that eth0 can promise "
		  "db1 holds 950 Mbit/s\n" },
	{ .name = "nothing is left, on-error=fail", .nics = { BRIDGED }, .devices = { ETH0 }, .fail = true,
	  .intent = "interface[*].rate=600mbit",
	  .holders = { { "a", "eth0:d001:500000000", CLAIM_OURS }, { "b\n", "eth0:d002:400000000", CLAIM_OURS },
		       { "c", "eth0:d003:40000000", CLAIM_OURS }, { "d", "eth0:d004:5000000", CLAIM_OURS },
		       { "e", "eth0:d005:5000000", CLAIM_FOREIGN } },
	  .want = "skip rate[" MAC1 "]: 600 Mbit/s asked: of the 950 Mbit/s that eth0 can promise a holds 500 Mbit/s, b? 400 "
		  "Mbit/s, c 40 Mbit/s, 2 other domains the rest\n"
		  "refused interface.rate 600 Mbit/s asked for " MAC1 ", but of the 950 Mbit/s that eth0 can promise none are "
		  "left (a holds 500 Mbit/s, b? 400 Mbit/s, c 40 Mbit/s, 2 other domains the rest): a lower rate, or <uplink "
		  "device='eth0' rate=> if it carries more\n" },
	{ .name = "its own first interface counts", .devices = { ETH0 },
	  .nics = { BRIDGED, { MAC2, DOMAIN_INTERFACE_BRIDGE, NETDEV_BRIDGED, "0" } }, .intent = "interface[*].rate=500mbit",
	  .want = TREE
		  "link 01 eth0 bridged d001 500000000 1000000000 0 3\n"
		  "link 02 eth0 bridged d002 450000000 1000000000 0 3\n"
		  "rate[" MAC1 "] started 500000000 profile p: " ON_ETH0 "\n"
		  "rate[" MAC2 "] started 450000000 limit: guaranteed on eth0: class d002 of 1 Gbit/s (its speed), 50 Mbit/s of "
		  "them for all other traffic; 500 Mbit/s asked: of the 950 Mbit/s that eth0 can promise its own interfaces "
		  "before this one 500 Mbit/s\n"
		  "warn interface.rate of " MAC2 " is scaled down: 500 Mbit/s asked: of the 950 Mbit/s that eth0 can promise "
		  "its own interfaces before this one 500 Mbit/s\n" },
	{ .name = "the policy's rate before the device's speed", .nics = { BRIDGED }, .devices = { ETH0 },
	  .uplinks = { { (char *)(uintptr_t)"eth0", 100 * MBIT } }, .intent = "interface[*].rate=95mbit",
	  .want = "uplink eth0 2 link 100000000 rest 5000000\n"
		  "link 01 eth0 bridged d001 95000000 100000000 0 3\n"
		  "rate[" MAC1 "] started 95000000 profile p: guaranteed on eth0: class d001 of 100 Mbit/s (the policy), "
		  "5 Mbit/s of them for all other traffic\n" },
	{ .name = "a speed that nobody knows", .nics = { BRIDGED }, .devices = { { "eth0", 0, 1 } },
	  .holders = { { "db1", "eth0:d001:99000000000", CLAIM_OURS } }, .intent = "interface[*].rate=20gbit",
	  .want = "uplink eth0 2 link 100000000000 rest 5000000000\n"
		  "link 01 eth0 bridged d002 20000000000 100000000000 0 3\n"
		  "rate[" MAC1 "] started 20000000000 profile p: guaranteed on eth0: class d002 of 100 Gbit/s (assumed), "
		  "5 Gbit/s of them for all other traffic\n"
		  "warn how much eth0 carries is not known, so that guarantees on it cannot be shared out: <uplink "
		  "device='eth0' rate='10gbit'/> in the policy says it\n" },
	{ .name = "two uplinks: the tightest counts, the number is free on both",
	  .nics = { { MAC1, DOMAIN_INTERFACE_BRIDGE, NETDEV_BRIDGED, "01" } },
	  .devices = { ETH0, { "eth1", GBIT, 1, { .root = "fq_codel" } } }, .intent = "interface[*].rate=300mbit",
	  .holders = { { "db1", "eth0:d001:100000000 eth1:d002:800000000", CLAIM_OURS } },
	  .want = TREE
		  "uplink eth1 3 link 1000000000 rest 50000000\n"
		  "link 01 eth0 bridged d003 150000000 1000000000 0 3\n"
		  "link 01 eth1 bridged d003 150000000 1000000000 0 3\n"
		  "rate[" MAC1 "] started 150000000 limit: guaranteed on each of eth0, eth1 (bond or bridge decides which of them a "
		  "packet takes): class d003 of 1 Gbit/s (its speed), 50 Mbit/s of them for all other traffic, of 1 Gbit/s (its "
		  "speed), 50 Mbit/s of them for all other traffic; 300 Mbit/s asked: of the 950 Mbit/s that eth1 can promise "
		  "db1 holds 800 Mbit/s\n"
		  "warn interface.rate of " MAC1 " is scaled down: 300 Mbit/s asked: of the 950 Mbit/s that eth1 can promise db1 "
		  "holds 800 Mbit/s\n" },
	{ .name = "one of two uplinks has a root of somebody's",
	  .nics = { { MAC1, DOMAIN_INTERFACE_BRIDGE, NETDEV_BRIDGED, "01" } },
	  .devices = { { "eth0", GBIT, 1, { .root = "tbf", .handle = 0x80010000 } }, { "eth1", GBIT, 1, { .root = "fq_codel" } } },
	  .intent = "interface[*].rate=300mbit",
	  .want = "uplink eth1 3 link 1000000000 rest 50000000\n"
		  "link 01 eth1 bridged d001 300000000 1000000000 0 3\n"
		  "rate[" MAC1 "] started 300000000 profile p: guaranteed on eth1: class d001 of 1 Gbit/s (its speed), 50 Mbit/s of "
		  "them for all other traffic; not everywhere: the root of eth0 is tbf 8001:, which somebody else has configured: "
		  "it stays\n" },
	{ .name = "a foreign root of another kind", .nics = { BRIDGED }, .intent = "interface[*].rate=300mbit",
	  .devices = { { "eth0", GBIT, 1, { .root = "tbf", .handle = 0x80010000 } } },
	  .want = "skip rate[" MAC1 "]: the root of eth0 is tbf 8001:, which somebody else has configured: it stays\n" },
	{ .name = "a foreign HTB is joined", .nics = { BRIDGED }, .intent = "interface[*].rate=300mbit",
	  .devices = { { "eth0", GBIT, 8, { .root = "htb", .handle = 0x10000 } } },
	  .want = TREE
		  "link 01 eth0 bridged d001 300000000 1000000000 0 3\n"
		  "rate[" MAC1 "] started 300000000 profile p: guaranteed on eth0: class d001 below the HTB root 1: that eth0 "
		  "has\n" },
	{ .name = "our own tree is there", .nics = { BRIDGED }, .intent = "interface[*].rate=300mbit",
	  .devices = { { "eth0", GBIT, 8, { .root = "htb", .handle = 0xd0700000, .is_ours = true } } },
	  .want = TREE
		  "link 01 eth0 bridged d001 300000000 1000000000 0 3\n"
		  "rate[" MAC1 "] started 300000000 profile p: " ON_ETH0 "\n" },
	{ .name = "mq stays unless the policy gives it up", .nics = { BRIDGED }, .intent = "interface[*].rate=300mbit",
	  .devices = { { "eth0", GBIT, 8, { .root = "mq" } } },
	  .want = "skip rate[" MAC1 "]: eth0 has 8 transmit queues (mq), and classes would put them all behind one lock: "
		  "<uplink device='eth0' replace-mq='yes'/> allows that\n" },
	{ .name = "several queues, and the root is not known", .nics = { BRIDGED }, .intent = "interface[*].rate=300mbit",
	  .devices = { { "eth0", GBIT, 4 } },
	  .want = "skip rate[" MAC1 "]: eth0 has 4 transmit queues (mq), and classes would put them all behind one lock: "
		  "<uplink device='eth0' replace-mq='yes'/> allows that\n" },
	{ .name = "several queues and no mq", .nics = { BRIDGED }, .intent = "interface[*].rate=300mbit",
	  .devices = { { "eth0", GBIT, 4, { .root = "noqueue" } } },
	  .want = TREE
		  "link 01 eth0 bridged d001 300000000 1000000000 0 3\n"
		  "rate[" MAC1 "] started 300000000 profile p: " ON_ETH0 "\n" },
	{ .name = "mq is given up", .nics = { BRIDGED }, .intent = "interface[*].rate=300mbit",
	  .devices = { { "eth0", GBIT, 8, { .root = "mq" } } },
	  .uplinks = { { (char *)(uintptr_t)"eth0", 0, true } },
	  .want = TREE
		  "link 01 eth0 bridged d001 300000000 1000000000 0 3\n"
		  "rate[" MAC1 "] started 300000000 profile p: " ON_ETH0 ", its mq root is replaced: 8 transmit queues behind one "
		  "lock\n" },
	{ .name = "routed: a mark that nobody has", .nics = { ROUTED }, .devices = { ETH0 },
	  .uplinks = { { (char *)(uintptr_t)"eth0", 0, false, 0xa00 } }, .intent = "interface[*].rate=300mbit",
	  .holders = { { "db1", "eth0:d001:1000:200", CLAIM_OURS }, { "db2", "eth9:d001:1000:800", CLAIM_OURS } },
	  .want = TREE
		  "link 01 eth0 routed d002 300000000 1000000000 0 3 mark a00/a00\n"
		  "rate[" MAC1 "] started 300000000 profile p: guaranteed on eth0: class d002 of 1 Gbit/s (its speed), 50 Mbit/s of "
		  "them for all other traffic, by mark 0xa00/0xa00\n" },
	{ .name = "routed: all marks are taken", .nics = { ROUTED }, .devices = { ETH0 },
	  .uplinks = { { (char *)(uintptr_t)"eth0", 0, false, 0x8000 } }, .intent = "interface[*].rate=300mbit",
	  .holders = { { "db1", "eth0:d001:1000:8000", CLAIM_OURS } },
	  .want = "skip rate[" MAC1 "]: the mark-mask 0x8000 of eth0 has no value left\n" },
	{ .name = "routed: no mask", .nics = { ROUTED }, .devices = { ETH0 },
	  .intent = "interface[*].rate=100mbit interface[*].ceil=300mbit interface[*].priority=1",
	  .want = "link 01  routed 0 0 0 0 0 limit 300000000\n"
		  "ceil[" MAC1 "] started 300000000 profile p: at most this towards the guest, on its tap; not on its uplink: "
		  NO_MASK "\n"
		  "skip rate[" MAC1 "]: " NO_MASK "\n"
		  "skip priority[" MAC1 "]: " NO_MASK "\n" },
	{ .name = "routed: no mask, no ceiling", .nics = { ROUTED }, .devices = { ETH0 }, .intent = "interface[*].rate=300mbit",
	  .want = "skip rate[" MAC1 "]: " NO_MASK "\n" },
	{ .name = "macvtap", .nics = { { MAC1, DOMAIN_INTERFACE_DIRECT, NETDEV_DIRECT, "0" } }, .devices = { ETH0 },
	  .intent = "interface[*].ceil=300mbit interface[*].steering=auto", .placed = true,
	  .want = TREE
		  "link 01 eth0 direct d001 10000000 300000000 0 3\n"
		  "rate[" MAC1 "] started 10000000 default: " ON_ETH0 "; no rate was asked for, and a class needs one: 10 Mbit/s, "
		  "1 % of the link or what is left\n"
		  "ceil[" MAC1 "] started 300000000 profile p: at most this on eth0; not towards the guest: a macvtap has no queue "
		  "there\n"
		  "skip steering[" MAC1 "]: packets of a macvtap pass no receive queue of its own\n" },
	{ .name = "what the definition says itself", .devices = { ETH0 },
	  .nics = { { MAC1, DOMAIN_INTERFACE_BRIDGE, NETDEV_BRIDGED, "0", INTERFACE_HAS_OUTBOUND | INTERFACE_HAS_INBOUND },
		    { MAC2, DOMAIN_INTERFACE_BRIDGE, NETDEV_BRIDGED, "0", INTERFACE_HAS_INBOUND } },
	  .intent = "interface[net0].rate=300mbit interface[*].ceil=400mbit interface[net0].burst=1k interface[net0].priority=1",
	  .want = TREE
		  "link 01 eth0 bridged d001 10000000 1000000000 0 1\n"
		  "link 02 eth0 bridged d002 10000000 400000000 0 3\n"
		  "rate[" MAC1 "] started 10000000 default: " ON_ETH0 "; no rate was asked for, and a class needs one: 10 Mbit/s, "
		  "1 % of the link or what is left\n"
		  "priority[" MAC1 "] started 1 profile p: who is first offered what nobody's guarantee needs: 0 before 7, 3 is "
		  "everybody else's\n"
		  "rate[" MAC2 "] started 10000000 default: guaranteed on eth0: class d002 of 1 Gbit/s (its speed), 50 Mbit/s of "
		  "them for all other traffic; no rate was asked for, and a class needs one: 10 Mbit/s, 1 % of the link or what "
		  "is left\n"
		  "ceil[" MAC2 "] started 400000000 profile p: at most this on eth0; what comes towards the guest is limited by "
		  "<inbound>\n"
		  "skip rate[" MAC1 "]: the definition has <bandwidth><outbound>\n"
		  "skip ceil[" MAC1 "]: the definition has <bandwidth><outbound>\n"
		  "skip burst[" MAC1 "]: the definition has <bandwidth><outbound>\n" },
	{ .name = "where nothing can be done", .placed = true, .devices = { ETH0 },
	  .intent = "interface[*].rate=300mbit interface[*].steering=auto interface[*].rx-ring=max",
	  .nics = { { MAC1, DOMAIN_INTERFACE_OTHER, NETDEV_NONE, "", .type = "vhostuser" },
		    { MAC2, DOMAIN_INTERFACE_HOSTDEV, NETDEV_NONE, "" },
		    { "", DOMAIN_INTERFACE_BRIDGE, NETDEV_BRIDGED, "0" } },
	  .want = "skip rate[" MAC1 "]: type='vhostuser' has no host device that packets pass\n"
		  "skip steering[" MAC1 "]: type='vhostuser' has no host device that packets pass\n"
		  "skip rate[" MAC2 "]: it is passed through: its packets do not pass the host\n"
		  "skip steering[" MAC2 "]: it is passed through: its packets do not pass the host\n"
		  "skip rate[net2]: its MAC address is not known: libvirt gives it one when it is defined\n"
		  "skip steering[net2]: its MAC address is not known: libvirt gives it one when it is defined\n"
		  "skip rx-ring[" MAC1 "]: type='vhostuser' has no host device that packets pass\n"
		  "skip rx-ring[" MAC2 "]: it is passed through: its packets do not pass the host\n"
		  "skip rx-ring[net2]: its MAC address is not known: libvirt gives it one when it is defined\n" },
	{ .name = "Open vSwitch, no uplink, a MAC twice", .devices = { ETH0 }, .intent = "interface[*].rate=300mbit",
	  .nics = { { MAC1, DOMAIN_INTERFACE_BRIDGE, NETDEV_NONE, "", INTERFACE_IS_OVS },
		    { MAC2, DOMAIN_INTERFACE_NETWORK, NETDEV_NONE, "", .why = "the network 'lan' is isolated" },
		    { MAC2, DOMAIN_INTERFACE_BRIDGE, NETDEV_BRIDGED, "0" } },
	  .want = "skip rate[" MAC1 "]: it is a port of Open vSwitch, which shapes its ports itself\n"
		  "skip rate[" MAC2 "]: the network 'lan' is isolated\n"
		  "skip rate[" MAC2 "]: another interface of the domain has its MAC address\n" },
	{ .name = "not looked at", .nics = { BRIDGED }, .not_looked_at = true,
	  .intent = "interface[*].rate=300mbit interface[*].tx-ring=512",
	  .want = "skip rate[" MAC1 "]: the host's network devices were not looked at\n"
		  "skip tx-ring[" MAC1 "]: the host's network devices were not looked at\n" },
	{ .name = "retune keeps number and mark", .nics = { ROUTED }, .devices = { ETH0 }, .was = "eth0:d007:0:500",
	  .uplinks = { { (char *)(uintptr_t)"eth0", 0, false, 0xff00 } }, .intent = "interface[*].rate=300mbit",
	  .holders = { { "db1", "eth0:d001:1000:100", CLAIM_OURS } },
	  .want = TREE
		  "link 01 eth0 routed d007 300000000 1000000000 0 3 mark 500/ff00\n"
		  "rate[" MAC1 "] started 300000000 profile p: guaranteed on eth0: class d007 of 1 Gbit/s (its speed), 50 Mbit/s of "
		  "them for all other traffic, by mark 0x500/0xff00\n" },
	{ .name = "retune: somebody else has them", .nics = { ROUTED }, .devices = { ETH0 }, .was = "eth0:d007:0:500",
	  .uplinks = { { (char *)(uintptr_t)"eth0", 0, false, 0xff00 } }, .intent = "interface[*].rate=300mbit",
	  .holders = { { "db1", "eth0:d007:1000:500", CLAIM_OURS } },
	  .want = TREE
		  "link 01 eth0 routed d001 300000000 1000000000 0 3 mark 100/ff00\n"
		  "rate[" MAC1 "] started 300000000 profile p: " ON_ETH0 ", by mark 0x100/0xff00\n" },
	{ .name = "steering: where QEMU's other threads are", .nics = { BRIDGED }, .devices = { ETH0 }, .dedicated = true,
	  .intent = "interface[*].steering=auto",
	  .want = "steering[" MAC1 "] started 3 profile p: its tap's packets are handled where QEMU's other threads run (RPS, "
		  "and XPS if it has several queues); vhost workers run with these threads anyway\n" },
	{ .name = "steering: the owner's pins without the claimed CPUs", .nics = { BRIDGED }, .devices = { ETH0 },
	  .dedicated = true, .emulatorpin = "0-1", .intent = "interface[*].steering=auto",
	  .want = "steering[" MAC1 "] started 0 profile p: its tap's packets are handled where QEMU's other threads run (RPS, "
		  "and XPS if it has several queues); vhost workers run with these threads anyway\n" },
	{ .name = "steering: nothing is placed, none is none", .devices = { ETH0 },
	  .nics = { BRIDGED, { MAC2, DOMAIN_INTERFACE_BRIDGE, NETDEV_BRIDGED, "0" } },
	  .intent = "interface[net0].steering=auto interface[net1].steering=none",
	  .want = "skip steering[" MAC1 "]: nothing is placed with cpu policy none, so that it has no node\n" },
	{ .name = "rings: the largest wish, never above the maximum", .devices = {
		  { "eth0", GBIT, 1, { .root = "fq_codel", .rx = 256, .tx = 1024, .rx_max = 4096, .tx_max = 1024 } },
		  { "eth1", GBIT, 1, { .rx = 256, .rx_max = 1024 } } },
	  .nics = { BRIDGED, { MAC2, DOMAIN_INTERFACE_BRIDGE, NETDEV_BRIDGED, "01" } },
	  .intent = "interface[net0].rx-ring=512 interface[net1].rx-ring=2048 interface[net1].tx-ring=max",
	  .want = "uplink eth0 2 link 0 rest 0\n"
		  "uplink eth1 3 link 0 rest 0\n"
		  "rx-ring[eth0] prepare 2048 profile p: at most 4096; now 256, and the change drops the link for a moment on "
		  "many NICs\n"
		  "rx-ring[eth1] prepare 1024 limit: 2048 asked, at most 1024; now 256, and the change drops the link for a "
		  "moment on many NICs\n"
		  "tx-ring[eth0] prepare 1024 profile p: it has 1024 of at most 1024 already: nothing is written\n"
		  "skip tx-ring[eth1]: eth1 has no such ring that can be set\n" },
};
/* clang-format on */

static void check(const struct ncase *t)
{
	struct world w;
	struct plan_inputs in = make_world(&w, t);
	struct plan p;
	char *got;

	IS_INT(plan_make(&in, &p), 0);
	got = plan_text(&p);
	if (!streq(got, t->want))
		TAP_FAIL("%s:\n%s\n--- not\n%s", t->name, got, t->want);
	free(got);
	plan_fini(&p);
	plan_fini(&w.was);
	free_intent(&w.intent);
	ledger_fini(&w.ledger);
	host_free(&w.host);
}

TEST(interfaces)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(&cases[i]);
}

/* Through records and back; and into a claim. */
TEST(survives_its_records)
{
	struct world w;
	struct ncase t = { .name = "records", .nics = { ROUTED, { MAC2, DOMAIN_INTERFACE_BRIDGE, NETDEV_BRIDGED, "01" } },
			   .devices = { ETH0, { "a,b", GBIT, 1 } },
			   .uplinks = { { (char *)(uintptr_t)"eth0", 0, false, 0xff00 } },
			   .intent = "interface[*].rate=100mbit interface[*].ceil=200mbit interface[*].burst=9k" };
	struct plan_inputs in = make_world(&w, &t);
	struct plan p, again = { 0 };
	struct sbuf b = { 0 };
	struct record r;
	struct claim *c;
	char *one, *other, *pos;

	IS_INT(plan_make(&in, &p), 0);
	IS_INT(p.n_links, 3);
	plan_put_records(&p, &b);
	OK(!b.failed);
	pos = b.s;
	while (record_next(&pos, &r, NULL) == 1)
		IS_INT(plan_take_record(&again, &r), 1);
	one = plan_text(&p);
	other = plan_text(&again);
	IS_STR(other, one);
	c = ledger_add(&w.ledger, UUID, "web1");
	IS_INT(plan_fill_claim(&p, &w.ledger, c), 0);
	IS_INT(c->n_links, 3);
	IS_STR(c->links[2].device, "a,b");
	IS_INT(c->links[0].mark, 0x100);
	IS_INT(c->links[2].number, c->links[1].number);
	IS_INT(c->links[1].rate, 100 * MBIT);
	free(one);
	free(other);
	sbuf_fini(&b);
	plan_fini(&again);
	plan_fini(&p);
	free_intent(&w.intent);
	ledger_fini(&w.ledger);
	host_free(&w.host);
}

/* A limit at a tap without a class at an uplink: on record, and nothing that is held. */
TEST(a_limit_alone_survives_its_records)
{
	struct world w;
	struct ncase t = { .name = "limit", .nics = { ROUTED }, .devices = { ETH0 }, .intent = "interface[*].ceil=200mbit" };
	struct plan_inputs in = make_world(&w, &t);
	struct plan p, again = { 0 };
	struct sbuf b = { 0 };
	struct record r;
	struct claim *c;
	char *one, *other, *pos;

	IS_INT(plan_make(&in, &p), 0);
	IS_INT(p.n_links, 1);
	plan_put_records(&p, &b);
	pos = b.s;
	while (record_next(&pos, &r, NULL) == 1)
		IS_INT(plan_take_record(&again, &r), 1);
	one = plan_text(&p);
	other = plan_text(&again);
	IS_STR(other, one);
	c = ledger_add(&w.ledger, UUID, "web1");
	IS_INT(plan_fill_claim(&p, &w.ledger, c), 0);
	IS_INT(c->n_links, 0);
	free(one);
	free(other);
	sbuf_fini(&b);
	plan_fini(&again);
	plan_fini(&p);
	free_intent(&w.intent);
	ledger_fini(&w.ledger);
	host_free(&w.host);
}

/* Records that cannot be ours are left out. */
TEST(takes_no_nonsense)
{
	static const char *const bad[][12] = {
		{ "uplink", "a-name-that-is-too-long", "2", "1", "1" },
		{ "uplink", "eth0", "0", "1", "1" },
		{ "link", MAC1 "0", "eth0", "1", "53249", "1", "1", "0", "3", "0", "0", "0" },
		{ "link", MAC1, "a-name-that-is-too-long", "1", "53249", "1", "1", "0", "3", "0", "0", "0" },
		{ "link", MAC1, "eth0", "1", "53248", "1", "1", "0", "3", "0", "0", "0" },
		{ "link", MAC1, "eth0", "1", "0", "1", "1", "0", "3", "0", "0", "1" },
		{ "link", MAC1, "", "1", "0", "1", "1", "0", "3", "0", "0", "0" },
		{ "link", MAC1, "eth0", "1", "57344", "1", "1", "0", "3", "0", "0", "0" },
	};
	struct plan p = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct record r = { 0 };

		while (r.n < 12 && bad[i][r.n]) {
			r.f[r.n] = (char *)(uintptr_t)bad[i][r.n];
			r.n++;
		}
		IS_INT(plan_take_record(&p, &r), 1);
	}
	IS_INT(p.n_links, 0);
	IS_INT(p.n_uplinks, 0);
	plan_fini(&p);
}

TAP_MAIN
