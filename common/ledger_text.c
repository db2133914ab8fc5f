/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ledger as text (record.h), one kind of line per kind of thing:
 *
 *   ledger  format, boot id, next generation, moves, foreign_read, online CPUs, reserved CPUs
 *   claim   uuid, kind, phase, generation, pid, its start, daemon, its start, since, name, cpus, floats, pages, links,
 *           ways
 *   shared  index, knob, target, backend, object, fold, order, cause, settled, original, written, before, readback
 *   want    index of the shared line, uuid, wanted              in the order in which they were claimed; a list of
 *                                                               indices where that does not matter
 *   pool    node, page size, others, grown, total, pending, adopted, leaving
 *
 * floats is NOW/HOME/LIMIT/VCPUS/MOVED for each, with ";" between; pages NODE:SIZE:COUNT:GROW with ","; links
 * DEVICE:NUMBER:RATE:MARK with "/", which is in no device's name. ways CACHE:BITS with "/", the bits hexadecimal;
 * "-" for a class of service without any. A claim without links, ways and class has no such fields.
 *
 * The uuid and the numbers of a claim come first, so that ledger_has_dead() and ledger_read_one() need no more than
 * the head of a line. Who may read what, the lock and the boot are in ledger_file.c.
 */
#include "ledger_priv.h"

#include <assert.h>

#include "lines.h"
#include "num.h"

static int render_claim(struct sbuf *b, const struct claim *c)
{
	_cleanup_sbuf_ struct sbuf pages = {0}, floats = {0}, links = {0}, ways = {0};
	struct number n[8];

	for (unsigned int i = 0; i < c->n_pages; i++)
		sbuf_addf(&pages, "%s%d:%llu:%llu:%llu", i ? "," : "", c->pages[i].node,
			  (unsigned long long)c->pages[i].size, (unsigned long long)c->pages[i].count,
			  (unsigned long long)c->pages[i].grow);
	for (unsigned int i = 0; i < c->n_floats; i++) {
		const struct floater *f = &c->floats[i];

		sbuf_addf(&floats, "%s%s/%s/%s/%u/%d", i ? ";" : "", ledger_set_text(f->now), ledger_set_text(f->home),
			  ledger_set_text(f->limit), f->vcpus, f->moved);
	}
	for (unsigned int i = 0; i < c->n_links; i++)
		sbuf_addf(&links, "%s%s:%u:%llu:%u", i ? "/" : "", c->links[i].device, c->links[i].number,
			  (unsigned long long)c->links[i].rate, c->links[i].mark);
	for (unsigned int i = 0; i < c->n_ways; i++)
		sbuf_addf(&ways, "%s%u:%llx", i ? "/" : "", c->ways[i].cache, (unsigned long long)c->ways[i].bits);
	if (c->has_class && !c->n_ways)
		sbuf_add(&ways, "-");
	if (ways.len && !links.len)
		sbuf_add(&links, "");
	if (floats.failed || pages.failed || links.failed || ways.failed)
		return -ENOMEM;
	record_add(b, "claim", c->uuid, claim_kind_name(c->kind), claim_phase_name(c->phase),
		   number(&n[0], c->generation), number(&n[1], c->pid > 0 ? (uint64_t)c->pid : 0),
		   number(&n[2], c->pid_start), number(&n[3], c->daemon > 0 ? (uint64_t)c->daemon : 0),
		   number(&n[4], c->daemon_start), number(&n[5], c->since), c->name, ledger_set_text(c->cpus),
		   floats.s ? floats.s : "", pages.s ? pages.s : "", 
		   links.s /* NULL: no such field */, ways.s /* NULL likewise */, NULL);
	return 0;
}

static int put_claim(struct sbuf *b, const struct claim *c)
{
	if (!c->line)
		return render_claim(b, c);
#ifdef DT_SAN
	/* Whoever changed a claim without ledger_find() is found here. */
	_cleanup_sbuf_ struct sbuf same = {0};

	assert(render_claim(&same, c) == 0 && same.len == c->line_len && memcmp(same.s, c->line, same.len) == 0);
#endif
	sbuf_addn(b, c->line, c->line_len);
	return 0;
}

static const char *text_or_empty(const char *text)
{
	return text ? text : "";
}

/* Whose claims, in no certain order, are written for many objects together. */
static bool is_wanted_alike(const struct shared *s)
{
	return s->fold == FOLD_IRQ;
}

static void render_shared(struct sbuf *b, const struct shared *s, const char *index)
{
	record_add(b, "shared", index, text_or_empty(s->knob), text_or_empty(s->target), s->backend, s->object,
		   fold_name(s->fold), text_or_empty(s->order), text_or_empty(s->cause), s->readback ? "settled" : "unsettled",
		   text_or_empty(s->original), text_or_empty(s->written), text_or_empty(s->before),
		   text_or_empty(s->readback), NULL);
}

