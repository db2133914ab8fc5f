/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "idset.h"

#define WORDS (IDSET_MAX / 64)

void idset_add(struct idset *s, unsigned int id)
{
	if (id < IDSET_MAX)
		s->w[id / 64] |= UINT64_C(1) << (id % 64);
}

void idset_del(struct idset *s, unsigned int id)
{
	if (id < IDSET_MAX)
		s->w[id / 64] &= ~(UINT64_C(1) << (id % 64));
}

bool idset_has(const struct idset *s, unsigned int id)
{
	return id < IDSET_MAX && (s->w[id / 64] >> (id % 64) & 1);
}

unsigned int idset_count(const struct idset *s)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < WORDS; i++)
		if (s->w[i])
			n += (unsigned int)__builtin_popcountll(s->w[i]);
	return n;
}

bool idset_is_empty(const struct idset *s)
{
	for (unsigned int i = 0; i < WORDS; i++)
		if (s->w[i])
			return false;
	return true;
}

bool idset_is_subset(const struct idset *s, const struct idset *of)
{
	for (unsigned int i = 0; i < WORDS; i++)
		if (s->w[i] & ~of->w[i])
			return false;
	return true;
}

bool idset_intersects(const struct idset *a, const struct idset *b)
{
	for (unsigned int i = 0; i < WORDS; i++)
		if (a->w[i] & b->w[i])
			return true;
	return false;
}

bool idset_equal(const struct idset *a, const struct idset *b)
{
	return memcmp(a->w, b->w, sizeof(a->w)) == 0;
}

void idset_or(struct idset *to, const struct idset *s)
{
	for (unsigned int i = 0; i < WORDS; i++)
		to->w[i] |= s->w[i];
}

void idset_and(struct idset *to, const struct idset *s)
{
	for (unsigned int i = 0; i < WORDS; i++)
		to->w[i] &= s->w[i];
}

void idset_andnot(struct idset *to, const struct idset *s)
{
	for (unsigned int i = 0; i < WORDS; i++)
		to->w[i] &= ~s->w[i];
}

int idset_first(const struct idset *s)
{
	return idset_next(s, -1);
}

int idset_next(const struct idset *s, int after)
{
	unsigned int id, i;
	uint64_t w;

	if (after >= IDSET_MAX - 1)
		return -1;
	id = after < 0 ? 0 : (unsigned int)after + 1;
	i = id / 64;
	w = s->w[i] & (~UINT64_C(0) << (id % 64));
	while (!w) {
		if (++i == WORDS)
			return -1;
		w = s->w[i];
	}
	return (int)(i * 64 + (unsigned int)__builtin_ctzll(w));
}

