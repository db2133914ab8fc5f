/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Claims, shared objects and pools in memory, and the same as text (record.h), one kind of line per kind of thing:
 *
 *   ledger  format, boot id, next generation, foreign_read
 *   claim   uuid, kind, phase, generation, pid, its start, daemon, its start, since, name, cpus, floating, vcpus, pages
 *   shared  index, knob, target, backend, object, fold, order, cause, settled, original, written, before, readback
 *   want    index of the shared line, uuid, wanted              in the order in which they were claimed
 *   pool    node, page size, others
 *
 * The uuid and the numbers of a claim come first, so that ledger_has_dead() and ledger_read_one() need no more than
 * the head of a line. Who may read what, the lock and the boot are in ledger_file.c.
 */
#include "ledger_priv.h"

#include <assert.h>

#include "lines.h"
#include "num.h"

#define PAGES_MAX 1024 /* with two full CPU lists still a line of less than RECORD_MAX */

static const char *const kind_names[] = {"ours", "foreign", "observe"};
static const char *const phase_names[] = {"prepared", "started", "stopped"};

const char *claim_kind_name(enum claim_kind k)
{
	return kind_names[(unsigned int)k < ARRAY_SIZE(kind_names) ? k : CLAIM_OBSERVE];
}

const char *claim_phase_name(enum claim_phase p)
{
	return phase_names[(unsigned int)p < ARRAY_SIZE(phase_names) ? p : CLAIM_STOPPED];
}

static int name_index(const char *const *names, unsigned int n, const char *text)
{
	for (unsigned int i = 0; i < n; i++)
		if (streq(names[i], text))
			return (int)i;
	return -EINVAL;
}

int claim_phase_parse(const char *text, enum claim_phase *ret)
{
	int i = name_index(phase_names, ARRAY_SIZE(phase_names), text);

	if (i < 0)
		return i;
	*ret = (enum claim_phase)i;
	return 0;
}

/* Claims are large and may be many: the array has its final size from the start, see ledger_parse(). */
static struct claim *new_claim(struct ledger *l)
{
	struct claim *bigger;
	unsigned int room;

	if (l->n_claims == l->room) {
		room = l->room ? 2 * l->room : 4;
		bigger = reallocarray(l->claims, room, sizeof(*l->claims));
		if (!bigger)
			return NULL;
		l->claims = bigger;
		l->room = room;
		l->n_fresh = 0;
	}
	if (l->n_fresh == l->room - l->n_claims) {
		l->n_fresh--;
		return &l->claims[l->n_claims];
	}
	return memset(&l->claims[l->n_claims], 0, sizeof(*l->claims));
}

struct claim *ledger_find(struct ledger *l, const char *uuid)
{
	for (unsigned int i = 0; i < l->n_claims; i++)
		if (streq(l->claims[i].uuid, uuid)) {
			l->claims[i].line = NULL;
			return &l->claims[i];
		}
	return NULL;
}

struct claim *ledger_add(struct ledger *l, const char *uuid, const char *name)
{
	struct claim *c = new_claim(l);

	if (!c)
		return NULL;
	c->name = strdup(name);
	if (!c->name)
		return NULL;
	(void)snprintf(c->uuid, sizeof(c->uuid), "%s", uuid);
	c->generation = l->next_generation++;
	l->n_claims++;
	return c;
}

void claim_fini(struct claim *c)
{
	if (!c)
		return;
	free(c->name);
	free(c->pages);
	memset(c, 0, sizeof(*c));
}

void ledger_remove(struct ledger *l, const char *uuid)
{
	struct claim *c = ledger_find(l, uuid);
	unsigned int i;

	if (!c)
		return;
	i = (unsigned int)(c - l->claims);
	claim_fini(c);
	l->n_claims--;
	memmove(c, c + 1, (l->n_claims - i) * sizeof(*c));
}

int claim_add_pages(struct claim *c, int node, uint64_t size, uint64_t count)
{
	struct claim_pages *p;

	for (unsigned int i = 0; i < c->n_pages; i++) {
		p = &c->pages[i];
		if (p->node != node || p->size != size)
			continue;
		if (__builtin_add_overflow(p->count, count, &p->count))
			p->count = UINT64_MAX;
		return 0;
	}
	if (c->n_pages >= PAGES_MAX)
		return -E2BIG;
	p = GROW(c->pages, c->n_pages);
	if (!p)
		return -ENOMEM;
	*p = (struct claim_pages){.node = node, .size = size, .count = count};
	c->n_pages++;
	return 0;
}

struct shared *ledger_find_shared(struct ledger *l, const char *backend, const char *object)
{
	for (unsigned int i = 0; i < l->n_shared; i++)
		if (streq(l->shared[i].object, object) && streq(l->shared[i].backend, backend))
			return &l->shared[i];
	return NULL;
}