/* As it was read, if that is what it says. */
static void put_shared(struct sbuf *b, const struct shared *s, unsigned int index)
{
	struct number n;

	(void)number(&n, index);
	if (s->line && s->index == index)
		record_add_line(b, s->line, s->line_len);
	else
		render_shared(b, s, n.text);
#ifdef DT_SAN
	/* Whoever changed one without shared_set() is found here. */
	_cleanup_sbuf_ struct sbuf same = {0};

	render_shared(&same, s, n.text);
	assert(same.failed || b->failed || (same.len <= b->len && memcmp(b->s + b->len - same.len, same.s, same.len) == 0));
#endif
	for (unsigned int i = 0; i < s->n_claims && !is_wanted_alike(s); i++)
		record_add(b, "want", n.text, s->claims[i].uuid, s->claims[i].wanted, NULL);
}

/* What one domain wants of several objects. */
struct alike {
	const char *uuid, *wanted;
	struct idset of; /* indices of shared lines */
};

static struct alike *find_alike(struct alike **list, unsigned int *n, struct strindex *x, const struct shared_claim *c)
{
	uint32_t hash = strindex_hash(c->uuid, c->wanted);
	unsigned int i, at = 0;
	struct alike *a;

	while (strindex_next(x, hash, &at, &i))
		if (streq((*list)[i].uuid, c->uuid) && streq((*list)[i].wanted, c->wanted))
			return &(*list)[i];
	a = GROW(*list, *n);
	if (!a || strindex_add(x, hash, *n) < 0)
		return NULL;
	a->uuid = c->uuid;
	a->wanted = c->wanted;
	(*n)++;
	return a;
}

/* A thousand interrupts that ten domains want to be rid of are ten lines. */
static int put_alike(struct sbuf *b, const struct ledger *l)
{
	_cleanup_free_ struct alike *list = NULL;
	_cleanup_(strindex_fini) struct strindex x = {0};
	unsigned int n = 0;

	for (unsigned int i = 0; i < l->n_shared; i++)
		for (unsigned int k = 0; is_wanted_alike(&l->shared[i]) && k < l->shared[i].n_claims; k++) {
			struct alike *a = find_alike(&list, &n, &x, &l->shared[i].claims[k]);
			struct number number_text;

			if (!a)
				return -ENOMEM;
			if (i < IDSET_MAX)
				idset_add(&a->of, i);
			else
				record_add(b, "want", number(&number_text, i), a->uuid, a->wanted, NULL);
		}
	for (unsigned int i = 0; i < n; i++) {
		_cleanup_free_ char *of = idset_text(&list[i].of);

		if (!of)
			return -ENOMEM;
		if (*of)
			record_add(b, "want", of, list[i].uuid, list[i].wanted, NULL);
	}
	return 0;
}

int ledger_print(const struct ledger *l, struct sbuf *b)
{
	struct number n[8];

	record_add(b, "ledger", LEDGER_FORMAT, l->boot_id, number(&n[0], l->next_generation),
		   l->moves ? "1" : "0", l->foreign_read ? "1" : "0", ledger_set_text(l->online), ledger_set_text(l->reserved), NULL);
	if (l->rest_len)
		sbuf_addn(b, l->rest, l->rest_len);
	for (unsigned int i = 0; i < l->n_claims; i++)
		if (put_claim(b, &l->claims[i]) < 0)
			return -ENOMEM;
	for (unsigned int i = 0; i < l->n_shared; i++)
		put_shared(b, &l->shared[i], i);
	if (put_alike(b, l) < 0)
		return -ENOMEM;
	for (unsigned int i = 0; i < l->n_pools; i++)
		record_add(b, "pool", number(&n[0], (uint64_t)l->pools[i].node), number(&n[1], l->pools[i].size),
			   number(&n[2], l->pools[i].others), number(&n[3], l->pools[i].grown),
			   number(&n[4], l->pools[i].total), number(&n[5], l->pools[i].pending),
			   number(&n[6], l->pools[i].adopted), number(&n[7], l->pools[i].leaving), NULL);
	return b->failed ? -ENOMEM : 0;
}

/* older: without GROW */
static int take_pages(struct claim *c, char *text, bool older)
{
	uint64_t v[4] = {0};

	for (char *item, *part; (item = strsep(&text, ",")) && *item;) {
		for (unsigned int i = 0; i < ARRAY_SIZE(v) - older; i++) {
			part = strsep(&item, ":");
			if (!part || num_parse_u64(part, &v[i]) < 0)
				return -EINVAL;
		}
		if (item || v[0] > INT32_MAX)
			return -EINVAL;
		if (claim_add_pages(c, (int)v[0], v[1], v[2]) < 0)
			return -EINVAL;
		c->pages[c->n_pages - 1].grow = v[3];
	}
	return 0;
}

