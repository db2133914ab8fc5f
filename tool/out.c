/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tables are kept whole until they are printed, since the widths of columns follow from all cells. Where the
 * natural widths do not fit, the widest wrapping column gives way, one column at a time, down to a floor; what is
 * still too wide then is left to the terminal.
 */
#include "tool/out.h"

#include <locale.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <wchar.h>

#include "common/num.h"
#include "common/sbuf.h"

#define WIDTH_FLOOR 12 /* a wrapping column is never made narrower */
#define WIDTH_MIN   40 /* a terminal that claims less is not believed */
#define WIDTH_MAX   1000
#define GAP         2

static struct {
	unsigned int width; /* 0: no limit */
	bool colour;
} out;

static const char *const style_code[OUT_STYLE_MAX] = {
	[OUT_PLAIN] = "",        [OUT_HEAD] = "\033[1m", [OUT_GOOD] = "\033[32m",
	[OUT_WARN] = "\033[33m", [OUT_BAD] = "\033[31m", [OUT_DIM] = "\033[2m",
};

void out_init(void)
{
	const char *columns = getenv("COLUMNS"), *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
	bool tty = isatty(STDOUT_FILENO);
	struct winsize ws = { 0 };
	uint64_t n;

	/* Only wcwidth() needs it; without that locale every character counts as one column. */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	if (columns && num_parse_range(columns, WIDTH_MIN, WIDTH_MAX, &n) == 0)
		out.width = (unsigned int)n;
	else if (tty && ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col >= WIDTH_MIN)
		out.width = ws.ws_col < WIDTH_MAX ? ws.ws_col : WIDTH_MAX;
	else if (tty)
		out.width = 80;
	out.colour = tty && !(no_color && *no_color) && term && !streq(term, "dumb");
}

