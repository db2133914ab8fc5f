/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Claims, shared objects and pools in memory, and the same as text (record.h), one kind of line per kind of thing:
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

#define PAGES_MAX 1024 /* with some full CPU lists still a line of less than RECORD_MAX */
#define FLOATS_MAX 64 /* one per guest cell (DOMAIN_CELLS_MAX), rarely more than one */

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

/* ---- sets ---- */

struct named_set {
	struct idset set;
	struct named_set *next; /* of the same hash */
	char text[];            /* as idset_text() has it */
};

struct ledger_sets {
	struct named_set *by_hash[256];
};

static const struct idset no_cpus;

/* FNV-1a (RFC draft-eastlake-fnv), enough to tell apart the few sets of a host. */
static unsigned int hash_of(const char *text)
{
	uint32_t h = 2166136261u;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	return (h ^ h >> 16) & 0xff;
}

static struct named_set *find_set(const struct ledger *l, const char *text)
{
	struct named_set *s = l->sets ? l->sets->by_hash[hash_of(text)] : NULL;

	while (s && !streq(s->text, text))
		s = s->next;
	return s;
}

static const struct idset *add_set(struct ledger *l, const char *text, const struct idset *set)
{
	size_t len = strlen(text) + 1;
	struct named_set *s = malloc(sizeof(*s) + len), **head;

	if (!l->sets)
		l->sets = calloc(1, sizeof(*l->sets));
	if (!s || !l->sets) {
		free(s);
		return NULL;
	}
	head = &l->sets->by_hash[hash_of(text)];
	s->set = *set;
	s->next = *head;
	memcpy(s->text, text, len);
	*head = s;
	return &s->set;
}

const struct idset *ledger_set(struct ledger *l, const struct idset *set)
{
	_cleanup_free_ char *text = NULL;
	struct named_set *known;

	if (!set || idset_is_empty(set))
		return &no_cpus;
	text = idset_text(set);
	if (!text)
		return NULL;
	known = find_set(l, text);
	return known ? &known->set : add_set(l, text, set);
}

/* "" is the empty set; anything that is no set makes the line a bad one. */
static int take_set(struct ledger *l, const char *text, const struct idset **to)
{
	struct named_set *known = find_set(l, text);
	struct idset set;

	*to = known ? &known->set : &no_cpus;
	if (known || !*text)
		return 0;
	if (idset_parse(text, &set) < 0)
		return -EINVAL;
	*to = ledger_set(l, &set);
	return *to ? 0 : -ENOMEM;
}

static const char *set_text(const struct idset *set)
{
	const struct named_set *s = (const struct named_set *)(const void *)set;

	return !set || set == &no_cpus ? "" : s->text; /* what is in a ledger came from ledger_set() */
}

static void free_sets(struct ledger_sets *sets)
{
	for (size_t i = 0; sets && i < ARRAY_SIZE(sets->by_hash); i++)
		for (struct named_set *s = sets->by_hash[i], *next; s; s = next) {
			next = s->next;
			free(s);
		}
	free(sets);
}

/* ---- claims ---- */

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
	if (l->n_fresh == l->room - l->n_claims)
		l->n_fresh--;
	else
		memset(&l->claims[l->n_claims], 0, sizeof(*l->claims));
	l->claims[l->n_claims].cpus = &no_cpus;
	return &l->claims[l->n_claims];
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
	free(c->links);
	free(c->ways);
	free(c->floats);
	memset(c, 0, sizeof(*c));
	c->cpus = &no_cpus;
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

