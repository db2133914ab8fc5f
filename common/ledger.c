/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Claims, shared objects and pools in memory. As text they are in ledger_text.c; who may read what, in ledger_file.c. */
#include "ledger_priv.h"

#include "lines.h"

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

int claim_kind_parse(const char *text, enum claim_kind *ret)
{
	int i = name_index(kind_names, ARRAY_SIZE(kind_names), text);

	if (i < 0)
		return i;
	*ret = (enum claim_kind)i;
	return 0;
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

int ledger_take_set(struct ledger *l, const char *text, const struct idset **to)
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

const char *ledger_set_text(const struct idset *set)
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
struct claim *ledger_new_claim(struct ledger *l)
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

const struct claim *ledger_see(const struct ledger *l, const char *uuid)
{
	for (unsigned int i = 0; i < l->n_claims; i++)
		if (streq(l->claims[i].uuid, uuid))
			return &l->claims[i];
	return NULL;
}

struct claim *ledger_find(struct ledger *l, const char *uuid)
{
	const struct claim *seen = ledger_see(l, uuid);
	struct claim *c = seen ? &l->claims[seen - l->claims] : NULL;

	if (c)
		c->line = NULL;
	return c;
}

struct claim *ledger_add(struct ledger *l, const char *uuid, const char *name)
{
	struct claim *c = ledger_new_claim(l);

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

const struct shared *ledger_see_shared(const struct ledger *l, const char *backend, const char *object)
{
	for (unsigned int i = 0; l && i < l->n_shared; i++)
		if (is_object(&l->shared[i], backend, object))
			return &l->shared[i];
	return NULL;
}

struct shared *ledger_find_shared(struct ledger *l, const char *backend, const char *object)
{
	const struct shared *seen;
	unsigned int i, at = 0;
	uint32_t hash;

	if (l->n_shared > FEW_SHARED && index_shared(l)) {
		hash = strindex_hash(backend, object);
		while (strindex_next(&l->by_object, hash, &at, &i))
			if (is_object(&l->shared[i], backend, object))
				return &l->shared[i];
		return NULL;
	}
	seen = ledger_see_shared(l, backend, object);
	return seen ? &l->shared[seen - l->shared] : NULL;
}

static void shared_fini(struct shared *s)
{
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

struct shared *ledger_new_shared(struct ledger *l)
{
	struct shared *s;

	if (!l->texts)
		l->texts = calloc(1, sizeof(*l->texts));
	if (!l->texts || (l->n_shared == l->room_shared &&
			  ledger_reserve_shared(l, l->n_shared ? 2 * l->n_shared : 4) < 0))
		return NULL;
	s = &l->shared[l->n_shared++];
	*s = (struct shared){.texts = l->texts};
	return s;
}

struct shared *ledger_add_shared(struct ledger *l, const char *backend, const char *object)
{
	struct shared *s = ledger_new_shared(l);

	if (!s)
		return NULL;
	if (shared_set(s, &s->backend, backend) < 0 || shared_set(s, &s->object, object) < 0) {
		l->n_shared--;
		return NULL;
	}
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

int shared_set(struct shared *s, const char **field, const char *text)
{
	const char *copy = textpool_add(s->texts, text);

	if (!copy)
		return -ENOMEM;
	*field = copy;
	s->line = NULL;
	return 0;
}

void shared_unsettle(struct shared *s)
{
	s->readback = NULL;
	s->line = NULL;
}

int shared_take_claim(struct shared *s, const char *uuid, const char *text)
{
	struct shared_claim *c = NULL;

	for (unsigned int i = 0; i < s->n_claims && !c; i++)
		if (streq(s->claims[i].uuid, uuid))
			c = &s->claims[i];
	if (!c) {
		c = GROW(s->claims, s->n_claims);
		if (!c)
			return -ENOMEM;
		memcpy(c->uuid, uuid, strnlen(uuid, sizeof(c->uuid) - 1)); /* it is all zero */
		s->n_claims++;
	}
	c->wanted = text;
	return 0;
}

int shared_set_claim(struct shared *s, const char *uuid, const char *wanted)
{
	const char *text = textpool_add(s->texts, wanted);

	return text ? shared_take_claim(s, uuid, text) : -ENOMEM;
}

const char *shared_claim_of(const struct shared *s, const char *uuid)
{
	for (unsigned int i = 0; i < s->n_claims; i++)
		if (streq(s->claims[i].uuid, uuid))
			return s->claims[i].wanted;
	return NULL;
}

void shared_drop_claim(struct shared *s, const char *uuid)
{
	for (unsigned int i = 0; i < s->n_claims; i++) {
		if (!streq(s->claims[i].uuid, uuid))
			continue;
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
	if (l->texts)
		textpool_fini(l->texts);
	free(l->texts);
	free(l->text);
	free(l->rest);
	memset(l, 0, sizeof(*l));
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