/* Add or remove from..to. */
static void set_range(struct idset *s, unsigned int from, unsigned int to, bool on)
{
	for (unsigned int i = from / 64; i <= to / 64; i++) {
		uint64_t m = ~UINT64_C(0);

		if (i == from / 64)
			m &= ~UINT64_C(0) << (from % 64);
		if (i == to / 64)
			m &= ~UINT64_C(0) >> (63 - to % 64);
		if (on)
			s->w[i] |= m;
		else
			s->w[i] &= ~m;
	}
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_blanks(const char *p)
{
	while (is_blank(*p))
		p++;
	return p;
}

/* One number at *p. A large one is read to its end, so that "99999-x" is no list rather than out of range. */
static int take_id(const char **p, unsigned int *ret, bool *over)
{
	unsigned int v = 0;
	const char *at = *p;

	for (; *at >= '0' && *at <= '9'; at++)
		if (v < 10 * IDSET_MAX)
			v = v * 10 + (unsigned int)(*at - '0');
	if (at == *p)
		return -EINVAL;
	if (v >= IDSET_MAX)
		*over = true;
	*p = at;
	*ret = v;
	return 0;
}

/*
 * "N", "N-M", "N-M:USED/GROUP" (Documentation/admin-guide/kernel-parameters.rst: of each GROUP numbers the
 * first USED) or "^N" at *p, applied to *s. As in libvirt there is no "^N-M".
 */
static int take_item(const char **p, struct idset *s, bool *over)
{
	unsigned int from, to, used, group;
	bool on = **p != '^';

	if (!on)
		(*p)++;
	if (take_id(p, &from, over) < 0)
		return -EINVAL;
	to = from;
	*p = skip_blanks(*p);
	if (on && **p == '-') {
		*p = skip_blanks(*p + 1);
		if (take_id(p, &to, over) < 0 || to < from)
			return -EINVAL;
	}
	if (!on || **p != ':') {
		if (!*over)
			set_range(s, from, to, on);
		return 0;
	}
	(*p)++;
	if (take_id(p, &used, over) < 0 || **p != '/')
		return -EINVAL;
	(*p)++;
	if (take_id(p, &group, over) < 0 || used == 0 || group < used)
		return -EINVAL;
	for (unsigned int at = from; at <= to && !*over; at += group)
		set_range(s, at, at + used - 1 < to ? at + used - 1 : to, on);
	return 0;
}

int idset_parse(const char *text, struct idset *ret)
{
	struct idset s = IDSET_EMPTY;
	const char *p = skip_blanks(text);
	bool over = false;

	if (!*p)
		return -ENODATA;
	for (;;) {
		int r = take_item(&p, &s, &over);

		if (r < 0)
			return r;
		p = skip_blanks(p);
		if (!*p)
			break;
		if (*p != ',')
			return -EINVAL;
		p = skip_blanks(p + 1);
		if (!*p)
			break; /* libvirt and the kernel take a comma at the end */
	}
	if (over)
		return -ERANGE;
	if (idset_is_empty(&s))
		return -ENODATA;
	*ret = s;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/*
 * From the end: each group of up to eight digits is one 32-bit word, and a comma starts the next (lib/bitmap.c
 * prints them so). Old kernels print a lone "0x"-less word without commas.
 */
int idset_parse_mask(const char *text, struct idset *ret)
{
	struct idset s = IDSET_EMPTY;
	size_t len = strlen(text), digits = 0;
	unsigned int word = 0;
	bool over = false;

	while (len && is_blank(text[len - 1]))
		len--;
	if (!len)
		return -ENODATA;
	for (size_t i = len; i-- > 0;) {
		int d;

		if (text[i] == ',') {
			if (!digits || i == 0)
				return -EINVAL;
			word++;
			digits = 0;
			continue;
		}
		d = hex_digit(text[i]);
		if (d < 0 || digits == 8)
			return -EINVAL;
		for (unsigned int bit = 0; bit < 4; bit++) {
			size_t id = (size_t)word * 32 + digits * 4 + bit;

			if (!(d >> bit & 1))
				continue;
			if (id >= IDSET_MAX)
				over = true;
			else
				idset_add(&s, (unsigned int)id);
		}
		digits++;
	}
	if (over)
		return -ERANGE;
	if (idset_is_empty(&s))
		return -ENODATA;
	*ret = s;
	return 0;
}

/* A number of at most four digits; its length. snprintf() would be most of what a thousand lists cost. */
static size_t put_id(char *at, unsigned int id)
{
	char digits[4];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + id % 10);
	while (id /= 10);
	for (size_t i = 0; i < n; i++)
		at[i] = digits[n - 1 - i];
	return n;
}

int idset_format(const struct idset *s, char *buf, size_t size)
{
	size_t len = 0;
	int id = idset_first(s);

	if (size == 0)
		return -E2BIG;
	while (id >= 0) {
		char item[12]; /* ",8190-8191" */
		size_t n = 0;
		int last = id, next;

		for (next = idset_next(s, last); next == last + 1; next = idset_next(s, last))
			last = next;
		if (len)
			item[n++] = ',';
		n += put_id(item + n, (unsigned int)id);
		if (last != id) {
			item[n++] = '-';
			n += put_id(item + n, (unsigned int)last);
		}
		if (n >= size - len) {
			buf[0] = '\0';
			return -E2BIG;
		}
		memcpy(buf + len, item, n);
		len += n;
		id = next;
	}
	buf[len] = '\0';
	return (int)len;
}

char *idset_text(const struct idset *s)
{
	/* Every second number is the longest list: IDSET_MAX / 2 numbers of four digits and a comma. */
	size_t most = IDSET_MAX / 2 * 5 + 1;
	char few[256], *text;

	if (idset_format(s, few, sizeof(few)) >= 0)
		return strdup(few);
	text = malloc(most);
	if (text && idset_format(s, text, most) < 0) {
		free(text);
		text = NULL;
	}
	return text;
}