int out_utf8(const char **s)
{
	static const struct {
		unsigned char mask, lead;
		int min;
	} form[] = {
		{ 0x80, 0x00, 0 },
		{ 0xe0, 0xc0, 0x80 },
		{ 0xf0, 0xe0, 0x800 },
		{ 0xf8, 0xf0, 0x10000 },
	};
	const unsigned char *p = (const unsigned char *)*s;

	(*s)++;
	for (unsigned int more = 0; more < ARRAY_SIZE(form); more++) {
		int c = *p & (unsigned char)~form[more].mask;

		if ((*p & form[more].mask) != form[more].lead)
			continue;
		for (unsigned int i = 1; i <= more; i++) {
			if ((p[i] & 0xc0) != 0x80)
				return -1;
			c = c << 6 | (p[i] & 0x3f);
		}
		if (c < form[more].min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return -1;
		*s += more;
		return c;
	}
	return -1;
}

static bool is_harmful(int c)
{
	static const struct {
		int from, to;
	} range[] = {
		{ 0, 0x1f }, { 0x7f, 0x9f }, { 0x200e, 0x200f }, { 0x2028, 0x202e }, { 0x2066, 0x2069 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(range); i++)
		if (c >= range[i].from && c <= range[i].to)
			return true;
	return c < 0;
}

char *out_clean(const char *text)
{
	struct sbuf b = { 0 };

	while (*text) {
		const char *from = text;
		int c = out_utf8(&text);

		if (c == '\n' || c == '\t')
			sbuf_addn(&b, " ", 1);
		else if (is_harmful(c))
			sbuf_addn(&b, "?", 1);
		else
			sbuf_addn(&b, from, (size_t)(text - from));
	}
	return sbuf_steal(&b);
}

static unsigned int char_width(int c)
{
	int w = wcwidth((wchar_t)c);

	return w < 0 ? 1 : (unsigned int)w;
}

unsigned int out_width(const char *text)
{
	unsigned int w = 0;

	while (*text)
		w += char_width(out_utf8(&text));
	return w;
}

/*
 * How much of text fits into `width` columns: bytes to show now (at least one character), and in *skip how many
 * blanks to drop after them. Breaks after blanks and commas where there are any, else anywhere.
 */
static size_t fit(const char *text, unsigned int width, size_t *skip)
{
	const char *s = text;
	size_t last = 0, here = 0;
	unsigned int w = 0;

	*skip = 0;
	while (*s) {
		const char *next = s;
		int c = out_utf8(&next);
		unsigned int cw = char_width(c);

		if (width && w + cw > width && s > text) {
			if (c == ' ')
				last = (size_t)(s - text);
			here = last ? last : (size_t)(s - text);
			while (text[here + *skip] == ' ')
				(*skip)++;
			while (here > 1 && text[here - 1] == ' ')
				here--, (*skip)++;
			return here;
		}
		w += cw;
		s = next;
		if (c == ' ' || c == ',')
			last = (size_t)(s - text);
	}
	return (size_t)(s - text);
}

static void put_styled(enum out_style style, const char *text, size_t len)
{
	bool colour = out.colour && style != OUT_PLAIN && len;

	if (colour)
		(void)fputs(style_code[style], stdout);
	(void)fwrite(text, 1, len, stdout);
	if (colour)
		(void)fputs("\033[0m", stdout);
}

static void put_blanks(unsigned int n)
{
	(void)printf("%*s", (int)n, "");
}

/* printf into malloc'ed, cleaned text; NULL without memory. */
PRINTF(1, 0) static char *format_clean(const char *fmt, va_list ap)
{
	_cleanup_free_ char *raw = NULL;

	if (vasprintf(&raw, fmt, ap) < 0) {
		raw = NULL;
		return NULL;
	}
	return out_clean(raw);
}

void out_line(enum out_style style, unsigned int indent, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	const char *s;
	va_list ap;

	va_start(ap, fmt);
	text = format_clean(fmt, ap);
	va_end(ap);
	if (!text)
		return;
	s = text;
	do {
		size_t skip, n = fit(s, out.width > indent + WIDTH_FLOOR ? out.width - indent : 0, &skip);

		put_blanks(indent);
		put_styled(style, s, n);
		(void)putchar('\n');
		s += n + skip;
	} while (*s);
}

void out_section(const char *title)
{
	(void)putchar('\n');
	out_line(OUT_HEAD, 0, "%s", title);
}

void out_table_init(struct out_table *t, const struct out_column *columns, unsigned int n_columns, unsigned int indent)
{
	*t = (struct out_table){ .columns = columns, .n_columns = n_columns, .indent = indent };
}

/* Takes text; NULL is a lack of memory. */
static void add_cell(struct out_table *t, enum out_style style, char *text)
{
	struct out_cell *cells = NULL;

	if (text && !t->failed)
		cells = reallocarray(t->cells, t->n_cells + 1, sizeof(*cells));
	if (!cells) {
		t->failed = true;
		free(text);
		return;
	}
	t->cells = cells;
	t->cells[t->n_cells++] = (struct out_cell){ .text = text, .style = style };
}

void out_cell(struct out_table *t, enum out_style style, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_cell(t, style, format_clean(fmt, ap));
	va_end(ap);
}

void out_cell_str(struct out_table *t, const char *text)
{
	add_cell(t, OUT_PLAIN, out_clean(text && *text ? text : "-"));
}

static void shrink(const struct out_table *t, unsigned int *width)
{
	unsigned int total = t->indent + GAP * (t->n_columns - 1);

	for (unsigned int c = 0; c < t->n_columns; c++)
		total += width[c];
	while (out.width && total > out.width) {
		unsigned int widest = t->n_columns;

		for (unsigned int c = 0; c < t->n_columns; c++)
			if (t->columns[c].wrap && width[c] > WIDTH_FLOOR &&
			    (widest == t->n_columns || width[c] >= width[widest]))
				widest = c;
		if (widest == t->n_columns)
			return;
		width[widest]--;
		total--;
	}
}

/* The last cell of a row that says anything; what it needs beyond its column is no reason to widen that. */
static unsigned int last_cell(const struct out_table *t, const struct out_cell *row)
{
	unsigned int c = t->n_columns - 1;

	while (c > 0 && !*row[c].text)
		c--;
	return c;
}

/* How wide a cell may be: the one that is followed by none takes what is left of the line. */
static unsigned int room_of(const struct out_table *t, unsigned int c, bool last, const unsigned int *width)
{
	unsigned int before = t->indent;

	if (!t->columns[c].wrap)
		return 0;
	if (!last || c + 1 == t->n_columns)
		return width[c];
	for (unsigned int i = 0; i < c; i++)
		before += width[i] + GAP;
	return out.width > before + width[c] ? out.width - before : out.width ? width[c] : 0;
}

/* One row, over as many lines as its longest cell needs. */
static void print_row(const struct out_table *t, const struct out_cell *row, const unsigned int *width)
{
	const char *rest[OUT_COLUMNS_MAX];
	unsigned int last = last_cell(t, row);
	bool more;

	for (unsigned int c = 0; c < t->n_columns; c++)
		rest[c] = row[c].text;
	do {
		unsigned int due = t->indent; /* blanks not yet printed: none are left at the end of a line */

		more = false;
		for (unsigned int c = 0; c < t->n_columns; c++) {
			size_t skip, n = fit(rest[c], room_of(t, c, c == last, width), &skip);
			_cleanup_free_ char *part = strndup(rest[c], n);
			unsigned int w = part ? out_width(part) : 0, pad = width[c] > w ? width[c] - w : 0;

			if (w) {
				put_blanks(due + (t->columns[c].right ? pad : 0));
				put_styled(row[c].style, rest[c], n);
				due = GAP + (t->columns[c].right ? 0 : pad);
			} else {
				due += width[c] + GAP;
			}
			rest[c] += n + skip;
			if (*rest[c])
				more = true;
		}
		(void)putchar('\n');
	} while (more);
}

void out_table_print(struct out_table *t)
{
	unsigned int width[OUT_COLUMNS_MAX] = { 0 };
	struct out_cell head[OUT_COLUMNS_MAX];
	size_t rows = t->n_columns ? t->n_cells / t->n_columns : 0;
	bool headed = false;

	for (unsigned int c = 0; c < t->n_columns; c++) {
		head[c] = (struct out_cell){ .text = strdup(t->columns[c].head ? t->columns[c].head : ""),
					     .style = OUT_DIM };
		if (!head[c].text)
			t->failed = true;
		else
			width[c] = out_width(head[c].text);
		headed |= t->columns[c].head != NULL;
	}
	for (size_t i = 0; i < rows * t->n_columns; i++) {
		unsigned int w = out_width(t->cells[i].text), c = (unsigned int)(i % t->n_columns);

		if (t->columns[c].wrap && c + 1 < t->n_columns && c == last_cell(t, &t->cells[i - c]))
			continue;
		if (w > width[c])
			width[c] = w;
	}
	shrink(t, width);
	if (headed && rows && !t->failed)
		print_row(t, head, width);
	for (size_t r = 0; r < rows && !t->failed; r++)
		print_row(t, t->cells + r * t->n_columns, width);
	for (unsigned int c = 0; c < t->n_columns; c++)
		free(head[c].text);
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i].text);
	free(t->cells);
	t->cells = NULL;
	t->n_cells = 0;
}

const char *out_size(uint64_t bytes, char *buf, size_t size)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	unsigned int u = 0;
	uint64_t whole = bytes, tenth = 0;

	while (u + 1 < ARRAY_SIZE(unit) && whole >= 1024) {
		tenth = whole % 1024 * 10 / 1024;
		whole /= 1024;
		u++;
	}
	if (tenth && whole < 100)
		(void)snprintf(buf, size, "%llu.%llu %s", (unsigned long long)whole, (unsigned long long)tenth,
			       unit[u]);
	else
		(void)snprintf(buf, size, "%llu %s", (unsigned long long)whole, unit[u]);
	return buf;
}

const char *out_page_size(uint64_t bytes, char *buf, size_t size)
{
	unsigned int shift = bytes >= 1u << 30 ? 30 : bytes >= 1u << 20 ? 20 : 10;

	(void)snprintf(buf, size, "%llu%c", (unsigned long long)(bytes >> shift),
		       shift == 30   ? 'G'
		       : shift == 20 ? 'M'
				     : 'K');
	return buf;
}

int out_flush(void)
{
	if (fflush(stdout) != 0)
		return -errno;
	return ferror(stdout) ? -EIO : 0;
}
