/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared objects: interrupts that come while a domain has narrowed what new ones get (apply_batch.h). Of a new one the kernel
 * takes what is online of the default, and of that what is on the device's node, if any (irq_setup_affinity(),
 * kernel/irq/manage.c); proc/irq/N/node says which node. It goes back to what it would have got of the original.
 *
 * Who had such a mask before us must be told apart from them. So whatever says what new ones get from now on is claimed too,
 * with that for its original: by the domain that narrows, and where one goes, for those who stay.
 */
#include "apply_batch.h"
#include "irq.h"
#include "lines.h"

/* What was cut of the default. */
enum cut { CUT_NOTHING, CUT_OFFLINE, CUT_OTHER_NODES, CUTS };

static bool read_node(const struct hostfs *fs, const char *object, struct idset *ret)
{
	char text[BACKEND_VALUE_MAX];
	int len = (int)(strrchr(object, '/') - object), node;

	return hostfs_read(fs, text, sizeof(text), "%.*s/node", len, object) > 0 && sscanf(text, "%d", &node) == 1 && node >= 0 &&
	       hostfs_read(fs, text, sizeof(text), "sys/devices/system/node/node%d/cpulist", node) > 0 &&
	       idset_parse(text, ret) == 0;
}

static struct idset cut(const struct hostfs *fs, const struct shared *d, const char *object, const struct idset *of,
			enum cut how)
{
	struct idset set = *of, part;

	if (how != CUT_NOTHING && idset_parse(d->order, &part) == 0) /* what is online */
		idset_and(&set, &part);
	if (how == CUT_OTHER_NODES && read_node(fs, object, &part) && idset_intersects(&set, &part))
		idset_and(&set, &part);
	return set;
}

/* Whether an interrupt has what new ones get, and how that was cut for it: as far as it makes no difference. */
static bool has_default(const struct hostfs *fs, const struct shared *d, const char *object, const char *now,
			const struct idset *value, enum cut *ret)
{
	struct idset is, set;

	if (idset_parse(now, &is) < 0 || !idset_is_subset(&is, value))
		return false;
	for (int how = CUTS - 1; how >= 0; how--) {
		set = cut(fs, d, object, value, (enum cut)how);
		*ret = (enum cut)how;
		if (idset_equal(&is, &set))
			return true;
	}
	return false;
}

/* What new interrupts get by the claims on it, one domain's left out; false: it is not narrowed, or not known. */
static bool narrowed(const struct shared *d, const char *but, struct idset *ret)
{
	struct idset original, off;

	if (!d || idset_parse(d->original, &original) < 0)
		return false;
	*ret = original;
	/* Somebody was killed who was putting it back, or could not. */
	if (d->n_claims == 0 && idset_parse(d->readback ? d->readback : d->before, ret) < 0)
		return false;
	for (unsigned int i = 0; i < d->n_claims; i++)
		if (!streq(d->claims[i].uuid, but) && irq_kept_clear(d->claims[i].wanted, &off))
			idset_andnot(ret, &off);
	return !idset_is_empty(ret) && !idset_equal(ret, &original);
}

static const struct shared *the_default(const struct batch *b)
{
	return ledger_find_shared(b->l, "irq", IRQ_DEFAULT);
}

void batch_begin_interrupts(struct batch *b)
{
	b->was_narrow = narrowed(the_default(b), "", &b->narrow);
}

/* Of the default's original what it would have got; NULL: what it has, or no memory. */
static char *wide(const struct hostfs *fs, const struct shared *d, const char *object, const char *now, enum cut how)
{
	struct idset original, is;

	if (idset_parse(d->original, &original) < 0 || idset_parse(now, &is) < 0)
		return NULL;
	original = cut(fs, d, object, &original, how);
	return idset_equal(&original, &is) ? NULL : idset_text(&original);
}

/* Whoever keeps interrupts off has a say in one that goes back to what new ones got before him; but for one domain. */
static int claim_for_all(struct shared *s, const struct shared *d, const char *but)
{
	int rc = 0;

	for (unsigned int i = 0; i < d->n_claims && rc == 0; i++)
		if (!streq(d->claims[i].uuid, but) && !shared_claim_of(s, d->claims[i].uuid))
			rc = shared_set_claim(s, d->claims[i].uuid, d->claims[i].wanted);
	return rc;
}