static int take_links(struct claim *c, char *text)
{
	for (char *item; (item = strsep(&text, "/")) && *item;) {
		const char *device = strsep(&item, ":");
		struct claim_link link = {0};
		uint64_t v[3];

		for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
			const char *part = strsep(&item, ":");

			if (!part || num_parse_u64(part, &v[i]) < 0)
				return -EINVAL;
		}
		if (item || strlen(device) >= sizeof(link.device) || v[0] > UINT32_MAX || v[2] > UINT32_MAX)
			return -EINVAL;
		(void)snprintf(link.device, sizeof(link.device), "%s", device); /* fits */
		link.number = (unsigned int)v[0];
		link.rate = v[1];
		link.mark = (uint32_t)v[2];
		if (claim_add_link(c, &link) < 0)
			return -EINVAL;
	}
	return 0;
}

static int take_ways(struct claim *c, char *text)
{
	c->has_class = true;
	if (streq(text, "-"))
		return 0;
	for (char *item; (item = strsep(&text, "/")) && *item;) {
		const char *cache = strsep(&item, ":");
		uint64_t id, bits;

		if (!item || num_parse_range(cache, 0, UINT32_MAX, &id) < 0 || num_parse_hex(item, &bits) < 0 ||
		    claim_add_ways(c, (unsigned int)id, bits) < 0)
			return -EINVAL;
	}
	return 0;
}

static int take_floats(struct ledger *l, struct claim *c, char *text)
{
	for (char *item; (item = strsep(&text, ";")) && *item;) {
		const char *part[5];
		const struct idset *sets[3];
		uint64_t vcpus;
		int r = 0;

		for (size_t i = 0; i < ARRAY_SIZE(part); i++) {
			part[i] = strsep(&item, "/");
			if (!part[i])
				return -EINVAL;
		}
		for (size_t i = 0; i < ARRAY_SIZE(sets) && r == 0; i++)
			r = ledger_take_set(l, part[i], &sets[i]);
		if (r == 0)
			r = num_parse_range(part[3], 0, UINT32_MAX, &vcpus);
		if (r == 0)
			r = claim_add_floater(l, c, sets[0], sets[1], sets[2], (unsigned int)vcpus);
		if (r < 0)
			return r;
		c->floats[c->n_floats - 1].moved = streq(part[4], "1");
	}
	return 0;
}

static int take_pid(const struct record *r, unsigned int i)
{
	uint64_t pid = record_u64(r, i, 0);

	return pid <= INT32_MAX ? (int)pid : 0;
}

/* Each of these: 0, -EINVAL for a line that cannot be used, -ENOMEM. */
static int take_claim(struct ledger *l, const struct record *r)
{
	enum claim_kind kind;
	struct claim *c;
	int rc;

	if (claim_kind_parse(record_str(r, 2), &kind) < 0 || r->n < (l->older ? 15 : 14) || !uuid_is_valid(record_str(r, 1)))
		return -EINVAL;
	c = ledger_new_claim(l);
	if (!c)
		return -ENOMEM;
	(void)snprintf(c->uuid, sizeof(c->uuid), "%s", record_str(r, 1));
	c->kind = kind;
	c->generation = record_u64(r, 4, 0);
	c->pid = take_pid(r, 5);
	c->pid_start = record_u64(r, 6, 0);
	c->daemon = take_pid(r, 7);
	c->daemon_start = record_u64(r, 8, 0);
	c->since = record_u64(r, 9, 0);
	rc = claim_phase_parse(record_str(r, 3), &c->phase);
	if (rc == 0)
		rc = ledger_take_set(l, r->f[11], &c->cpus);
	/* The format before had one floating set there, its vCPUs in between, and the pages after that. */
	if (rc == 0 && !l->older)
		rc = take_floats(l, c, r->f[12]);
	if (rc == 0)
		rc = take_pages(c, r->f[l->older ? 14 : 13], l->older);
	if (rc == 0 && !l->older && r->n > 14)
		rc = take_links(c, r->f[14]);
	if (rc == 0 && !l->older && r->n > 15)
		rc = take_ways(c, r->f[15]);
	if (rc < 0) {
		claim_fini(c);
		return rc == -ENOMEM ? rc : -EINVAL;
	}
	c->name = strdup(record_str(r, 10));
	if (!c->name) {
		claim_fini(c);
		return -ENOMEM;
	}
	if (c->generation >= l->next_generation)
		l->next_generation = c->generation + 1;
	l->n_claims++;
	return 0;
}

