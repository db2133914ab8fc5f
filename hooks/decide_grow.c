/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between claim and wrapper's plan: huge pages that the pools lack are added, with no lock held, and what came of it is
 * taken into the ledger. Too few, or pages of the pool that somebody else has taken meanwhile: the claim is taken
 * back with all that was added for it, and decide.c decides again, with what this has shown (d->caps). So `auto`
 * steps down, and a fixed size is refused, or given up, with numbers that are true.
 *
 * Time: policy's grow-deadline from the first page on, in all rounds. With `auto` each round but the last gets half of
 * what is left, since 1G pages may take it all where 2M pages take a few milliseconds; the pools of a round have even
 * parts.
 */
#include "common/hugepool.h"
#include "common/log.h"
#include "common/place_share.h"
#include "decide.h"

/* One pool of the claim that grows. */
struct growth {
	int node;
	uint64_t size, had, asked;
	struct hugepool_got got;
	bool tried;
};

static int list_growth(const struct placement *p, struct growth **ret, unsigned int *ret_n)
{
	struct growth *g = calloc(p->n_pages + 1u, sizeof(*g));
	unsigned int n = 0;

	if (!g)
		return -ENOMEM;
	for (unsigned int i = 0; i < p->n_pages; i++)
		if (p->pages[i].size && p->pages[i].grow)
			g[n++] = (struct growth){
				.node = p->pages[i].node,
				.size = p->pages[i].size,
				.had = p->pages[i].count - p->pages[i].grow,
				.asked = p->pages[i].grow,
			};
	*ret = g;
	*ret_n = n;
	return 0;
}

static void grow_all(struct decision *d, struct growth *g, unsigned int n)
{
	uint64_t now = hugepool_now(), until;

	if (!d->grow_until) {
		decide_report("growing", "");
		d->grow_until = now + d->policy.grow_deadline_ms;
	}
	until = d->grow_until;
	if (streq(intent_word(&d->intent, KNOB_MEM_PAGES, ""), "auto") && until > now)
		until = now + (until - now) / 2;
	for (unsigned int i = 0; i < n; i++) {
		now = hugepool_now();
		g[i].tried = true;
		hugepool_grow(&d->fs, g[i].node, g[i].size, g[i].asked,
			      until > now ? now + (until - now) / (n - i) : now, d->round > 1, &g[i].got);
		if (g[i].got.pages < g[i].asked)
			return; /* the others are not needed then */
	}
}

static void add_cap(struct decision *d, const struct growth *g)
{
	const struct place_cap cap = { .node = g->node, .size = g->size, .pages = g->had + g->got.pages };

	for (unsigned int i = 0; i < d->n_caps; i++)
		if (d->caps[i].node == cap.node && d->caps[i].size == cap.size) {
			d->caps[i] = cap;
			return;
		}
	if (d->n_caps < DECIDE_CAPS_MAX)
		d->caps[d->n_caps++] = cap;
}

static void log_short(const struct decision *d, const struct growth *g)
{
	unsigned long long kib = g->size >> 10;
	const char *why = g->got.code ? err_name(g->got.code) : "no more memory could be made free in one piece";

	if (g->got.code == ETIMEDOUT)
		why = "grow-deadline";
	log_notice("%s: node %d: %llu of %llu pages of %llu KiB could be added (%s)", d->domain.name, g->node,
		   (unsigned long long)g->got.pages, (unsigned long long)g->asked, kib, why);
}

/* Whether the pools have what the claim says: others may have taken pages while ours were added. */
static bool is_drained(struct decision *d, const struct ledger *l, const struct claim *c)
{
	decide_read_pools(d, l);
	for (unsigned int i = 0; i < c->n_pages; i++) {
		const struct host_node *n = host_node(&d->host, c->pages[i].node);

		if (c->pages[i].size == 0 || !n)
			continue;
		if (place_free_pages(n, c->pages[i].size, l, c->uuid) < c->pages[i].count) {
			log_notice("%s: node %d: its pages of %llu KiB were taken by somebody else meanwhile",
				   d->domain.name, n->id, (unsigned long long)(c->pages[i].size >> 10));
			return true;
		}
	}
	return false;
}

/* Into the ledger. Whether the claim has all that it was to get. */
static bool end_growth(struct decision *d, struct ledger *l, struct claim *c, const struct growth *g, unsigned int n)
{
	bool enough = true;

	for (unsigned int i = 0; i < n; i++) {
		hugepool_end(l, c, g[i].node, g[i].size, g[i].asked, &g[i].got);
		if (g[i].got.pages >= g[i].asked)
			continue;
		enough = false;
		/* Others who take it now may give it back as we do: that is for the next round to find out. */
		if (g[i].tried && !g[i].got.contended) {
			add_cap(d, &g[i]);
			log_short(d, &g[i]);
		}
	}
	return enough && c && !is_drained(d, l, c);
}

/* Without the claim; what was added for it goes back. */
static int take_back(struct decision *d, struct ledger *l, bool is_mine, struct err *e)
{
	int64_t shrunk;
	int r;

	if (is_mine) {
		ledger_remove(l, d->domain.uuid);
		r = decide_update_shared(d, l, e);
		if (r < 0)
			return r;
	}
	shrunk = hugepool_shrink(&d->fs, l);
	if (shrunk < 0)
		log_debug("pools: %s", err_name((int)-shrunk)); /* the next call that shrinks tries again */
	r = ledger_write(&d->fs, l, e);
	return r < 0 || !is_mine ? r : undo_remove(&d->fs, d->domain.uuid);
}

static int conclude(struct decision *d, struct ledger *l, const struct growth *g, unsigned int n, bool *ret_again,
		    struct err *e)
{
	struct claim *c = ledger_find(l, d->domain.uuid);
	enum claim_kind kind = d->kind;
	int r;

	if (c && c->generation != d->generation)
		c = NULL;
	*ret_again = !end_growth(d, l, c, g, n);
	if (!c) {
		r = take_back(d, l, false, e);
		*ret_again = false;
		return r < 0 ? r : err_set(e, ESTALE, "its claim was undone while pages were added");
	}
	if (*ret_again)
		return take_back(d, l, true, e);

	/* Whoever ended meanwhile has left pages of his to us (hugepool_shrink()). */
	if (hugepool_shrink(&d->fs, l) < 0)
		log_debug("pools: not all could be settled");
	r = ledger_write(&d->fs, l, e);
	if (r == 0)
		r = decide_save_wrapper(d, kind, e);
	if (r < 0)
		(void)take_back(d, l, true, NULL); /* the first error counts */
	return r;
}

int decide_grow(struct decision *d, bool *ret_again, struct err *e)
{
	_cleanup_free_ struct growth *g = NULL;
	_cleanup_close_ int lock = -1;
	struct ledger l;
	unsigned int n = 0;
	int r = list_growth(&d->plan.placement, &g, &n);

	if (r < 0)
		return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
	grow_all(d, g, n);
	lock = ledger_lock(&d->fs, e); /* if we never get it: as if we had been killed, the next call settles it */
	if (lock < 0)
		return lock;
	r = ledger_read(&d->fs, &l, e);
	if (r < 0)
		return r;
	r = conclude(d, &l, g, n, ret_again, e);
	ledger_fini(&l);
	return r;
}
