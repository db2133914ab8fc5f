/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the readers and writers of our record files share: numbers as fields, arrays that grow. */
#pragma once

#include "record.h"

struct number {
	char text[24]; /* 20 digits fit */
};

/* Some thousand numbers make up the record of a guest with many interrupts: snprintf() would be most of its cost. */
static inline const char *number(struct number *n, uint64_t value)
{
	char digits[20], *d = digits + sizeof(digits);
	size_t len;

	do {
		*--d = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	len = (size_t)(digits + sizeof(digits) - d);
	memcpy(n->text, d, len);
	n->text[len] = '\0';
	return n->text;
}

/* Room for one more at the end of an array that grows by doubling; zeroed. NULL without memory. */
static inline void *grow(void **array, unsigned int n, size_t size)
{
	void *bigger;

	if (n == 0 || (n & (n - 1)) == 0) {
		bigger = reallocarray(*array, n ? 2 * (size_t)n : 1, size);
		if (!bigger)
			return NULL;
		*array = bigger;
	}
	return memset((char *)*array + n * size, 0, size);
}

#define GROW(array, n) ((__typeof__(array))grow((void **)&(array), (n), sizeof(*(array))))

/* A copy of text in the place of *to. 0 or -ENOMEM. */
static inline int replace_text(char **to, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*to);
	*to = copy;
	return 0;
}
