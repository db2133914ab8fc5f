/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The placement's sentences. Names of other domains come from outside: control characters never reach a line. */
#include "place_priv.h"

#include <stdarg.h>

#define NAME_SHOWN    64
#define LIST_SHOWN    60
#define HOLDERS_SHOWN 3

const char *place_page_name(uint64_t size, char *buf, size_t len)
{
	static const char units[] = "BKMGT";
	unsigned int u = 0;

	while (size >= 1024 && size % 1024 == 0 && u + 2 < sizeof(units)) {
		size /= 1024;
		u++;
	}
	place_say(buf, len, "%" PRIu64 "%c", size, units[u]);
	return buf;
}

/* In the largest unit that keeps two digits before the point, rounded down: what is said to fit does fit. */
void place_add_bytes(struct sbuf *b, uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	unsigned int u = 0;

	if (bytes == HOST_UNKNOWN) {
		sbuf_add(b, "an unknown amount");
		return;
	}
	while (u + 1 < ARRAY_SIZE(units) && bytes >= 1024 && (bytes % 1024 == 0 || bytes >= UINT64_C(10240))) {
		bytes /= 1024;
		u++;
	}
	sbuf_addf(b, "%" PRIu64 " %s", bytes, units[u]);
}

void place_add_list(struct sbuf *b, const struct idset *s)
{
	_cleanup_free_ char *text = idset_text(s);
	size_t n = LIST_SHOWN;

	if (!text) {
		b->failed = true;
		return;
	}
	if (strlen(text) <= LIST_SHOWN) {
		sbuf_add(b, text);
		return;
	}
	while (n > 1 && text[n] != ',')
		n--;
	sbuf_addn(b, text, n);
	sbuf_add(b, ",...");
}

void place_say(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(buf, size, fmt, ap); /* a clause that does not fit is cut */
	va_end(ap);
}

void place_add_name(struct sbuf *b, const char *name)
{
	size_t n = 0;

	for (; name[n] && n < NAME_SHOWN; n++) {
		char c = (unsigned char)name[n] < 0x20 || name[n] == 0x7f ? '?' : name[n];

		sbuf_addn(b, &c, 1);
	}
	if (name[n])
		sbuf_add(b, "...");
}

struct holder {
	const struct claim *claim;
	unsigned int n;
};

/* Names decide between equals, so that the order of claims does not matter. */
static int by_name(const struct claim *a, const struct claim *b)
{
	int d = strcmp(a->name ? a->name : "", b->name ? b->name : "");

	return d ? d : strcmp(a->uuid, b->uuid);
}

/* The one with most first. */
static int by_share(const void *pa, const void *pb)
{
	const struct holder *a = pa, *b = pb;

	if (a->n != b->n)
		return a->n > b->n ? -1 : 1;
	return by_name(a->claim, b->claim);
}

struct page_holder {
	const struct claim *claim;
	uint64_t n;
};

static bool has_more(const struct page_holder *a, const struct page_holder *b)
{
	return a->n != b->n ? a->n > b->n : by_name(a->claim, b->claim) < 0;
}

/* ", 2 reserved", if any of them is among those: whether there is. */
static bool add_part(struct sbuf *b, const char **sep, const struct idset *part, const struct idset *among,
		     const char *what)
{
	struct idset s = *part;

	idset_and(&s, among);
	if (idset_is_empty(&s))
		return false;
	sbuf_addf(b, "%s%u %s", *sep, idset_count(&s), what);
	*sep = ", ";
	return true;
}

void place_add_holders(struct sbuf *b, const struct place_ctx *c, const struct idset *among)
{
	_cleanup_free_ struct holder *holders = calloc(c->l->n_claims + 1, sizeof(*holders));
	struct idset reserved = c->q->reserved, exclusive = c->h->exclusive;
	unsigned int n = 0, n_others = 0;
	const char *sep = " (";

	if (!holders) {
		b->failed = true;
		return;
	}
	for (unsigned int i = 0; i < c->l->n_claims; i++) {
		const struct claim *k = &c->l->claims[i];
		struct idset held = *k->cpus;

		idset_and(&held, among);
		if (k->kind == CLAIM_OBSERVE || streq(k->uuid, c->self) || idset_is_empty(&held))
			continue;
		holders[n++] = (struct holder){ .claim = k, .n = idset_count(&held) };
	}
	qsort(holders, n, sizeof(holders[0]), by_share);
	for (unsigned int i = 0; i < n && i < HOLDERS_SHOWN; i++) {
		sbuf_addf(b, "%s%u held by ", sep, holders[i].n);
		place_add_name(b, holders[i].claim->name ? holders[i].claim->name : holders[i].claim->uuid);
		sep = ", ";
	}
	for (unsigned int i = HOLDERS_SHOWN; i < n; i++)
		n_others += holders[i].n;
	if (n_others > 0)
		sbuf_addf(b, "%s%u by others", sep, n_others);
	idset_andnot(&reserved, &c->held);
	idset_andnot(&exclusive, &c->held);
	idset_andnot(&exclusive, &c->q->reserved);
	(void)add_part(b, &sep, &reserved, among, "reserved");
	if (add_part(b, &sep, &exclusive, among, "in the exclusive cpuset "))
		place_add_name(b, c->h->exclusive_name);
	(void)add_part(b, &sep, &c->kept, among, "kept for the host");
	if (*sep == ',')
		sbuf_add(b, ")");
}