int claim_add_floater(struct ledger *l, struct claim *c, const struct idset *now, const struct idset *home,
		      const struct idset *limit, unsigned int vcpus)
{
	struct floater *f;

	if (c->n_floats >= FLOATS_MAX)
		return -E2BIG;
	f = GROW(c->floats, c->n_floats);
	if (!f)
		return -ENOMEM;
	f->now = ledger_set(l, now);
	f->home = ledger_set(l, home);
	f->limit = ledger_set(l, limit);
	f->vcpus = vcpus;
	if (!f->now || !f->home || !f->limit)
		return -ENOMEM;
	c->n_floats++;
	return 0;
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

/* As dev_valid_name() has it, net/core/dev.c. */
static bool is_device(const char *name)
{
	return *name && !streq(name, ".") && !streq(name, "..") && !name[strcspn(name, "/: \t\n\v\f\r")];
}

struct claim_link *claim_find_link(const struct claim *c, const char *device, unsigned int number)
{
	for (unsigned int i = 0; i < c->n_links; i++)
		if (c->links[i].number == number && streq(c->links[i].device, device))
			return &c->links[i];
	return NULL;
}

int claim_add_link(struct claim *c, const struct claim_link *link)
{
	struct claim_link *l;

	if (!is_device(link->device))
		return -EINVAL;
	if (c->n_links >= CLAIM_LINKS_MAX)
		return -E2BIG;
	l = GROW(c->links, c->n_links);
	if (!l)
		return -ENOMEM;
	*l = *link;
	c->n_links++;
	return 0;
}

int claim_add_ways(struct claim *c, unsigned int cache, uint64_t bits)
{
	struct claim_ways *w;

	if (bits == 0)
		return -EINVAL;
	for (unsigned int i = 0; i < c->n_ways; i++)
		if (c->ways[i].cache == cache) {
			c->ways[i].bits |= bits;
			return 0;
		}
	if (c->n_ways >= CLAIM_WAYS_MAX)
		return -E2BIG;
	w = GROW(c->ways, c->n_ways);
	if (!w)
		return -ENOMEM;
	*w = (struct claim_ways){cache, bits};
	c->n_ways++;
	c->has_class = true;
	return 0;
}

static bool is_object(const struct shared *s, const char *backend, const char *object)
{
	return streq(s->object, object) && streq(s->backend, backend);
}

#define FEW_SHARED 16 /* are looked through; more have an index, which a thousand interrupts need */

/* Whether the index has all of them. Without memory it has not. */
static bool index_shared(struct ledger *l)
{
	while (l->by_object.n < l->n_shared) {
		unsigned int i = l->by_object.n;

		if (strindex_add(&l->by_object, strindex_hash(l->shared[i].backend, l->shared[i].object), i) < 0)
			return false;
	}
	return true;
}

struct shared *ledger_find_shared(struct ledger *l, const char *backend, const char *object)
{
	unsigned int i, at = 0;
	uint32_t hash;

	if (l->n_shared > FEW_SHARED && index_shared(l)) {
		hash = strindex_hash(backend, object);
		while (strindex_next(&l->by_object, hash, &at, &i))
			if (is_object(&l->shared[i], backend, object))
				return &l->shared[i];
		return NULL;
	}
	for (i = 0; i < l->n_shared; i++)
		if (is_object(&l->shared[i], backend, object))
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

	strindex_fini(&l->by_object);
	shared_fini(s);
	l->n_shared--;
	memmove(s, s + 1, (l->n_shared - i) * sizeof(*s));
}

void ledger_prune_shared(struct ledger *l, bool (*is_over)(const void *data, unsigned int i), const void *data)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < l->n_shared; i++)
		if (is_over(data, i))
			shared_fini(&l->shared[i]);
		else
			l->shared[n++] = l->shared[i];
	if (n < l->n_shared)
		strindex_fini(&l->by_object);
	l->n_shared = n;
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
		free(l->claims[i].links);
		free(l->claims[i].ways);
		free(l->claims[i].floats);
	}
	for (unsigned int i = 0; i < l->n_shared; i++)
		shared_fini(&l->shared[i]);
	free(l->claims);
	free(l->shared);
	strindex_fini(&l->by_object);
	free(l->pools);
	free_sets(l->sets);
	free(l->text);
	free(l->rest);
	memset(l, 0, sizeof(*l));
}

/* --- as text ---------------------------------------------------------------------------------------------------- */

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

		sbuf_addf(&floats, "%s%s/%s/%s/%u/%d", i ? ";" : "", set_text(f->now), set_text(f->home),
			  set_text(f->limit), f->vcpus, f->moved);
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
		   number(&n[4], c->daemon_start), number(&n[5], c->since), c->name, set_text(c->cpus),
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

static void put_shared(struct sbuf *b, const struct shared *s, unsigned int index)
{
	struct number n;

	record_add(b, "shared", number(&n, index), text_or_empty(s->knob), text_or_empty(s->target), s->backend,
		   s->object, fold_name(s->fold), text_or_empty(s->order), text_or_empty(s->cause),
		   s->readback ? "settled" : "unsettled", text_or_empty(s->original), text_or_empty(s->written),
		   text_or_empty(s->before), text_or_empty(s->readback), NULL);
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
		   l->moves ? "1" : "0", l->foreign_read ? "1" : "0", set_text(l->online), set_text(l->reserved), NULL);
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
			r = take_set(l, part[i], &sets[i]);
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
	int kind = name_index(kind_names, ARRAY_SIZE(kind_names), record_str(r, 2));
	struct claim *c;
	int rc;

	if (kind < 0 || r->n < (l->older ? 15 : 14) || !uuid_is_valid(record_str(r, 1)))
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
	rc = claim_phase_parse(record_str(r, 3), &c->phase);
	if (rc == 0)
		rc = take_set(l, r->f[11], &c->cpus);
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

static int take_want_of(struct ledger *l, uint64_t index, const char *uuid, const char *wanted)
{
	/* Nearly always none is missing. */
	if (index < l->n_shared && l->shared[index].index == index)
		return shared_set_claim(&l->shared[index], uuid, wanted);
	for (unsigned int i = l->n_shared; i-- > 0;)
		if (l->shared[i].index == index)
			return shared_set_claim(&l->shared[i], uuid, wanted);
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
	l->online = l->reserved = &no_cpus;
	if (l->older) {
		l->foreign_read = streq(record_str(&r, 4), "1");
		return true;
	}
	l->moves = streq(record_str(&r, 4), "1");
	l->foreign_read = streq(record_str(&r, 5), "1");
	/* What cannot be read is as before the first decision. */
	if (take_set(l, record_str(&r, 6), &l->online) < 0 || take_set(l, record_str(&r, 7), &l->reserved) < 0)
		l->online = &no_cpus;
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
	l->claims = calloc(claims, sizeof(*l->claims));
	if (!l->claims)
		return -ENOMEM;
	l->room = claims;
	l->n_fresh = claims;
	return 0;
}
