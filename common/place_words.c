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

/* The one with most first; names decide between equals, so that the order of claims does not matter. */
static int by_share(const void *pa, const void *pb)
{
	const struct holder *a = pa, *b = pb;
	int d;

	if (a->n != b->n)
		return a->n > b->n ? -1 : 1;
	d = strcmp(a->claim->name ? a->claim->name : "", b->claim->name ? b->claim->name : "");
	return d ? d : strcmp(a->claim->uuid, b->claim->uuid);
}

void place_add_holders(struct sbuf *b, const struct place_ctx *c, const struct idset *among)
{
	_cleanup_free_ struct holder *holders = calloc(c->l->n_claims + 1, sizeof(*holders));
	struct idset reserved = c->q->reserved;
	unsigned int n = 0, n_reserved, n_others = 0;
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
	idset_and(&reserved, among);
	idset_andnot(&reserved, &c->held);
	n_reserved = idset_count(&reserved);
	if (n_reserved > 0) {
		sbuf_addf(b, "%s%u reserved", sep, n_reserved);
		sep = ", ";
	}
	if (*sep == ',')
		sbuf_add(b, ")");
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
