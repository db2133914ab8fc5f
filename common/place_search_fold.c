/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Min-plus convolution of cost tables, one item after the other, with the choices remembered. On 512 CPUs without any
 * grouping this is nearly all that a search does.
 */
#include "place_search_priv.h"

void search_fold_fini(struct search_fold *f)
{
	free(f->best);
	free(f->choice);
	*f = (struct search_fold){0};
}

/* Room for so many items and no more than `limit` vCPUs. */
int search_fold_init(struct search_fold *f, unsigned int max_items, unsigned int limit)
{
	*f = (struct search_fold){.limit = limit};
	f->best = malloc((limit + 1u) * sizeof(*f->best));
	f->choice = malloc((size_t)(max_items ? max_items : 1) * (limit + 1u) * sizeof(*f->choice));
	if (!f->best || !f->choice)
		return -ENOMEM;
	f->best[0] = (struct search_local){{0}};
	return 0;
}

static inline bool is_less(const struct search_local *a, const struct search_local *b)
{
	if (a->w[0] != b->w[0])
		return a->w[0] < b->w[0];
	return a->w[1] != b->w[1] ? a->w[1] < b->w[1] : a->w[2] < b->w[2];
}

/* An item of one CPU, as all are where there is no SMT: two candidates for each k. */
static void add_single(struct search_fold *f, struct search_local one, uint16_t *choice, unsigned int size,
		       unsigned int low)
{
	for (unsigned int k = size; k > 0 && k >= low; k--) {
		struct search_local with = f->best[k - 1];

		search_local_add(&with, &one);
		if (k <= f->size && is_less(&f->best[k], &with))
			continue;
		f->best[k] = with;
		choice[k] = 1;
	}
}

/*
 * One more item, of 0..n vCPUs. Sums below `low` are not needed. Items are to come with the highest number first: of
 * equal choices the last item has as many as it can, so the lowest CPUs are filled. Returns the steps that it took.
 */
uint64_t search_fold_add(struct search_fold *f, const struct search_local *item, unsigned int n, unsigned int low)
{
	unsigned int size = f->limit - f->size < n ? f->limit : f->size + n;
	uint16_t *choice = f->choice + (size_t)f->n_items++ * (f->limit + 1u);
	uint64_t steps = 0;

	if (n == 1 && !search_local_never(&item[1]) && !(item[0].w[0] | item[0].w[1] | item[0].w[2])) {
		memset(choice, 0, (size + 1u) * sizeof(*choice));
		add_single(f, item[1], choice, size, low);
		f->size = size;
		return 2 * (uint64_t)size;
	}
	/* Downwards and in place: best[k - j] of the items before is still there. */
	for (unsigned int k = size + 1; k-- > low;) {
		unsigned int from = k > f->size ? k - f->size : 0, to = k < n ? k : n, chosen = from;
		uint64_t w0 = f->best[k - from].w[0] + item[from].w[0];
		uint64_t w1 = f->best[k - from].w[1] + item[from].w[1];
		uint64_t w2 = f->best[k - from].w[2] + item[from].w[2];
		const struct search_local *a = &f->best[k - from], *b = &item[from];

		for (unsigned int j = from + 1; j <= to; j++) {
			uint64_t x0 = (--a)->w[0] + (++b)->w[0], x1, x2;

			if (x0 > w0)
				continue;
			x1 = a->w[1] + b->w[1];
			x2 = a->w[2] + b->w[2];
			if (x0 == w0 && (x1 > w1 || (x1 == w1 && x2 > w2)))
				continue;
			w0 = x0;
			w1 = x1;
			w2 = x2;
			chosen = j;
		}
		/* Sums of two that cannot be must not grow without end. */
		f->best[k] = (struct search_local){{w0 < SEARCH_NEVER ? w0 : SEARCH_NEVER, w1, w2}};
		choice[k] = (uint16_t)chosen;
		steps += to - from + 1;
	}
	f->size = size;
	return steps;
}

/* How many of *k vCPUs item i has; *k is then what the items before it have. To be asked from the last to the first. */
unsigned int search_fold_take(const struct search_fold *f, unsigned int i, unsigned int *k)
{
	unsigned int n = f->choice[(size_t)i * (f->limit + 1u) + *k];

	*k -= n;
	return n;
}
