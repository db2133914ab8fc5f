/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The claim that the start of a domain would make, entered in a fake root's ledger, so that the next plan finds it: what
 * `decide` does under the lock, without a lock and without a guest. The domain counts as prepared: its memory is not in
 * use yet, as the root says. Guests whose shared CPUs change are listed on stdout, and taken for moved.
 *
 *   usage: claim start|stop ROOT DOMAIN.xml       exit status 1: the start would be refused, nothing is claimed
 */
#include "common/device.h"
#include "common/place_share.h"
#include "common/plan.h"

struct site {
	struct hostfs fs;
	struct host host;
	struct policy policy;
	struct ledger ledger;
	struct domain domain;
	struct intent intent;
	struct netdev_facts nets;
	struct device_nodes devices;
	struct plan plan;
};

static int read_domain(struct site *s, const char *path, struct err *e)
{
	_cleanup_free_ char *text = malloc(DOMAIN_XML_MAX);
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	size_t len = f && text ? fread(text, 1, DOMAIN_XML_MAX, f) : 0;

	if (len == 0)
		return -ENOENT;
	return domain_parse(text, len, &s->domain, e);
}

/* What apply_moves() would carry out. */
static int show_moves(struct site *s)
{
	int r = place_share_update(&s->ledger);

	for (unsigned int i = 0; r > 0 && i < s->ledger.n_claims; i++) {
		struct claim *c = &s->ledger.claims[i];

		for (unsigned int k = 0; k < c->n_floats; k++) {
			_cleanup_free_ char *text = idset_text(c->floats[k].now);

			if (!c->floats[k].moved)
				continue;
			printf("%s moves to CPUs %s\n", c->name, text ? text : "?");
			ledger_find(&s->ledger, c->uuid)->floats[k].moved = false;
		}
	}
	return r < 0 ? r : 0;
}

static int start(struct site *s)
{
	char emulator[] = "";
	const struct plan_inputs in = {
		.domain = &s->domain,
		.intent = &s->intent,
		.policy = &s->policy,
		.host = &s->host,
		.ledger = &s->ledger,
		.wrapper = { .present = strstr(s->domain.emulator, "/domtune/") != NULL, .emulator = emulator },
		.devices = s->devices.d,
		.n_devices = s->devices.n,
	};
	struct idset reserved = place_reserved(&s->host, &s->policy);
	struct claim *c;
	int r;

	place_update_pools(&s->ledger, &s->host);
	r = plan_make(&in, &s->plan);
	if (r < 0)
		return r;
	if (s->plan.refused)
		return 1;
	if (plan_is_empty(&s->plan))
		return 0;
	c = ledger_add(&s->ledger, s->plan.uuid, s->plan.name);
	if (!c || plan_fill_claim(&s->plan, &s->ledger, c) || place_share_note(&s->ledger, &s->host, &reserved))
		return -ENOMEM;
	c->kind = CLAIM_OURS;
	c->phase = CLAIM_PREPARED;
	s->ledger.foreign_read = true;
	return 0;
}

static int change(struct site *s, bool stop, const char *root, const char *path, struct err *e)
{
	int r = hostfs_init(&s->fs, root, e);

	if (r == 0)
		r = ledger_make_dirs(&s->fs, e);
	if (r == 0)
		r = host_read(&s->fs, &s->host, e);
	if (r == 0)
		r = policy_load(&s->fs, &s->policy);
	if (r == 0)
		r = ledger_read(&s->fs, &s->ledger, e);
	if (r == 0)
		r = read_domain(s, path, e);
	if (r == 0)
		r = intent_make(&s->fs, &s->policy, &s->domain, NULL, NULL, &s->intent, e);
	if (r)
		return r;
	r = netdev_find(&s->fs, &s->domain, &s->nets);
	if (r)
		return r;
	device_nodes_find(&s->fs, &s->domain, &s->nets, &s->devices);
	if (stop)
		ledger_remove(&s->ledger, s->domain.uuid);
	else
		r = start(s);
	if (r == 0)
		r = show_moves(s);
	return r ? r : ledger_write(&s->fs, &s->ledger, e);
}

int main(int argc, char **argv)
{
	struct site s = { .fs = HOSTFS_INIT };
	struct err e = ERR_INIT;
	int r;

	if (argc != 4 || (!streq(argv[1], "start") && !streq(argv[1], "stop"))) {
		fprintf(stderr, "usage: claim start|stop ROOT DOMAIN.xml\n");
		return 2;
	}
	r = change(&s, streq(argv[1], "stop"), argv[2], argv[3], &e);
	if (r < 0)
		fprintf(stderr, "claim: %s: %s %s\n", argv[3], e.text, strerror(-r));
	plan_fini(&s.plan);
	intent_fini(&s.intent);
	netdev_fini(&s.nets);
	domain_fini(&s.domain);
	ledger_fini(&s.ledger);
	policy_fini(&s.policy);
	host_fini(&s.host);
	hostfs_fini(&s.fs);
	return r < 0 ? 2 : r;
}
