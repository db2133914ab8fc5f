/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "qemuram.h"

#include "num.h"

#define PROC_TEXT_MAX (4u << 20)
#define MAPS_MAX      (64u << 20) /* smaps: 0.7 KiB a mapping, and a guest of 1000 threads has some 10,000 */
#define BACKENDS_MAX  128         /* QEMU's MAX_NODES */

int strings_read(const struct hostfs *fs, int pid, const char *file, struct strings *ret)
{
	struct strings s = {0};
	int r = hostfs_read_all(fs, PROC_TEXT_MAX, &s.text, &s.len, "proc/%d/%s", pid, file);

	*ret = r < 0 ? (struct strings){0} : s;
	return r < 0 ? r : 0;
}

const char *strings_next(const struct strings *s, const char *p)
{
	p = p ? p + strlen(p) + 1 : s->text;
	return p && p < s->text + s->len ? p : NULL;
}

const char *strings_option(const struct strings *argv, const char *option)
{
	const char *last = NULL;

	for (const char *p = strings_next(argv, NULL); p; p = strings_next(argv, p))
		if (streq(p, option) && strings_next(argv, p))
			last = strings_next(argv, p);
	return last;
}

static void append(char buf[QEMURAM_VALUE], const char *text, size_t n)
{
	size_t len = strlen(buf);

	if (len && len + 1 < QEMURAM_VALUE) {
		buf[len++] = ',';
		buf[len] = '\0';
	}
	if (n >= QEMURAM_VALUE - len)
		n = QEMURAM_VALUE - len - 1;
	memcpy(buf + len, text, n);
	buf[len + n] = '\0';
}

/* "key":VALUE anywhere in a JSON text: a string, a number, a word, or the inside of a list. */
static bool json_value(const char *arg, const char *key, char buf[QEMURAM_VALUE])
{
	size_t n = strlen(key);

	for (const char *p = strchr(arg, '"'); p; p = strchr(p + 1, '"')) {
		const char *ends = ",} ";

		if (strncmp(p + 1, key, n) != 0 || p[1 + n] != '"')
			continue;
		p += n + 2;
		p += strspn(p, " ");
		if (*p != ':')
			continue;
		p += 1 + strspn(p + 1, " ");
		if (*p == '"' || *p == '[')
			ends = *p++ == '"' ? "\"" : "]";
		append(buf, p, strcspn(p, ends));
		return true;
	}
	return false;
}

/* key=VALUE between commas; a list is written by repeating the key, or as key.0=, key.1=. */
static bool plain_value(const char *arg, const char *key, char buf[QEMURAM_VALUE])
{
	size_t n = strlen(key);
	bool found = false;

	for (const char *p = arg; *p;) {
		size_t len = strcspn(p, ",");
		const char *equals = memchr(p, '=', len);

		if (equals && strncmp(p, key, n) == 0 && (p + n == equals || p[n] == '.')) {
			append(buf, equals + 1, len - (size_t)(equals + 1 - p));
			found = true;
		} else if (!equals && p == arg && streq(key, "qom-type")) {
			append(buf, p, len);
			found = true;
		}
		p += len;
		p += *p == ',';
	}
	return found;
}

bool qemu_value(const char *arg, const char *key, char buf[QEMURAM_VALUE])
{
	buf[0] = '\0';
	if (!arg)
		return false;
	return arg[0] == '{' ? json_value(arg, key, buf) : plain_value(arg, key, buf);
}

bool qemu_says_yes(const char *arg, const char *key)
{
	char value[QEMURAM_VALUE];

	return qemu_value(arg, key, value) && (streq(value, "true") || streq(value, "on") || streq(value, "yes"));
}

uint64_t qemu_size(const char *text)
{
	static const char suffixes[] = "kMGT";
	char digits[24];
	size_t n = strspn(text, "0123456789");
	const char *suffix;
	uint64_t size;
	unsigned int shift;

	if (n == 0 || n >= sizeof(digits))
		return 0;
	memcpy(digits, text, n);
	digits[n] = '\0';
	if (num_parse_u64(digits, &size) < 0)
		return 0;
	if (!text[n])
		return size;
	suffix = strchr(suffixes, text[n] == 'K' ? 'k' : text[n]);
	if (!suffix || text[n + 1])
		return 0;
	shift = 10 * (unsigned int)(suffix - suffixes + 1);
	return size > UINT64_MAX >> shift ? 0 : size << shift;
}

/* The argument of the -object with this id. */
static const char *find_object(const struct strings *argv, const char *id)
{
	char value[QEMURAM_VALUE];

	if (!id[0])
		return NULL;
	for (const char *p = strings_next(argv, NULL); p; p = strings_next(argv, p)) {
		const char *arg = streq(p, "-object") ? strings_next(argv, p) : NULL;

		if (arg && qemu_value(arg, "id", value) && streq(value, id))
			return arg;
	}
	return NULL;
}

