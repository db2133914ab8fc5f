/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/queue.h"

#include "common/lines.h"
#include "common/num.h"

/* After an event; the last one is when a slow guest has loaded its drivers. */
static const unsigned int looks_ms[] = {QUEUE_SETTLE_MS, 5000, 20000, 60000};

static struct queued *find(const struct queue *q, const char *uuid)
{
	for (unsigned int i = 0; i < q->n; i++)
		if (streq(q->q[i].uuid, uuid))
			return &q->q[i];
	return NULL;
}

static int find_or_add(struct queue *q, const char *uuid, struct queued **ret)
{
	*ret = find(q, uuid);
	if (*ret)
		return 0;
	if (!uuid_is_valid(uuid))
		return -EINVAL;
	if (q->n >= QUEUE_DOMAINS_MAX)
		return -E2BIG;
	*ret = GROW(q->q, q->n);
	if (!*ret)
		return -ENOMEM;
	(void)snprintf((*ret)->uuid, sizeof((*ret)->uuid), "%s", uuid); /* it is one */
	q->n++;
	return 0;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Not before `at`, nor sooner after the last time than the gap; what waits already does not wait longer. */
static void plan_for(uint64_t *due, uint64_t last, uint64_t gap, uint64_t at)
{
	at = later(at, last ? last + gap : 0);
	if (*due == 0 || at < *due)
		*due = at;
}

int queue_event(struct queue *q, const char *uuid, enum want want, uint64_t now)
{
	struct queued *d;
	int r = find_or_add(q, uuid, &d);

	if (r < 0)
		return r;
	if (want & WANT_RETUNE)
		plan_for(&d->retune_due, d->retune_last, QUEUE_RETUNE_GAP_MS, now + QUEUE_SETTLE_MS);
	if (want & WANT_LATE) {
		d->looks = 0;
		plan_for(&d->late_due, d->late_last, QUEUE_LATE_GAP_MS, now + looks_ms[0]);
	}
	return 0;
}

int queue_news(struct queue *q, const char *uuid, uint64_t now)
{
	struct queued *d;
	int r = find_or_add(q, uuid, &d);
	uint64_t gap;

	if (r < 0)
		return r;
	gap = (uint64_t)QUEUE_NEWS_GAP_MS << (d->news > 10 ? 10 : d->news);
	plan_for(&d->late_due, d->late_last, d->news == 0 ? QUEUE_LATE_GAP_MS : gap > QUEUE_NEWS_MAX_MS ? QUEUE_NEWS_MAX_MS : gap,
		 now);
	return 0;
}

void queue_calm(struct queue *q, const char *uuid)
{
	struct queued *d = find(q, uuid);

	if (d)
		d->news = 0;
}

static uint64_t first_due(const struct queued *d)
{
	if (!d->late_due || !d->retune_due)
		return d->late_due + d->retune_due;
	return d->late_due < d->retune_due ? d->late_due : d->retune_due;
}

static struct queued *first(const struct queue *q)
{
	struct queued *best = NULL;

	for (unsigned int i = 0; i < q->n; i++)
		if (first_due(&q->q[i]) && (!best || first_due(&q->q[i]) < first_due(best)))
			best = &q->q[i];
	return best;
}

bool queue_take(struct queue *q, uint64_t now, char ret_uuid[37], enum want *ret)
{
	struct queued *d = first(q);

	if (!d || first_due(d) > now)
		return false;
	memcpy(ret_uuid, d->uuid, sizeof(d->uuid));
	/* A retune makes all steps again: what was to be looked at is with it. */
	if (d->retune_due && d->retune_due <= now) {
		*ret = WANT_RETUNE;
		d->retune_due = 0;
		d->retune_last = now;
		return true;
	}
	*ret = WANT_LATE;
	d->late_last = now;
	d->late_due = 0;
	d->news++;
	if (++d->looks < ARRAY_SIZE(looks_ms))
		d->late_due = now + later(looks_ms[d->looks] - looks_ms[d->looks - 1], QUEUE_LATE_GAP_MS);
	return true;
}

uint64_t queue_due(const struct queue *q)
{
	const struct queued *d = first(q);

	return d ? first_due(d) : UINT64_MAX;
}

void queue_drop(struct queue *q, const char *uuid)
{
	struct queued *d = find(q, uuid);

	if (d)
		*d = q->q[--q->n];
}

void queue_fini(struct queue *q)
{
	free(q->q);
	*q = (struct queue){0};
}
