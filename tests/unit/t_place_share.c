/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/place_share.h"

#include "common/place.h"
#include "tap.h"

static struct idset set(const char *text)
{
	struct idset s = IDSET_EMPTY;

	if (*text && idset_parse(text, &s) < 0)
		TAP_FAIL("'%s' is no set", text);
	return s;
}

static const char *text_of(const struct idset *s)
{
	static char text[512];

	return idset_format(s, text, sizeof(text)) < 0 ? "?" : text;
}

/* Everything that place_share.h says of one set, in its order. */
TEST(one_set)
{
	static const struct {
		const char *online, *reserved, *claimed, *home, *limit;
		unsigned int vcpus;
		const char *want;
	} cases[] = {
		{"0-15", "0-1", "", "2-7", "2-15", 4, "2-7"},
		{"0-15", "0-1", "4-5", "2-7", "2-15", 4, "2-3,6-7"},
		/* too few at home for its vCPUs: as far as it may */
		{"0-15", "0-1", "4-7", "2-7", "2-15", 4, "2-3,8-15"},
		{"0-15", "0-1", "4-7", "2-7", "2-15", 2, "2-3"},
		/* one is enough where no vCPU floats */
		{"0-15", "0-1", "3-7", "2-7", "2-15", 0, "2"},
		{"0-15", "0-1", "2-7", "2-7", "2-15", 0, "8-15"},
		/* the limit has no more than home: it stays at home */
		{"0-15", "0-1", "3-15", "2-7", "2-15", 4, "2"},
		{"0-15", "0-1", "6-7", "2-7", "2-7", 6, "2-5"},
		/* nothing left in the limit: the shared pool, then the reserved CPUs, then nothing */
		{"0-15", "0-1", "4-7", "4-7", "4-7", 2, "2-3,8-15"},
		{"0-15", "0-1", "2-15", "4-7", "4-7", 2, "0-1"},
		{"0-15", "", "0-15", "4-7", "4-7", 2, ""},
		/* CPUs that went offline since are nobody's */
		{"0-5", "0-1", "", "2-7", "2-15", 4, "2-5"},
		{"0-3", "0-1", "2-3", "2-7", "2-15", 4, "0-1"},
		{"2-3", "0-1", "2-3", "2-7", "2-15", 4, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct idset online = set(cases[i].online), reserved = set(cases[i].reserved);
		struct idset claimed = set(cases[i].claimed), home = set(cases[i].home), limit = set(cases[i].limit);
		struct idset got;

		place_share_set(&online, &reserved, &claimed, &home, &limit, cases[i].vcpus, &got);
		IS_STR(text_of(&got), cases[i].want);
	}
}

static const char *uuid_of(unsigned int n)
{
	static char uuid[37];

	(void)snprintf(uuid, sizeof(uuid), "%08x-2222-3333-4444-555555555555", n);
	return uuid;
}

static struct claim *add(struct ledger *l, unsigned int n, enum claim_kind kind, enum claim_phase phase,
			 const char *cpus)
{
	struct claim *c = ledger_add(l, uuid_of(n), "guest");
	struct idset s = set(cpus);

	c->kind = kind;
	c->phase = phase;
	c->cpus = ledger_set(l, &s);
	return c;
}

static void add_float(struct ledger *l, struct claim *c, const char *now, const char *home, const char *limit,
		      unsigned int vcpus)
{
	struct idset n = set(now), h = set(home), m = set(limit);

	IS_INT(claim_add_floater(l, c, &n, &h, &m, vcpus), 0);
}

static void note(struct ledger *l, const char *online, const char *reserved)
{
	struct host h = {.online = set(online)};
	struct idset kept = set(reserved);

	IS_INT(place_share_note(l, &h, &kept), 0);
}

TEST(marks_what_moves)
{
	struct ledger l = {0};
	struct claim *c = add(&l, 1, CLAIM_OURS, CLAIM_STARTED, "");

	add_float(&l, c, "2-7", "2-7", "2-7", 4);
	c = add(&l, 2, CLAIM_OURS, CLAIM_PREPARED, "");
	add_float(&l, c, "8-15", "8-15", "8-15", 2);
	c = add(&l, 3, CLAIM_OBSERVE, CLAIM_STARTED, "");
	add_float(&l, c, "2-7", "2-7", "2-7", 4);
	c = add(&l, 4, CLAIM_FOREIGN, CLAIM_STARTED, "7");
	(void)c;

	IS_INT(place_share_update(&l), 0); /* nobody has noted what there is to share */
	note(&l, "0-15", "0-1");
	IS_INT(place_share_update(&l), 1);
	IS_STR(text_of(l.claims[0].floats[0].now), "2-6"); /* a foreign claim is occupied, too */
	OK(l.claims[0].floats[0].moved);
	OK(l.moves);
	OK(!l.claims[1].floats[0].moved);
	IS_STR(text_of(l.claims[2].floats[0].now), "2-7"); /* observed: nothing is held, nothing moves */
	OK(!l.claims[2].floats[0].moved);

	/* Counted until somebody takes the mark away; nothing new is no news for the head. */
	l.moves = false;
	IS_INT(place_share_update(&l), 1);
	OK(!l.moves);

	/* One that has not started yet is marked, but nobody has to hurry for it. */
	add(&l, 5, CLAIM_OURS, CLAIM_PREPARED, "8-9");
	IS_INT(place_share_update(&l), 2);
	IS_STR(text_of(l.claims[1].floats[0].now), "10-15");
	OK(!l.moves);

	/* What is observed claims nothing. */
	add(&l, 6, CLAIM_OBSERVE, CLAIM_STARTED, "2-6");
	IS_INT(place_share_update(&l), 2);
	IS_STR(text_of(l.claims[0].floats[0].now), "2-6");

	ledger_remove(&l, uuid_of(4));
	IS_INT(place_share_update(&l), 2);
	IS_STR(text_of(l.claims[0].floats[0].now), "2-7");
	OK(l.moves);
	ledger_fini(&l);
}

/* Only the lines of those that moved are made anew. */
TEST(other_lines_stay)
{
	struct ledger l = {0};
	struct claim *c = add(&l, 1, CLAIM_OURS, CLAIM_STARTED, "");

	add_float(&l, c, "2-7", "2-7", "2-7", 4);
	c = add(&l, 2, CLAIM_OURS, CLAIM_STARTED, "");
	add_float(&l, c, "8-15", "8-15", "8-15", 4);
	add(&l, 3, CLAIM_OURS, CLAIM_PREPARED, "4");
	note(&l, "0-15", "0-1");
	for (unsigned int i = 0; i < l.n_claims; i++)
		l.claims[i].line = "as read";
	IS_INT(place_share_update(&l), 1);
	OK(!l.claims[0].line);
	OK(l.claims[1].line && l.claims[2].line);
	ledger_fini(&l);
}

/* --- sequences of claims that come and go ----------------------------------------------------------------------- */

#define CPUS  32
#define SLOTS 12

static uint64_t seed;

static unsigned int rnd(unsigned int n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned int)(seed >> 33) % n;
}

