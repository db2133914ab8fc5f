/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What happens under the ledger's lock: plan, claim, and the files that make it true, in an order that is safe to be
 * killed in at any point:
 *
 *   undo/UUID   the later phases know the domain; without a claim of its generation they only clean up
 *   ledger      CPUs and pages are taken, and pages that are still to be added are announced
 *   plan/UUID   only now the wrapper may use them; where pages are added, after they have come (decide_grow.c)
 *
 * What fails takes these back in reverse.
 */
#include <time.h>

#include "common/hugepool.h"
#include "common/log.h"
#include "common/place_share.h"
#include "common/qemucaps.h"
#include "common/wplan.h"
#include "decide.h"

/* ---- knowing ---- */

/* A pool that had no pages and that the ledger does not know has had none added by us since. */
static bool may_have_changed(const struct ledger *l, const struct host_node *n, const struct host_pool *p)
{
	for (unsigned int i = 0; i < l->n_pools; i++)
		if (l->pools[i].node == n->id && l->pools[i].size == p->size)
			return true;
	return p->total != 0;
}

/* What a pool has got came out of the node's free memory, and what it has lost went there. */
static void read_pool(const struct hostfs *fs, struct host_node *n, struct host_pool *p)
{
	uint64_t was = p->total, moved;

	if (hugepool_count(fs, n->id, p->size, &p->total, &p->free) < 0 || was == HOST_UNKNOWN ||
	    n->mem_free == HOST_UNKNOWN)
		return;
	moved = (p->total > was ? p->total - was : was - p->total) * p->size;
	if (p->total < was)
		n->mem_free += moved;
	else
		n->mem_free -= moved < n->mem_free ? moved : n->mem_free;
}

void decide_read_pools(struct decision *d, const struct ledger *l)
{
	for (unsigned int i = 0; i < d->host.n_nodes; i++) {
		struct host_node *n = &d->host.nodes[i];

		for (unsigned int j = 0; j < n->n_pools; j++)
			if (may_have_changed(l, n, &n->pools[j]))
				read_pool(&d->fs, n, &n->pools[j]);
	}
}

int decide_merge_found(struct decision *d, struct ledger *l, bool *ret_news, struct err *e)
{
	*ret_news = !l->foreign_read;
	if (!*ret_news)
		return 0;
	if (foreign_merge(l, &d->found) < 0)
		return err_set(e, ENOMEM, "running domains: %s", err_name(ENOMEM));
	l->foreign_read = true;
	return 0;
}

/* The last round: every pool gives what it has. */
static void cap_all(struct decision *d, const struct ledger *l)
{
	d->n_caps = 0;
	for (unsigned int i = 0; i < d->host.n_nodes; i++) {
		const struct host_node *n = &d->host.nodes[i];

		for (unsigned int j = 0; j < n->n_pools && d->n_caps < DECIDE_CAPS_MAX; j++)
			d->caps[d->n_caps++] = (struct place_cap){
				.node = n->id,
				.size = n->pools[j].size,
				.pages = place_free_pages(n, n->pools[j].size, l, d->domain.uuid),
			};
	}
}

int decide_make_plan(struct decision *d, const struct ledger *l, const struct plan *was, struct err *e)
{
	struct plan_inputs in = {
		.domain = &d->domain,
		.intent = &d->intent,
		.policy = &d->policy,
		.host = &d->host,
		.ledger = l,
		.wrapper = { .present = qemucaps_is_wrapper(d->domain.emulator), .emulator = d->emulator },
		.devices = d->devices.d,
		.n_devices = d->devices.n,
		.blocks = d->blocks_known ? &d->blocks : NULL,
		.nets = intent_names(&d->intent, KNOB_ELEMENT_INTERFACE) ? &d->nets : NULL,
		.nics = d->nics,
		.tasks = d->tasks_known ? &d->tasks : NULL,
		.caps = d->caps,
		.running = decide_is_running(d),
		.was = was,
	};
	int r;

	if (d->round >= DECIDE_ROUNDS)
		cap_all(d, l);
	in.n_caps = d->n_caps;
	if (in.wrapper.present) {
		if (qemucaps_real_emulator(&d->fs, d->domain.uuid, d->domain.emulator, d->emulator,
					   sizeof(d->emulator)) < 0)
			d->emulator[0] = '\0';
		in.wrapper.qemu = qemucaps_version(&d->fs, d->domain.emulator);
		if (in.wrapper.qemu == 0)
			in.wrapper.qemu = qemucaps_version(&d->fs, d->emulator);
	}
	plan_fini(&d->plan);
	memset(&d->plan, 0, sizeof(d->plan));
	r = plan_make(&in, &d->plan);
	return r < 0 ? err_set(e, -r, "plan: %s", err_name(-r)) : 0;
}

/* ---- the claim ---- */

/*
 * A domain that pins its vCPUs occupies them even where we do nothing, or only observe; one that neither pins nor gets
 * or holds anything needs no claim.
 */
bool decide_claim_kind(const struct plan *p, const struct idset *pins, enum claim_kind *ret)
{
	bool acts = plan_n_acting(p) > 0 && !p->observe;

	if (!acts && !idset_is_empty(pins))
		*ret = CLAIM_FOREIGN;
	else if (plan_is_empty(p))
		return false;
	else
		*ret = p->observe ? CLAIM_OBSERVE : CLAIM_OURS;
	return true;
}

static bool claim_grows(const struct claim *c)
{
	for (unsigned int i = 0; i < c->n_pages; i++)
		if (c->pages[i].grow)
			return true;
	return false;
}