static int add_backend(struct qemuram *r, const char *id, int cell)
{
	const char *arg = find_object(&r->argv, id);
	struct qemuram_backend *grown;
	char size[QEMURAM_VALUE];

	if (!arg || r->n_backends >= BACKENDS_MAX)
		return 0;
	grown = reallocarray(r->backends, r->n_backends + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	r->backends = grown;
	(void)qemu_value(arg, "size", size);
	grown[r->n_backends++] = (struct qemuram_backend){.cell = cell, .arg = arg, .size = qemu_size(size)};
	return 0;
}

/* One back end for the whole guest (-machine memory-backend=), or one for each cell (-numa node,memdev=). */
static int find_backends(struct qemuram *r)
{
	char id[QEMURAM_VALUE], cell[QEMURAM_VALUE];
	uint64_t number;
	int e = 0;

	if (qemu_value(strings_option(&r->argv, "-machine"), "memory-backend", id) && id[0])
		return add_backend(r, id, -1);
	for (const char *p = strings_next(&r->argv, NULL); p && e == 0; p = strings_next(&r->argv, p)) {
		const char *arg = streq(p, "-numa") ? strings_next(&r->argv, p) : NULL;

		if (arg && str_starts(arg, "node,") && qemu_value(arg, "memdev", id) &&
		    qemu_value(arg, "nodeid", cell) && num_parse_range(cell, 0, INT32_MAX, &number) == 0)
			e = add_backend(r, id, (int)number);
	}
	return e;
}

int qemuram_read(const struct hostfs *fs, int pid, struct qemuram *ret)
{
	struct qemuram r = {0};
	int e = strings_read(fs, pid, "cmdline", &r.argv);

	if (e == 0)
		e = find_backends(&r);
	if (e < 0) {
		qemuram_fini(&r);
		return e == -ENOENT ? -ESRCH : e;
	}
	*ret = r;
	return 0;
}

void qemuram_fini(struct qemuram *r)
{
	free(r->backends);
	free(r->argv.text);
	*r = (struct qemuram){0};
}

static bool has_size(const struct qemuram *r, uint64_t memory, uint64_t size)
{
	if (r->n_backends == 0)
		return memory > 0 && size >= memory && size / 2 < memory;
	for (unsigned int i = 0; i < r->n_backends; i++)
		if (r->backends[i].size == size)
			return size > 0;
	return false;
}

/* "7f00-7f10 rw-p OFFSET DEVICE INODE NAME". False: that is no such line. */
static bool parse_map(const char *line, uint64_t *ret_start, uint64_t *ret_end, const char **ret_rights)
{
	const char *p = line;
	uint64_t v[2] = {0};

	for (int i = 0; i < 2; i++) {
		size_t n = strspn(p, "0123456789abcdef");

		if (n == 0 || n > 16 || p[n] != "- "[i])
			return false;
		for (; n; n--, p++)
			v[i] = v[i] << 4 | (uint64_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
		p++;
	}
	*ret_start = v[0];
	*ret_end = v[1];
	*ret_rights = p;
	return v[1] > v[0] && strnlen(p, 5) == 5 && p[4] == ' ';
}

/* "Rss:    123 kB", in bytes; false: that is another field. */
static bool parse_kib(const char *line, const char *field, uint64_t *ret)
{
	size_t n = strlen(field);
	char digits[24];
	uint64_t kib;

	if (strncmp(line, field, n) != 0)
		return false;
	line += n;
	line += strspn(line, " \t");
	n = strspn(line, "0123456789");
	if (n == 0 || n >= sizeof(digits))
		return false;
	memcpy(digits, line, n);
	digits[n] = '\0';
	if (num_parse_range(digits, 0, UINT64_MAX >> 10, &kib) < 0)
		return false;
	*ret = kib << 10;
	return true;
}

static void take_field(struct qemuram_map *m, const char *line)
{
	uint64_t bytes;

	/* Of private memory, of shmem (memfd) and of a file; a mapping is one of them. */
	if (parse_kib(line, "AnonHugePages:", &bytes) || parse_kib(line, "ShmemPmdMapped:", &bytes) ||
	    parse_kib(line, "FilePmdMapped:", &bytes))
		m->huge += bytes;
	else if (parse_kib(line, "Rss:", &bytes) || parse_kib(line, "Private_Hugetlb:", &bytes) ||
		 parse_kib(line, "Shared_Hugetlb:", &bytes))
		m->resident += bytes;
	else if (str_starts(line, "VmFlags:")) {
		m->mergeable = strstr(line, " mg") != NULL;
		m->hugetlb = strstr(line, " ht") != NULL;
	}
}

int qemuram_maps(const struct hostfs *fs, int pid, const struct qemuram *r, uint64_t memory, bool pages,
		 struct qemuram_map **ret)
{
	_cleanup_free_ struct qemuram_map *maps = NULL;
	struct qemuram_map *current = NULL;
	_cleanup_free_ char *text = NULL;
	int n = 0, e = hostfs_read_all(fs, MAPS_MAX, &text, NULL, "proc/%d/%s", pid, pages ? "smaps" : "maps");
	char *rest = text, *line;

	if (e < 0)
		return e == -ENOENT ? -ESRCH : e;
	while ((line = strsep(&rest, "\n"))) {
		struct qemuram_map *grown;
		const char *rights;
		uint64_t start, end;

		if (!parse_map(line, &start, &end, &rights)) {
			if (current)
				take_field(current, line);
			continue;
		}
		current = NULL;
		if (!str_starts(rights, "rw-") || !has_size(r, memory, end - start))
			continue;
		grown = reallocarray(maps, (size_t)n + 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		maps = grown;
		current = &maps[n++];
		*current = (struct qemuram_map){.start = start, .size = end - start};
	}
	*ret = steal_ptr(&maps);
	return n;
}
