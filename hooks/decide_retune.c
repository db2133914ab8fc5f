/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain that runs and has a claim is decided again, as if it came now: for another annotation, policy or host
 * (`retune`), or to leave it alone from here on (`off`: as with the profile of that name and no annotation). What its
 * process was started with stays (plan_inputs.was). The claim keeps its generation, process and phase; undo/UUID gets
 * the new plan and keeps what was done, so that `apply retune` makes the difference.
 *
 * The ledger is written first, and until the new plan is on file the claim has the CPUs of both: killed in between, the
 * domain runs as before and nobody else gets what it runs on; the other way round it would be placed on CPUs it does
 * not hold. Killed after that, `apply reconnect` makes the difference as `apply retune` would have.
 *
 * A domain that is left alone keeps a claim only for what cannot be given back while it runs: huge pages of a pool that
 * we have grown (they shrink at its release), and the CPUs it pins itself.
 */
#include "common/hugepool.h"
#include "common/log.h"
#include "decide.h"

/* Pages of its pools that we added; only for those its end has to be seen. */
static bool uses_grown_pages(const struct ledger *l, const struct claim *c)
{
	for (unsigned int i = 0; i < c->n_pages; i++)
		for (unsigned int j = 0; j < l->n_pools; j++)
			if (c->pages[i].size && l->pools[j].node == c->pages[i].node &&
			    l->pools[j].size == c->pages[i].size && l->pools[j].grown)
				return true;
	return false;
}

/* Only these CPUs, and its huge pages if they are to be kept, are left of the claim. */
static int strip(struct ledger *l, struct claim *c, const struct idset *cpus, bool with_pages)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->n_pages && with_pages; i++)
		if (c->pages[i].size)
			c->pages[n++] = c->pages[i];
	c->n_pages = n;
	c->n_floats = 0;
	c->kind = idset_is_empty(cpus) ? CLAIM_OURS : CLAIM_FOREIGN;
	c->cpus = ledger_set(l, cpus);
	return c->cpus ? 0 : -ENOMEM;
}

/* The claim with these CPUs, and what follows for others from that. */
static int write_claim(struct decision *d, struct ledger *l, const struct idset *cpus, struct err *e)
{
	struct claim *c = ledger_find(l, d->domain.uuid);
	const struct idset *kept = ledger_set(l, cpus);
	int r;

	if (!c || !kept)
		return err_set(e, ENOMEM, "claim: %s", err_name(ENOMEM));
	c->cpus = kept;
	r = decide_update_shared(d, l, e);
	return r < 0 ? r : ledger_write(&d->fs, l, e);
}

/* Replace claim and plan; c is what it is to be, and `had` the CPUs that it holds. */
static int rewrite(struct decision *d, struct ledger *l, const struct claim *c, const struct idset *had,
		   struct undo *u, struct err *e)
{
	struct idset both = *had;
	int r;

	d->kind = c->kind;
	d->cpus = *c->cpus;
	d->generation = c->generation;
	idset_or(&both, &d->cpus);
	r = write_claim(d, l, &both, e);
	if (r == 0)
		r = undo_replace(&d->fs, u, &d->plan, e);
	if (r == 0 && !idset_equal(&both, &d->cpus))
		r = write_claim(d, l, &d->cpus, e);
	/* Also where the policy only observes by now: what is in force is undone. */
	d->next = d->plan.observe && d->verb != DECIDE_OFF ? NULL : "retune";
	return r;
}

/*
 * What the classes in force hold stays held until `apply` has undone them (apply_undo_others()): their numbers would be
 * somebody else's meanwhile.
 */
static int keep_links(struct claim *c, const struct claim_link *links, unsigned int n)
{
	int r = 0;

	for (unsigned int i = 0; i < n && r == 0; i++)
		if (!claim_find_link(c, links[i].device, links[i].number))
			r = claim_add_link(c, &links[i]);
	return r;
}