/* Who has most of these pages (or bytes); in the order of by_share(). */
void place_add_page_holders(struct sbuf *b, const struct place_ctx *c, uint64_t size, const struct idset *nodes)
{
	struct page_holder best[HOLDERS_SHOWN + 1] = { 0 };
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->l->n_claims; i++) {
		struct page_holder t = { .claim = &c->l->claims[i] };
		unsigned int at;

		if (t.claim->kind == CLAIM_OBSERVE || streq(t.claim->uuid, c->self))
			continue;
		for (unsigned int j = 0; j < t.claim->n_pages; j++)
			if (t.claim->pages[j].size == size && t.claim->pages[j].node >= 0 &&
			    idset_has(nodes, (unsigned int)t.claim->pages[j].node))
				t.n += t.claim->pages[j].count;
		if (t.n == 0)
			continue;
		for (at = n; at > 0 && has_more(&t, &best[at - 1]); at--)
			best[at] = best[at - 1];
		best[at] = t;
		n += n < HOLDERS_SHOWN;
	}
	for (unsigned int i = 0; i < n; i++) {
		sbuf_add(b, i ? ", " : " (");
		if (size)
			sbuf_addf(b, "%" PRIu64, best[i].n);
		else
			place_add_bytes(b, best[i].n);
		sbuf_add(b, " claimed by ");
		place_add_name(b, best[i].claim->name ? best[i].claim->name : best[i].claim->uuid);
	}
	sbuf_add(b, n > 0 ? ")" : "");
}

const struct claim *place_top_holder(const struct place_ctx *c, const struct idset *among)
{
	struct holder best = { 0 };

	for (unsigned int i = 0; i < c->l->n_claims; i++) {
		struct holder t = { .claim = &c->l->claims[i] };
		struct idset held = *t.claim->cpus;

		idset_and(&held, among);
		t.n = idset_count(&held);
		if (t.claim->kind == CLAIM_OBSERVE || streq(t.claim->uuid, c->self) || t.n == 0)
			continue;
		if (!best.claim || by_share(&t, &best) < 0)
			best = t;
	}
	return best.claim;
}

static void add_message(struct msgs *to, struct sbuf *b)
{
	_cleanup_free_ char *text = sbuf_steal(b);

	if (text)
		msgs_warn(to, "%s", text);
	else
		to->failed = true;
}

void place_unmet(struct place_ctx *c, struct sbuf *b)
{
	add_message(&c->p->unmet, b);
}

void place_note(struct place_ctx *c, struct sbuf *b)
{
	add_message(&c->p->notes, b);
}

/* The devices that it is beside: "; near 0000:3b:00.0 and 2 more". */
static void add_devices(struct sbuf *b, const struct place_ctx *c)
{
	const char *first = NULL;
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->q->n_devices; i++) {
		if (c->q->devices[i].node < 0 || !idset_has(&c->found.nodes, (unsigned int)c->q->devices[i].node))
			continue;
		if (n++ == 0)
			first = c->q->devices[i].name;
	}
	if (n == 0 || c->h->n_nodes < 2)
		return;
	sbuf_add(b, "; near ");
	place_add_name(b, first);
	if (n > 1)
		sbuf_addf(b, " and %u more", n - 1);
}

void place_say_nodes(struct place_ctx *c)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	char why[160]; /* fits with the devices into why_nodes */

	place_search_why_nodes(&c->search, &c->found, why, sizeof(why));
	sbuf_add(&b, why);
	add_devices(&b, c);
	if (b.failed)
		c->p->notes.failed = true;
	else
		place_say(c->p->why_nodes, sizeof(c->p->why_nodes), "%s", b.s);
}
