/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is to be done for which domain, and when. However often something happens to a domain, it is not dealt with more
 * often than the gaps below, and what comes meanwhile is one. After an event the domain is looked at several times: a
 * guest's drivers take their time. Pure: time comes in, in ms of a clock that does not jump.
 */
#pragma once

#include "common/util.h"

enum want {
	WANT_LATE = 1,   /* apply late */
	WANT_RETUNE = 2, /* domtune retune */
};

#define QUEUE_SETTLE_MS     1000   /* events come in groups: this long after the first one */
#define QUEUE_LATE_GAP_MS   5000
#define QUEUE_NEWS_GAP_MS   10000  /* doubled each time up to the next, while there are news at each look */
#define QUEUE_NEWS_MAX_MS   80000
#define QUEUE_RETUNE_GAP_MS 15000
#define QUEUE_DOMAINS_MAX   10000

struct queued {
	char uuid[37];
	uint64_t late_due, retune_due;   /* 0: not wanted */
	uint64_t late_last, retune_last; /* when it was begun last; 0 never */
	unsigned int looks;              /* so many have been made since the last event */
	unsigned int news;               /* so many in a row */
};

struct queue {
	struct queued *q;
	unsigned int n;
};

/* An event: once is enough, looks follow. 0, -EINVAL no uuid, -ENOMEM, -E2BIG. */
int queue_event(struct queue *q, const char *uuid, enum want want, uint64_t now);
/*
 * It was seen that there is something: one look. Threads of QEMU's pools come and go all the time with some guests: these
 * are looked at less and less often, until queue_calm() says that nothing was seen.
 */
int queue_news(struct queue *q, const char *uuid, uint64_t now);
void queue_calm(struct queue *q, const char *uuid);
/* What is due, the one that has waited longest, and from here on it is being done; false: nothing. */
bool queue_take(struct queue *q, uint64_t now, char ret_uuid[37], enum want *ret);
/* When something will be due; UINT64_MAX: nothing is waiting. */
uint64_t queue_due(const struct queue *q);
void queue_drop(struct queue *q, const char *uuid);
void queue_fini(struct queue *q);