int batch_settle_born(struct batch *b, struct shared *s, const char *now, const char *uuid)
{
	const struct shared *d = the_default(b);
	_cleanup_free_ char *original = NULL;
	enum cut how;
	int rc;

	if (!b->was_narrow || s == d || !has_default(b->a->fs, d, s->object, now, &b->narrow, &how))
		return 0;
	original = wide(b->a->fs, d, s->object, now, how);
	if (!original)
		return 0;
	rc = shared_set(s, &s->original, original);
	if (rc == 0)
		rc = claim_for_all(s, d, uuid);
	return rc < 0 ? rc : 1;
}

bool batch_is_as_new(struct batch *b, const char *object, const char *now)
{
	const struct shared *d = the_default(b);
	enum cut how;

	if (b->was_narrow && has_default(b->a->fs, d, object, now, &b->narrow, &how))
		return true;
	if (!b->narrow_known) /* the claim on what new ones get is the first of a domain's */
		b->is_narrow = narrowed(d, "", &b->narrow_next);
	b->narrow_known = true;
	return b->is_narrow && has_default(b->a->fs, d, object, now, &b->narrow_next, &how);
}

int batch_keep_preset(struct batch *b, struct shared *s, const char *uuid)
{
	const struct shared *d = the_default(b);
	struct idset left;
	enum cut how;

	if (!d || s == d || s->n_claims || s->fold != FOLD_IRQ || !narrowed(d, uuid, &left) ||
	    !has_default(b->a->fs, d, s->object, s->original, &left, &how))
		return 0;
	return claim_for_all(s, d, uuid);
}

static int adopt(struct ledger *l, const struct shared *d, const char *uuid, const char *object, const char *now,
		 const char *original)
{
	struct shared like = *d, *s;
	char target[24];

	(void)snprintf(target, sizeof(target), "irq%s", object + strlen(IRQ_DIR "/")); /* cut behind a longer number than there is */
	target[strcspn(target, "/")] = '\0';
	like.target = target;
	s = batch_new_entry(l, &like, object, original, now);
	return s ? claim_for_all(s, d, uuid) : -ENOMEM;
}

static int adopt_one(struct apply_run *a, struct ledger *l, const struct shared *d, const char *uuid, const char *object,
		     const struct idset *narrow, const struct idset *left)
{
	_cleanup_free_ char *now = NULL, *original = NULL;
	enum cut how;

	if (ledger_find_shared(l, "irq", object) || apply_read(a, backend_find("irq"), object, &now) < 0)
		return 0;
	if (has_default(a->fs, d, object, now, narrow, &how) && (original = wide(a->fs, d, object, now, how)))
		return adopt(l, d, uuid, object, now, original);
	/* Not new; but it will look like that as long as somebody stays who has narrowed it. */
	return left && has_default(a->fs, d, object, now, left, &how) ? adopt(l, d, uuid, object, now, now) : 0;
}

int batch_adopt_born(struct apply_run *a, struct ledger *l, const char *uuid)
{
	const struct shared *d = ledger_find_shared(l, "irq", IRQ_DEFAULT);
	struct idset narrow, left;
	struct irq_set all = {0};
	bool is_narrow, stays;
	int rc = 0;

	if (!d || (d->n_claims && !shared_claim_of(d, uuid)))
		return 0;
	is_narrow = narrowed(d, "", &narrow);
	stays = d->n_claims > 1 && narrowed(d, uuid, &left);
	if (!is_narrow || irq_find_all(a->fs, &all) < 0)
		return 0;
	if (ledger_reserve_shared(l, l->n_shared + all.n) < 0)
		rc = -ENOMEM;
	d = ledger_find_shared(l, "irq", IRQ_DEFAULT);
	for (unsigned int i = 0; i < all.n && rc == 0; i++) {
		char object[64];

		(void)snprintf(object, sizeof(object), IRQ_DIR "/%u/smp_affinity_list", all.irq[i]); /* fits */
		rc = adopt_one(a, l, d, uuid, object, &narrow, stays ? &left : NULL);
	}
	free(all.irq);
	return rc;
}