static void shared_fini(struct shared *s)
{
	char *const texts[] = {s->knob,  s->target,   s->backend, s->object, s->order,
			       s->cause, s->original, s->written, s->before, s->readback};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(texts[i]);
	for (unsigned int i = 0; i < s->n_claims; i++)
		free(s->claims[i].wanted);
	free(s->claims);
	memset(s, 0, sizeof(*s));
}

int ledger_reserve_shared(struct ledger *l, unsigned int n)
{
	struct shared *bigger;

	if (n <= l->room_shared)
		return 0;
	bigger = reallocarray(l->shared, n, sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	l->shared = bigger;
	l->room_shared = n;
	return 0;
}

struct shared *ledger_add_shared(struct ledger *l, const char *backend, const char *object)
{
	struct shared *s;

	if (l->n_shared == l->room_shared && ledger_reserve_shared(l, l->n_shared ? 2 * l->n_shared : 4) < 0)
		return NULL;
	s = &l->shared[l->n_shared];
	memset(s, 0, sizeof(*s));
	s->backend = strdup(backend);
	s->object = strdup(object);
	if (!s->backend || !s->object) {
		shared_fini(s);
		return NULL;
	}
	l->n_shared++;
	return s;
}

void ledger_remove_shared(struct ledger *l, struct shared *s)
{
	unsigned int i = (unsigned int)(s - l->shared);

	shared_fini(s);
	l->n_shared--;
	memmove(s, s + 1, (l->n_shared - i) * sizeof(*s));
}

int shared_set_claim(struct shared *s, const char *uuid, const char *wanted)
{
	char *text = strdup(wanted);
	struct shared_claim *c = NULL;

	if (!text)
		return -ENOMEM;
	for (unsigned int i = 0; i < s->n_claims && !c; i++)
		if (streq(s->claims[i].uuid, uuid))
			c = &s->claims[i];
	if (!c) {
		c = GROW(s->claims, s->n_claims);
		if (!c) {
			free(text);
			return -ENOMEM;
		}
		(void)snprintf(c->uuid, sizeof(c->uuid), "%s", uuid);
		s->n_claims++;
	}
	free(c->wanted);
	c->wanted = text;
	return 0;
}

void shared_drop_claim(struct shared *s, const char *uuid)
{
	for (unsigned int i = 0; i < s->n_claims; i++) {
		if (!streq(s->claims[i].uuid, uuid))
			continue;
		free(s->claims[i].wanted);
		s->n_claims--;
		memmove(&s->claims[i], &s->claims[i + 1], (s->n_claims - i) * sizeof(*s->claims));
		return;
	}
}

void ledger_fini(struct ledger *l)
{
	if (!l)
		return;
	for (unsigned int i = 0; i < l->n_claims; i++) {
		free(l->claims[i].name);
		free(l->claims[i].pages);
	}
	for (unsigned int i = 0; i < l->n_shared; i++)
		shared_fini(&l->shared[i]);
	free(l->claims);
	free(l->shared);
	free(l->pools);
	free(l->text);
	free(l->rest);
	memset(l, 0, sizeof(*l));
}

/* --- as text ---------------------------------------------------------------------------------------------------- */

static int render_claim(struct sbuf *b, const struct claim *c)
{
	_cleanup_free_ char *cpus = idset_text(&c->cpus), *floating = idset_text(&c->floating);
	_cleanup_sbuf_ struct sbuf pages = {0};
	struct number n[8];

	for (unsigned int i = 0; i < c->n_pages; i++)
		sbuf_addf(&pages, "%s%d:%llu:%llu", i ? "," : "", c->pages[i].node,
			  (unsigned long long)c->pages[i].size, (unsigned long long)c->pages[i].count);
	if (!cpus || !floating || pages.failed)
		return -ENOMEM;
	record_add(b, "claim", c->uuid, claim_kind_name(c->kind), claim_phase_name(c->phase),
		   number(&n[0], c->generation), number(&n[1], c->pid > 0 ? (uint64_t)c->pid : 0),
		   number(&n[2], c->pid_start), number(&n[3], c->daemon > 0 ? (uint64_t)c->daemon : 0),
		   number(&n[4], c->daemon_start), number(&n[5], c->since), c->name, cpus, floating,
		   number(&n[6], c->vcpus), pages.s ? pages.s : "", NULL);
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

static void put_shared(struct sbuf *b, const struct shared *s, unsigned int index)
{
	struct number n;

	record_add(b, "shared", number(&n, index), text_or_empty(s->knob), text_or_empty(s->target), s->backend,
		   s->object, fold_name(s->fold), text_or_empty(s->order), text_or_empty(s->cause),
		   s->readback ? "settled" : "unsettled", text_or_empty(s->original), text_or_empty(s->written),
		   text_or_empty(s->before), text_or_empty(s->readback), NULL);
	for (unsigned int i = 0; i < s->n_claims; i++)
		record_add(b, "want", n.text, s->claims[i].uuid, s->claims[i].wanted, NULL);
}

int ledger_print(const struct ledger *l, struct sbuf *b)
{
	struct number n, size, others;

	record_add(b, "ledger", LEDGER_FORMAT, l->boot_id, number(&n, l->next_generation), l->foreign_read ? "1" : "0",
		   NULL);
	if (l->rest_len)
		sbuf_addn(b, l->rest, l->rest_len);
	for (unsigned int i = 0; i < l->n_claims; i++)
		if (put_claim(b, &l->claims[i]) < 0)
			return -ENOMEM;
	for (unsigned int i = 0; i < l->n_shared; i++)
		put_shared(b, &l->shared[i], i);
	for (unsigned int i = 0; i < l->n_pools; i++)
		record_add(b, "pool", number(&n, (uint64_t)l->pools[i].node), number(&size, l->pools[i].size),
			   number(&others, l->pools[i].others), NULL);
	return b->failed ? -ENOMEM : 0;
}

/* "" is the empty set; anything that is no set makes the line a bad one. */
static int take_set(const char *text, struct idset *to)
{
	return *text ? idset_parse(text, to) : 0;
}

static int take_pages(struct claim *c, char *text)
{
	uint64_t v[3];

	for (char *item, *part; (item = strsep(&text, ",")) && *item;) {
		for (unsigned int i = 0; i < ARRAY_SIZE(v); i++) {
			part = strsep(&item, ":");
			if (!part || num_parse_u64(part, &v[i]) < 0)
				return -EINVAL;
		}
		if (item || v[0] > INT32_MAX)
			return -EINVAL;
		if (claim_add_pages(c, (int)v[0], v[1], v[2]) < 0)
			return -EINVAL;
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
	int kind = name_index(kind_names, ARRAY_SIZE(kind_names), record_str(r, 2));
	struct claim *c;

	if (kind < 0 || !uuid_is_valid(record_str(r, 1)))
		return -EINVAL;
	c = new_claim(l);
	if (!c)
		return -ENOMEM;
	(void)snprintf(c->uuid, sizeof(c->uuid), "%s", record_str(r, 1));
	c->kind = (enum claim_kind)kind;
	c->generation = record_u64(r, 4, 0);
	c->pid = take_pid(r, 5);
	c->pid_start = record_u64(r, 6, 0);
	c->daemon = take_pid(r, 7);
	c->daemon_start = record_u64(r, 8, 0);
	c->since = record_u64(r, 9, 0);
	c->vcpus = (unsigned int)record_u64(r, 13, 0);
	if (claim_phase_parse(record_str(r, 3), &c->phase) < 0 || take_set(record_str(r, 11), &c->cpus) < 0 ||
	    take_set(record_str(r, 12), &c->floating) < 0 || (r->n > 14 && take_pages(c, r->f[14]) < 0)) {
		claim_fini(c);
		return -EINVAL;
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
	s = ledger_add_shared(l, record_str(r, 4), record_str(r, 5));
	if (!s)
		return -ENOMEM;
	s->index = record_u64(r, 1, UINT64_MAX);
	s->fold = fold;
	s->knob = strdup(r->f[2]);
	s->target = strdup(r->f[3]);
	s->order = strdup(r->f[7]);
	s->cause = strdup(r->f[8]);
	s->original = strdup(r->f[10]);
	s->written = strdup(r->f[11]);
	s->before = strdup(r->f[12]);
	s->readback = streq(r->f[9], "settled") ? strdup(r->f[13]) : NULL;
	if (!s->knob || !s->target || !s->order || !s->cause || !s->original || !s->written || !s->before ||
	    (streq(r->f[9], "settled") && !s->readback))
		return -ENOMEM;
	return 0;
}

static int take_want(struct ledger *l, const struct record *r)
{
	uint64_t index = record_u64(r, 1, UINT64_MAX);

	if (r->n < 4 || index == UINT64_MAX || !uuid_is_valid(record_str(r, 2)))
		return -EINVAL;
	/* The owner is nearly always the last one read. */
	for (unsigned int i = l->n_shared; i-- > 0;)
		if (l->shared[i].index == index)
			return shared_set_claim(&l->shared[i], record_str(r, 2), record_str(r, 3));
	return -EINVAL;
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
	*p = (struct ledger_pool){.node = (int)node, .size = size, .others = record_u64(r, 3, 0)};
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
	    !streq(record_str(&r, 1), LEDGER_FORMAT) || !streq(record_str(&r, 2), boot_id))
		return false;
	l->next_generation = record_u64(&r, 3, l->next_generation);
	l->foreign_read = streq(record_str(&r, 4), "1");
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

int ledger_reserve(struct ledger *l, unsigned int claims)
{
	if (claims <= l->room)
		return 0;
	/* calloc: large arrays are fresh zero pages, of which the empty sets touch none. */
	l->claims = calloc(claims, sizeof(*l->claims));
	if (!l->claims)
		return -ENOMEM;
	l->room = claims;
	l->n_fresh = claims;
	return 0;
}
