/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Queue counts: planned for the definition, and nothing else comes of them. */
#include "tap.h"

#include "common/plan.h"
#include "placehost.h"

struct qcase {
	const char *name, *annotation;
	unsigned int vcpus;
	const char *bus; unsigned int disk_has;
	const char *model; unsigned int interface_has;
	const char *want;
};

#define AT_MOST "one for each vCPU at most; the guest sees it: for the definition, nothing is done in this version\n"
#define MORE    "more than its vCPUs can use; the guest sees it: for the definition, nothing is done in this version\n"

static const struct qcase cases[] = {
	{ "not asked", "", 4, "virtio", 0, "virtio", 0, "" },
	{ "auto", "<disk target='*' queues='auto'/><interface target='*' queues='auto'/>", 4, "virtio", 0, "virtio", 0,
	  "disk.queues vda 4 " AT_MOST "interface.queues 52:54:00:00:00:01 4 " AT_MOST },
	{ "many vCPUs", "<disk target='vda' queues='auto'/><interface target='net0' queues='auto'/>", 64, "virtio", 0,
	  "virtio-non-transitional", 0, "disk.queues vda 64 " AT_MOST "interface.queues 52:54:00:00:00:01 8 " AT_MOST },
	{ "a number", "<disk target='vda' queues='2'/><interface target='52:54:00:00:00:01' queues='16'/>", 4, "virtio", 0,
	  "virtio", 0, "disk.queues vda 2 " AT_MOST "interface.queues 52:54:00:00:00:01 16 " MORE },
	{ "other devices", "<disk target='*' queues='auto'/><interface target='*' queues='4'/>", 4, "sata", 0, "e1000e", 0,
	  "skip disk.queues vda: a disk on bus sata has no number of queues\n"
	  "skip interface.queues 52:54:00:00:00:01: model e1000e has no number of queues\n" },
	{ "the owner's", "<disk target='*' queues='auto'/><interface target='*' queues='4'/>", 4, "virtio", DISK_HAS_QUEUES,
	  "virtio", INTERFACE_HAS_QUEUES,
	  "skip disk.queues vda: the definition has <driver queues>\n"
	  "skip interface.queues 52:54:00:00:00:01: the definition has <driver queues>\n" },
	{ "what else is said of it", "<disk target='*' queues='auto'/>", 4, "virtio", ~(unsigned int)(DISK_HAS_QUEUES | DISK_IS_REMOVABLE),
	  "virtio", 0, "disk.queues vda 4 " AT_MOST },
	{ "a CD is none of all", "<disk target='*' queues='auto'/>", 4, "virtio", DISK_IS_REMOVABLE, "virtio", 0, "" },
};

static void make_intent(const char *elements, struct intent *ret)
{
	char text[1024];
	struct err e = ERR_INIT;
	struct tune t = { 0 };
	struct msgs msgs = { 0 };
	xmlDoc *doc;

	(void)snprintf(text, sizeof(text), "<tune xmlns='" TUNE_NS "'>%s</tune>", elements);
	doc = xml_parse(text, strlen(text), sizeof(text), &e);
	OK(doc && tune_parse(xmlDocGetRootElement(doc), "test", &t, &msgs) == 0 && msgs.n == 0);
	OK(tune_set_source(&t, "annotation") == 0);
	xmlFreeDoc(doc);
	msgs_fini(&msgs);
	*ret = (struct intent){ .profile = strdup(""), .targets = t.targets, .n_targets = t.n_targets };
	memcpy(ret->v, t.v, sizeof(t.v));
	t.targets = NULL;
	t.n_targets = 0;
	memset(t.v, 0, sizeof(t.v));
	tune_fini(&t);
}

static void show(const struct plan *p, struct sbuf *b)
{
	for (size_t i = 0; i < p->n_settings; i++) {
		const struct setting *s = &p->settings[i];

		OK(s->stage == STAGE_DEFINITION && streq(s->source, "annotation"));
		sbuf_addf(b, "%s %s %s %s\n", s->knob, s->target, s->value, s->why);
	}
	for (size_t i = 0; i < p->n_skipped; i++)
		sbuf_addf(b, "skip %s %s: %s\n", p->skipped[i].knob, p->skipped[i].target, p->skipped[i].why);
}

TEST(plans)
{
	const struct host_spec spec = { .nodes = 1, .cores = 4 };
	struct host host;

	host_make(&host, &spec);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct qcase *c = &cases[i];
		struct domain_disk disk = { .target = strdup("vda"), .bus = strdup(c->bus), .alias = strdup("virtio-disk0"),
					    .source = strdup("/a"), .more = strdup(""), .format = strdup("raw"),
					    .cache = strdup(""), .kind = DOMAIN_DISK_FILE, .has = c->disk_has };
		struct domain_interface nic = { .mac = strdup("52:54:00:00:00:01"), .alias = strdup("net0"),
						.target = strdup(""), .type = strdup("bridge"), .model = strdup(c->model),
						.kind = DOMAIN_INTERFACE_BRIDGE, .source = strdup("br0"),
						.more = strdup(""), .has = c->interface_has };
		struct domain d = { .name = strdup("web1"), .vcpus = c->vcpus, .vcpus_max = c->vcpus, .disks = &disk,
				    .n_disks = 1, .interfaces = &nic, .n_interfaces = 1 };
		struct policy policy = { 0 };
		struct ledger ledger = { 0 };
		struct intent intent;
		struct plan_inputs in = { .domain = &d, .intent = &intent, .policy = &policy, .host = &host, .ledger = &ledger };
		_cleanup_sbuf_ struct sbuf b = { 0 };
		struct plan p;

		make_intent(c->annotation, &intent);
		IS_INT(plan_make(&in, &p), 0);
		show(&p, &b);
		if (!streq(b.s ? b.s : "", c->want))
			TAP_FAIL("%s: got\n%swant\n%s", c->name, b.s ? b.s : "", c->want);
		OK(plan_is_empty(&p) && plan_n_acting(&p) == 0);
		plan_fini(&p);
		intent_fini(&intent);
		free(d.name);
		char *const texts[] = { disk.target, disk.bus, disk.alias, disk.source, disk.more, disk.format, disk.cache,
					nic.mac, nic.alias, nic.target, nic.type, nic.model, nic.source, nic.more };
		for (size_t k = 0; k < ARRAY_SIZE(texts); k++)
			free(texts[k]);
	}
	host_fini(&host);
}

TAP_MAIN
