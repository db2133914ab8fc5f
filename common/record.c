/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The CRC is the one of IEEE 802.3 (reflected polynomial 0xedb88320), over all bytes of the line before its
 * eight digits, the last tab included. It finds torn and hand-edited lines; it is no signature: the files are
 * in directories that only root can write. Four bytes are taken at a time: a ledger of 1000 domains is 200 KB
 * and is read in every prepare.
 */
#include <stdarg.h>

#include "num.h"
#include "record.h"

static uint32_t crc_table[4][256];

static void crc_prepare(void)
{
	if (crc_table[0][1])
		return;
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
		crc_table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int t = 1; t < 4; t++)
			crc_table[t][i] = crc_table[t - 1][i] >> 8 ^ crc_table[0][crc_table[t - 1][i] & 0xff];
}

static uint32_t crc32_of(const char *data, size_t len)
{
	const unsigned char *p = (const unsigned char *)data;
	uint32_t c = 0xffffffffu;

	crc_prepare();
	for (; len >= 4; len -= 4, p += 4) {
		c ^= p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
		c = crc_table[3][c & 0xff] ^ crc_table[2][c >> 8 & 0xff] ^ crc_table[1][c >> 16 & 0xff] ^
		    crc_table[0][c >> 24];
	}
	while (len--)
		c = c >> 8 ^ crc_table[0][(c ^ *p++) & 0xff];
	return ~c;
}

/* The letter after the backslash, 0: the byte stands for itself, 'x': two hex digits follow. */
static const char escapes[256] = {
	[0x01 ... 0x08] = 'x', ['\t'] = 't', ['\n'] = 'n', [0x0b ... 0x0c] = 'x',
	['\r'] = 'r', [0x0e ... 0x1f] = 'x', ['\\'] = '\\', [0x7f] = 'x',
};

/* A field and a tab behind it. Nearly all that is written needs no escape, and there may be a thousand fields. */
static char *put_field(char *to, const char *text)
{
	static const char hex[] = "0123456789abcdef";

	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		char how = escapes[*c];

		if (!how) {
			*to++ = (char)*c;
			continue;
		}
		*to++ = '\\';
		*to++ = how;
		if (how == 'x') {
			*to++ = hex[*c >> 4];
			*to++ = hex[*c & 0xf];
		}
	}
	*to++ = '\t';
	return to;
}

static void add_crc(struct sbuf *b, uint32_t crc)
{
	char text[9];

	for (int i = 0; i < 8; i++)
		text[i] = "0123456789abcdef"[crc >> (28 - 4 * i) & 0xf];
	text[8] = '\n';
	sbuf_addn(b, text, sizeof(text));
}

void record_add(struct sbuf *b, const char *type, ...)
{
	size_t start = b->len, most = 4 * strlen(type) + 1; /* "\\x1f" for each byte */
	unsigned int n = 1;
	const char *field;
	va_list ap;
	char *to;

	va_start(ap, type);
	while ((field = va_arg(ap, const char *))) {
		most += 4 * strlen(field) + 1;
		n++;
	}
	va_end(ap);
	to = sbuf_room(b, most);
	if (!to)
		return;
	to = put_field(to, type);
	va_start(ap, type);
	while ((field = va_arg(ap, const char *)))
		to = put_field(to, field);
	va_end(ap);
	*to = '\0';
	b->len = (size_t)(to - b->s);
	/* What the reader would not take must not be written: 8 digits and the newline are still to come. */
	if (n > RECORD_FIELDS || !*type || b->len - start + 9 > RECORD_MAX) {
		b->failed = true;
		return;
	}
	add_crc(b, crc32_of(b->s + start, b->len - start));
}

void record_add_line(struct sbuf *b, const char *line, size_t len)
{
	char *to = sbuf_room(b, len + 1);

	if (!to)
		return;
	memcpy(to, line, len);
	for (char *c = to; (c = memchr(c, '\0', (size_t)(to + len - c))); c++)
		*c = '\t';
	to[len] = '\n';
	to[len + 1] = '\0';
	b->len += len + 1;
}

static int unescape(char *s)
{
	char *to = s;

	while (*s) {
		char hex[3];
		uint64_t v;

		if (*s != '\\') {
			*to++ = *s++;
			continue;
		}
		s++;
		switch (*s++) {
		case 't':
			*to++ = '\t';
			break;
		case 'n':
			*to++ = '\n';
			break;
		case 'r':
			*to++ = '\r';
			break;
		case '\\':
			*to++ = '\\';
			break;
		case 'x':
			if (!s[0] || !s[1])
				return -EINVAL;
			memcpy(hex, s, 2);
			hex[2] = '\0';
			if (num_parse_hex(hex, &v) < 0 || v == 0)
				return -EINVAL;
			*to++ = (char)v;
			s += 2;
			break;
		default:
			return -EINVAL;
		}
	}
	*to = '\0';
	return 0;
}

/* One line without its newline. */
static bool parse_line(char *line, size_t len, struct record *ret)
{
	uint64_t crc;
	bool has_escapes;

	if (len < 10 || len + 1 > RECORD_MAX || line[len - 9] != '\t' ||
	    num_parse_hex(line + len - 8, &crc) < 0 || crc != crc32_of(line, len - 8))
		return false;
	line[len - 9] = '\0';
	has_escapes = strchr(line, '\\');
	ret->n = 0;
	ret->len = has_escapes ? 0 : len;
	for (char *field = line, *end; field; field = end) {
		end = strchr(field, '\t');
		if (end)
			*end++ = '\0';
		if (ret->n == RECORD_FIELDS || (has_escapes && unescape(field) < 0))
			return false;
		ret->f[ret->n++] = field;
	}
	return *ret->f[0] != '\0';
}

int record_next(char **pos, struct record *ret, unsigned int *bad)
{
	while (**pos) {
		char *line = *pos, *end = strchr(line, '\n');
		size_t len = end ? (size_t)(end - line) : strlen(line);

		*pos = line + len + (end ? 1 : 0);
		if (end)
			*end = '\0';
		if (len == 0)
			continue;
		/* Without its newline the last line may still have been whole, as hostfs_read_all() returns it. */
		if (parse_line(line, len, ret))
			return 1;
		if (bad)
			(*bad)++;
	}
	return 0;
}

const char *record_str(const struct record *r, unsigned int i)
{
	return i < r->n ? r->f[i] : "";
}

uint64_t record_u64(const struct record *r, unsigned int i, uint64_t fallback)
{
	uint64_t v;

	return i < r->n && num_parse_u64(r->f[i], &v) == 0 ? v : fallback;
}