static struct idset some_of(const struct idset *from, unsigned int percent)
{
	struct idset s = IDSET_EMPTY;

	IDSET_FOREACH (cpu, from)
		if (rnd(100) < percent)
			idset_add(&s, (unsigned int)cpu);
	return s;
}

/* Half of the host, or all of it. */
static struct idset nodes_of(unsigned int which)
{
	return which == 0 ? set("2-15") : which == 1 ? set("16-31") : set("2-31");
}

static struct idset claimed_by_all(const struct ledger *l)
{
	struct idset s = IDSET_EMPTY;

	for (unsigned int i = 0; i < l->n_claims; i++)
		idset_or(&s, l->claims[i].cpus);
	return s;
}

static void come(struct ledger *l, unsigned int slot)
{
	struct claim *c = add(l, slot, CLAIM_OURS, rnd(3) ? CLAIM_STARTED : CLAIM_PREPARED, "");
	struct idset home = nodes_of(rnd(3)), limit = home, taken = claimed_by_all(l), now, all = set("2-31");
	unsigned int vcpus = rnd(6);

	if (rnd(2)) {
		struct idset free = all;

		idset_andnot(&free, &taken);
		taken = some_of(&free, 25);
		c->cpus = ledger_set(l, &taken);
		vcpus = 0;
	}
	if (rnd(3) == 0)
		limit = all;
	taken = claimed_by_all(l);
	place_share_set(l->online, l->reserved, &taken, &home, &limit, vcpus, &now);
	IS_INT(claim_add_floater(l, c, &now, &home, &limit, vcpus), 0);
}