int decide_fill_claim(const struct decision *d, struct ledger *l, const struct idset *pins, enum claim_kind kind,
		      struct claim *c)
{
	bool planned = kind != CLAIM_FOREIGN || !d->plan.observe;
	int r = planned ? plan_fill_claim(&d->plan, l, c) : 0;

	c->kind = kind;
	if (r == 0 && kind == CLAIM_FOREIGN) {
		struct idset cpus = *c->cpus;

		idset_or(&cpus, pins);
		c->cpus = ledger_set(l, &cpus);
		r = c->cpus ? 0 : -ENOMEM;
	}
	/* Nothing is added for a guest that runs already, or that is only observed. */
	for (unsigned int i = 0; i < c->n_pages && (decide_is_running(d) || kind == CLAIM_OBSERVE); i++)
		c->pages[i].grow = 0;
	return r;
}

int decide_update_shared(struct decision *d, struct ledger *l, struct err *e)
{
	const struct idset reserved = place_reserved(&d->host, &d->policy);
	int r = place_share_note(l, &d->host, &reserved);

	if (r == 0)
		r = place_share_update(l);
	if (r < 0)
		return err_set(e, -r, "shared CPUs: %s", err_name(-r));
	d->moves = r > 0;
	return 0;
}

int decide_save_wrapper(const struct decision *d, enum claim_kind kind, struct err *e)
{
	char boot_id[BOOT_ID_SIZE];
	struct wplan w;
	int r;

	if (!d->plan.wrapper.present || kind != CLAIM_OURS || decide_is_running(d))
		return 0;
	hostfs_boot_id(&d->fs, boot_id);
	r = wplan_from_plan(&d->plan, &d->host, boot_id, &w);
	if (r < 0)
		return err_set(e, -r, "wrapper's plan: %s", err_name(-r));
	if (w.n_attrs || wplan_edits(&w))
		r = wplan_save(&d->fs, &w, e);
	wplan_fini(&w);
	return r;
}

/* Write all of a claim, or leave nothing of it. `l` has the claim. */
static int write_claim(const struct decision *d, struct ledger *l, const struct claim *c, struct err *e)
{
	const char *uuid = d->domain.uuid;
	enum claim_kind kind = c->kind;
	int r = undo_create(&d->fs, &d->plan, c->generation, e);

	if (r == 0)
		r = ledger_write(&d->fs, l, e);
	if (r == 0 && !d->grows) {
		r = decide_save_wrapper(d, kind, e);
		if (r < 0) {
			ledger_remove(l, uuid);
			(void)place_share_update(l);
			(void)ledger_write(&d->fs, l, NULL); /* else it is undone as a dead domain's */
		}
	}
	if (r < 0)
		(void)undo_remove(&d->fs, uuid); /* the first error counts */
	return r;
}

static int make_claim(struct decision *d, struct ledger *l, const struct idset *pins, enum claim_kind kind,
		      struct err *e)
{
	struct claim *c = ledger_add(l, d->domain.uuid, d->domain.name);
	int r;

	if (!c || decide_fill_claim(d, l, pins, kind, c) < 0)
		return err_set(e, ENOMEM, "claim: %s", err_name(ENOMEM));
	c->daemon = d->daemon;
	c->daemon_start = hostfs_proc_start(&d->fs, d->daemon);
	c->since = (uint64_t)time(NULL);
	d->kind = kind;
	d->cpus = *c->cpus;
	d->generation = c->generation;
	d->grows = claim_grows(c);
	r = d->grows ? hugepool_begin(&d->fs, l, c, e) : 0;
	if (r == 0)
		r = decide_update_shared(d, l, e);
	return r < 0 ? r : write_claim(d, l, ledger_find(l, d->domain.uuid), e);
}

static int claim_in(struct decision *d, struct ledger *l, enum outcome *ret, struct err *e)
{
	struct idset pins = foreign_pins(&d->domain, &d->host.online);
	enum claim_kind kind;
	bool news;
	int r;

	if (ledger_find(l, d->domain.uuid))
		return err_set(e, EBUSY, "a claim of an earlier start could not be undone");
	r = decide_merge_found(d, l, &news, e);
	if (r < 0)
		return r;
	r = hugepool_settle(&d->fs, l);
	if (r > 0)
		r = hugepool_shrink(&d->fs, l) < 0 ? -EIO : 1; /* what a killed one left is given back */
	if (r < 0)
		log_debug("pools: %s", err_name(-r)); /* what is not settled counts as taken */
	news |= r > 0;
	decide_read_pools(d, l);
	place_update_pools(l, &d->host);
	r = decide_make_plan(d, l, NULL, e);
	if (r < 0)
		return r;

	d->grows = false;
	*ret = d->plan.refused && d->strict ? OUTCOME_REFUSED : OUTCOME_NOTHING;
	if (*ret == OUTCOME_NOTHING && decide_claim_kind(&d->plan, &pins, &kind)) {
		*ret = OUTCOME_CLAIMED;
		return make_claim(d, l, &pins, kind, e);
	}
	if (!news)
		return 0;
	r = decide_update_shared(d, l, e);
	return r < 0 ? r : ledger_write(&d->fs, l, e);
}

int decide_claim(struct decision *d, enum outcome *ret, struct err *e)
{
	_cleanup_close_ int lock = ledger_lock(&d->fs, e);
	struct ledger l;
	int r = lock < 0 ? lock : ledger_read(&d->fs, &l, e);

	if (r < 0)
		return r;
	d->round++;
	r = claim_in(d, &l, ret, e);
	ledger_fini(&l);
	return r;
}