/* Likewise the ways of its class, which it has until then. */
static int keep_ways(struct claim *c, const struct claim_ways *ways, unsigned int n, bool has_class)
{
	int r = 0;

	c->has_class |= has_class;
	for (unsigned int i = 0; i < n && r == 0; i++)
		r = claim_add_ways(c, ways[i].cache, ways[i].bits);
	return r;
}

static int replace(struct decision *d, struct ledger *l, struct claim *c, struct undo *u, enum outcome *ret,
		   struct err *e)
{
	_cleanup_free_ struct claim_link *links = NULL;
	_cleanup_free_ struct claim_ways *ways = NULL;
	unsigned int n_links, n_ways;
	bool had_class;
	static const struct idset none;
	const struct idset pins = foreign_pins(&d->domain, &d->host.online);
	const struct idset *had = c->kind == CLAIM_OBSERVE ? &none : c->cpus;
	bool keeps = uses_grown_pages(l, c), leave;
	enum claim_kind kind;
	int r;

	*ret = OUTCOME_CLAIMED;
	leave = !decide_claim_kind(&d->plan, &pins, &kind) || d->verb == DECIDE_OFF;
	if (leave && !keeps && idset_is_empty(&pins)) {
		d->next = "release"; /* all of it goes; the ledger is not touched before */
		return 0;
	}
	links = steal_ptr(&c->links);
	n_links = c->n_links;
	c->n_links = 0;
	ways = steal_ptr(&c->ways);
	n_ways = c->n_ways;
	had_class = c->has_class;
	c->n_ways = 0;
	c->has_class = false;
	if (leave) {
		r = strip(l, c, &pins, keeps);
	} else {
		c->n_floats = c->n_pages = 0;
		r = decide_fill_claim(d, l, &pins, kind, c);
	}
	if (r >= 0)
		r = keep_links(c, links, n_links);
	if (r >= 0)
		r = keep_ways(c, ways, n_ways, had_class);
	return r < 0 ? err_set(e, -r, "claim: %s", err_name(-r)) : rewrite(d, l, c, had, u, e);
}

static int retune_in(struct decision *d, struct ledger *l, struct undo *u, enum outcome *ret, struct err *e)
{
	struct claim *c = ledger_find(l, d->domain.uuid);
	bool news;
	int r;

	if (!c || c->generation != u->generation)
		return -ENOENT;
	if (c->phase != CLAIM_STARTED)
		return err_set(e, EBUSY, "it is %s, not running", c->phase == CLAIM_PREPARED ? "starting" : "stopping");
	r = decide_merge_found(d, l, &news, e);
	if (r < 0)
		return r;
	if (hugepool_settle(&d->fs, l) < 0)
		log_debug("pools: not all could be settled"); /* what is not counts as taken */
	decide_read_pools(d, l);
	place_update_pools(l, &d->host);
	r = decide_make_plan(d, l, &u->plan, e);
	if (r < 0)
		return r;
	if (d->plan.observe && c->kind == CLAIM_OURS && d->verb == DECIDE_RETUNE) {
		log_notice("%s: the policy only observes: what is in force stays (domtune retune --off)",
			   d->domain.name);
		return 0;
	}
	c = ledger_find(l, d->domain.uuid); /* merging may have moved it */
	return c ? replace(d, l, c, u, ret, e) : -ENOENT;
}

int decide_retune(struct decision *d, enum outcome *ret, struct err *e)
{
	_cleanup_(undo_fini) struct undo u = { .fd = -1 };
	_cleanup_(ledger_fini) struct ledger l = { 0 };
	_cleanup_close_ int lock = -1;
	int r = undo_open(&d->fs, d->domain.uuid, true, &u, e);

	if (r == -ESTALE || r == -EBADMSG)
		return -ENOENT;
	if (r < 0)
		return r;
	lock = ledger_lock(&d->fs, e);
	if (lock < 0)
		return lock;
	r = ledger_read(&d->fs, &l, e);
	return r < 0 ? r : retune_in(d, &l, &u, ret, e);
}