/* A copy of the sets as they were. */
static void remember(const struct ledger *l, struct idset *was)
{
	for (unsigned int i = 0; i < l->n_claims; i++)
		was[i] = *l->claims[i].floats[0].now;
}

static void check(const struct ledger *l, const struct idset *was, const bool *marked)
{
	struct idset claimed = claimed_by_all(l), pool, want;

	/* online = reserved + claimed + shared */
	pool = *l->online;
	idset_andnot(&pool, l->reserved);
	idset_andnot(&pool, &claimed);
	OK(!idset_intersects(&claimed, l->reserved));
	IS_INT(idset_count(&pool) + idset_count(&claimed) + idset_count(l->reserved), CPUS);
	for (unsigned int i = 0; i < l->n_claims; i++) {
		const struct floater *f = &l->claims[i].floats[0];

		/* Never without a CPU, never on somebody's, on reserved ones only where nothing else is left. */
		OK(!idset_is_empty(f->now));
		OK(!idset_intersects(f->now, &claimed));
		OK(!idset_intersects(f->now, l->reserved) || idset_is_empty(&pool));
		/* It follows from the claims, whatever came before. */
		place_share_set(l->online, l->reserved, &claimed, f->home, f->limit, f->vcpus, &want);
		OK(idset_equal(f->now, &want));
		/* Marked if it moved, and only then. */
		OK(f->moved == (marked[i] || !idset_equal(&was[i], f->now)));
	}
}

static void play(unsigned int steps)
{
	struct ledger l = {0};
	static struct idset was[SLOTS];
	bool marked[SLOTS];

	note(&l, "0-31", "0-1");
	for (unsigned int s = 0; s < steps; s++) {
		unsigned int slot = rnd(SLOTS), n = 0;

		if (ledger_find(&l, uuid_of(slot)))
			ledger_remove(&l, uuid_of(slot));
		else
			come(&l, slot);
		remember(&l, was);
		for (unsigned int i = 0; i < l.n_claims; i++)
			marked[i] = l.claims[i].floats[0].moved;
		IS_INT(place_share_update(&l) >= 0, 1);
		check(&l, was, marked);
		for (unsigned int i = 0; i < l.n_claims; i++)
			n += l.claims[i].floats[0].moved;
		/* The same again moves nobody. */
		IS_INT(place_share_update(&l), n);
		for (unsigned int i = 0; i < l.n_claims && rnd(2); i++)
			l.claims[i].floats[0].moved = false;
	}
	/* All dedicated ones gone: everybody is at home again. */
	for (unsigned int i = l.n_claims; i-- > 0;)
		if (!idset_is_empty(l.claims[i].cpus))
			ledger_remove(&l, l.claims[i].uuid);
	(void)place_share_update(&l);
	for (unsigned int i = 0; i < l.n_claims; i++)
		OK(idset_equal(l.claims[i].floats[0].now, l.claims[i].floats[0].home));
	ledger_fini(&l);
}

TEST(any_sequence)
{
	for (seed = 1; seed <= 40;) {
		uint64_t at = seed;

		play(60);
		if (tap_failed) {
			TAP_FAIL("with seed %llu", (unsigned long long)at);
			return;
		}
		seed = at + 1;
	}
}

TAP_MAIN