static int take_shared(struct ledger *l, const struct record *r)
{
	enum fold fold;
	struct shared *s;

	/* Indices run from 0 without gaps unless a line was bad: then the wants of that one find no owner. */
	if (r->n < 14 || fold_parse(record_str(r, 6), &fold) < 0 ||
	    ledger_find_shared(l, record_str(r, 4), record_str(r, 5)))
		return -EINVAL;
	s = ledger_new_shared(l);
	if (!s)
		return -ENOMEM;
	s->index = record_u64(r, 1, UINT64_MAX);
	s->knob = r->f[2];
	s->target = r->f[3];
	s->backend = r->f[4];
	s->object = r->f[5];
	s->fold = fold;
	s->order = r->f[7];
	s->cause = r->f[8];
	s->original = r->f[10];
	s->written = r->f[11];
	s->before = r->f[12];
	s->readback = streq(r->f[9], "settled") ? r->f[13] : NULL;
	s->line = r->len ? r->f[0] : NULL;
	s->line_len = r->len;
	return 0;
}

static int take_want_of(struct ledger *l, uint64_t index, const char *uuid, const char *wanted)
{
	/* Nearly always none is missing. */
	if (index < l->n_shared && l->shared[index].index == index)
		return shared_take_claim(&l->shared[index], uuid, wanted);
	for (unsigned int i = l->n_shared; i-- > 0;)
		if (l->shared[i].index == index)
			return shared_take_claim(&l->shared[i], uuid, wanted);
	return -EINVAL;
}

static int take_want(struct ledger *l, const struct record *r)
{
	uint64_t index = record_u64(r, 1, UINT64_MAX);
	struct idset of;
	int rc = 0;

	if (r->n < 4 || !uuid_is_valid(record_str(r, 2)))
		return -EINVAL;
	if (index != UINT64_MAX)
		return take_want_of(l, index, record_str(r, 2), record_str(r, 3));
	if (idset_parse(record_str(r, 1), &of) < 0)
		return -EINVAL;
	IDSET_FOREACH (i, &of) {
		int one = take_want_of(l, (uint64_t)i, record_str(r, 2), record_str(r, 3));

		rc = rc == -ENOMEM || one == 0 ? rc : one;
	}
	return rc;
}

static int take_pool(struct ledger *l, const struct record *r)
{
	uint64_t node = record_u64(r, 1, UINT64_MAX), size = record_u64(r, 2, 0);
	struct ledger_pool *p;

	if (r->n < 4 || node > INT32_MAX || size == 0)
		return -EINVAL;
	p = GROW(l->pools, l->n_pools);
	if (!p)
		return -ENOMEM;
	*p = (struct ledger_pool){
		.node = (int)node,
		.size = size,
		.others = record_u64(r, 3, 0),
		.grown = record_u64(r, 4, 0),
		.total = record_u64(r, 5, 0),
		.pending = record_u64(r, 6, 0),
		.adopted = record_u64(r, 7, 0),
		.leaving = record_u64(r, 8, 0),
	};
	l->n_pools++;
	return 0;
}

static const struct {
	const char *type;
	int (*take)(struct ledger *, const struct record *);
} lines[] = {
	{"claim", take_claim},
	{"shared", take_shared},
	{"want", take_want},
	{"pool", take_pool},
};

static int take_line(struct ledger *l, const struct record *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (streq(lines[i].type, r->f[0]))
			return lines[i].take(l, r);
	return -EINVAL;
}

bool ledger_take_head(char **pos, const char *boot_id, struct ledger *l)
{
	struct record r;

	if (record_next(pos, &r, &l->bad_lines) != 1 || !streq(r.f[0], "ledger") ||
	    !streq(record_str(&r, 2), boot_id))
		return false;
	l->older = streq(record_str(&r, 1), LEDGER_FORMAT_BEFORE);
	if (!l->older && !streq(record_str(&r, 1), LEDGER_FORMAT))
		return false;
	l->next_generation = record_u64(&r, 3, l->next_generation);
	l->online = l->reserved = ledger_set(l, NULL);
	if (l->older) {
		l->foreign_read = streq(record_str(&r, 4), "1");
		return true;
	}
	l->moves = streq(record_str(&r, 4), "1");
	l->foreign_read = streq(record_str(&r, 5), "1");
	/* What cannot be read is as before the first decision. */
	if (ledger_take_set(l, record_str(&r, 6), &l->online) < 0 || ledger_take_set(l, record_str(&r, 7), &l->reserved) < 0)
		l->online = ledger_set(l, NULL);
	return true;
}

int ledger_parse(char *text, struct ledger *l)
{
	struct record r;
	int rc;

	while (record_next(&text, &r, &l->bad_lines) == 1) {
		rc = take_line(l, &r);
		if (rc == -ENOMEM)
			return rc;
		if (rc < 0)
			l->bad_lines++;
	}
	return 0;
}
