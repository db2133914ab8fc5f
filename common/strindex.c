/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Open addressing, at most half full. */
#include "strindex.h"

/* FNV-1a (draft-eastlake-fnv). */
uint32_t strindex_hash(const char *a, const char *b)
{
	uint32_t h = 2166136261u;

	for (; *a; a++)
		h = (h ^ (unsigned char)*a) * 16777619u;
	h = (h ^ '\n') * 16777619u;
	for (; *b; b++)
		h = (h ^ (unsigned char)*b) * 16777619u;
	return h;
}

static void put(struct strindex *x, uint32_t hash, uint32_t number)
{
	unsigned int i = hash & (x->room - 1);

	while (x->slots[i].number)
		i = (i + 1) & (x->room - 1);
	x->slots[i] = (struct strindex_slot){hash, number};
}

static int grow(struct strindex *x)
{
	struct strindex bigger = {.room = x->room ? 2 * x->room : 64, .n = x->n};

	bigger.slots = calloc(bigger.room, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (unsigned int i = 0; i < x->room; i++)
		if (x->slots[i].number)
			put(&bigger, x->slots[i].hash, x->slots[i].number);
	free(x->slots);
	*x = bigger;
	return 0;
}

int strindex_add(struct strindex *x, uint32_t hash, unsigned int number)
{
	if (number == UINT32_MAX || (2 * x->n >= x->room && grow(x) < 0))
		return -ENOMEM;
	put(x, hash, number + 1);
	x->n++;
	return 0;
}

bool strindex_next(const struct strindex *x, uint32_t hash, unsigned int *at, unsigned int *ret)
{
	while (*at < x->room) {
		const struct strindex_slot *s = &x->slots[(hash + (*at)++) & (x->room - 1)];

		if (!s->number)
			return false;
		if (s->hash == hash) {
			*ret = s->number - 1;
			return true;
		}
	}
	return false;
}

void strindex_fini(struct strindex *x)
{
	free(x->slots);
	*x = (struct strindex){0};
}
