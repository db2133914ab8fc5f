/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the watcher does when: events of domains in, what is called in which order out. */
#include "watch/queue.c"

#include "tap.h"

#define A "aaaaaaaa-2222-3333-4444-555555555555"
#define B "bbbbbbbb-2222-3333-4444-555555555555"

/* When what is next comes: *at; WANT_LATE, WANT_RETUNE, or 0 where nothing is waiting. */
static unsigned int next(struct queue *q, uint64_t *at, char uuid[37])
{
	enum want want = 0;
	uint64_t due = queue_due(q);

	if (due == UINT64_MAX)
		return 0;
	if (due > *at) {
		OK(!queue_take(q, due - 1, uuid, &want));
		*at = due;
	}
	OK(queue_take(q, *at, uuid, &want));
	return want;
}

TEST(an_event_is_looked_at_several_times)
{
	static const uint64_t looks[] = {1000, 6000, 21000, 61000};
	struct queue q = {0};
	uint64_t now = 0;
	char uuid[37];

	IS_INT(queue_due(&q) == UINT64_MAX, 1);
	IS_INT(queue_event(&q, A, WANT_LATE, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(looks); i++) {
		IS_INT(next(&q, &now, uuid), WANT_LATE);
		IS_STR(uuid, A);
		OK(now >= looks[i] && now <= looks[i] + QUEUE_LATE_GAP_MS);
	}
	IS_INT(next(&q, &now, uuid), 0);
	queue_fini(&q);
}

TEST(a_retune_comes_first_and_once)
{
	struct queue q = {0};
	uint64_t now = 5000;
	char uuid[37];

	for (int i = 0; i < 100; i++)
		IS_INT(queue_event(&q, B, WANT_LATE | WANT_RETUNE, now + i), 0);
	IS_INT(next(&q, &now, uuid), WANT_RETUNE);
	IS_INT(now, 6000);
	IS_INT(next(&q, &now, uuid), WANT_LATE);
	IS_INT(queue_event(&q, B, WANT_RETUNE, now), 0);
	while (next(&q, &now, uuid) != WANT_RETUNE)
		;
	OK(now >= 6000 + QUEUE_RETUNE_GAP_MS);
	queue_fini(&q);
}

/* A guest that resets itself without end costs no more than one that does it now and then. */
TEST(a_storm_is_bounded)
{
	struct queue q = {0};
	unsigned int late = 0, retune = 0;
	enum want want;
	char uuid[37];

	for (uint64_t now = 1; now <= 600000; now += 10) {
		IS_INT(queue_event(&q, A, WANT_LATE | WANT_RETUNE, now), 0);
		while (queue_take(&q, now, uuid, &want)) {
			late += want == WANT_LATE;
			retune += want == WANT_RETUNE;
		}
	}
	OK(late > 60 && late <= 600000 / QUEUE_LATE_GAP_MS + 1);
	OK(retune > 30 && retune <= 600000 / QUEUE_RETUNE_GAP_MS + 1);
	queue_fini(&q);
}

TEST(news_and_who_has_gone)
{
	struct queue q = {0};
	uint64_t now = 100;
	enum want want;
	char uuid[37];

	IS_INT(queue_news(&q, A, now), 0);
	IS_INT(queue_event(&q, B, WANT_LATE, now), 0);
	OK(queue_take(&q, now, uuid, &want));
	IS_STR(uuid, A);
	IS_INT(queue_news(&q, A, now + 1), 0);
	IS_INT(next(&q, &now, uuid), WANT_LATE);
	IS_STR(uuid, B);
	queue_drop(&q, B);
	IS_INT(next(&q, &now, uuid), WANT_LATE);
	IS_STR(uuid, A);
	OK(now >= 100 + QUEUE_LATE_GAP_MS);
	queue_drop(&q, A);
	queue_drop(&q, A);
	IS_INT(next(&q, &now, uuid), 0);
	IS_INT(queue_event(&q, "../../etc", WANT_LATE, now), -EINVAL);
	queue_fini(&q);
}

/* Threads of a pool that come and go: seen at every look, dealt with less and less often, until it is calm. */
TEST(news_without_end)
{
	struct queue q = {0};
	unsigned int first = 0, second = 0;
	enum want want;
	char uuid[37];

	for (uint64_t now = 10000; now <= 1200000; now += 10000) {
		IS_INT(queue_news(&q, A, now), 0);
		while (queue_take(&q, now, uuid, &want))
			(now <= 600000 ? &first : &second)[0]++;
	}
	OK(first >= 8 && first <= 16);
	OK(second >= 5 && second <= 600000 / QUEUE_NEWS_MAX_MS + 1);
	queue_calm(&q, A);
	IS_INT(queue_news(&q, A, 1300000), 0);
	OK(queue_take(&q, 1300000, uuid, &want));
	queue_calm(&q, B);
	queue_fini(&q);
}

TEST(too_many)
{
	struct queue q = {0};
	char uuid[37];

	for (unsigned int i = 0; i < QUEUE_DOMAINS_MAX; i += 100)
		for (unsigned int k = 0; k < 100; k++) {
			(void)snprintf(uuid, sizeof(uuid), "aaaaaaaa-2222-3333-4444-5555%08x", i + k);
			if (queue_event(&q, uuid, WANT_LATE, 1) < 0)
				TAP_FAIL("%u", i + k);
		}
	IS_INT(queue_event(&q, B, WANT_LATE, 1), -E2BIG);
	IS_INT(queue_event(&q, uuid, WANT_LATE, 1), 0);
	queue_fini(&q);
}

TAP_MAIN
