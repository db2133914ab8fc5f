/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/ledger.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "common/paths.h"
#include "common/record.h"
#include "root_state.h"
#include "tap.h"

static const char *const hostile[] = {
	"web1",
	"a\tb",
	"line\nbreak",
	"\\t\\x41\\",
	"..",
	"../../etc/passwd",
	"-rf",
	"x;rm -rf /",
	"",
	"\xff\xfe\x80",
	"\xc3\xa9t\xc3\xa9",
	"\x01\x1f\x7f",
	"\r\n",
	" blanks  ",
	"claim\tledger",
};

static void uuid_of(char uuid[37], unsigned int i)
{
	(void)snprintf(uuid, 37, "%08x-1111-2222-3333-444444444444", i);
}

static struct idset set_of(const char *text)
{
	struct idset s = IDSET_EMPTY;

	if (*text)
		IS_INT(idset_parse(text, &s), 0);
	return s;
}

static struct claim *add(struct ledger *l, unsigned int i, const char *name)
{
	char uuid[37];

	uuid_of(uuid, i);
	return ledger_add(l, uuid, name);
}

static void fill(struct ledger *l, struct claim *c, unsigned int i)
{
	struct idset cpus = set_of(i % 2 ? "0-3,8" : ""), now = set_of("4,6,8191"), home = set_of("4-7,8191");

	c->kind = (enum claim_kind)(i % 3);
	c->phase = (enum claim_phase)(i / 3 % 3);
	c->pid = (int)(i * 7 % 3 ? 1000 + i : 0);
	c->pid_start = c->pid ? 5 + i : 0;
	c->daemon = 77;
	c->daemon_start = UINT64_MAX - i;
	c->since = 1700000000 + i;
	c->cpus = ledger_set(l, &cpus);
	for (unsigned int j = 0; j < i % 3; j++) {
		IS_INT(claim_add_floater(l, c, &now, &home, &home, i + j), 0);
		c->floats[j].moved = j % 2;
	}
	for (unsigned int j = 0; j < i % 4; j++)
		IS_INT(claim_add_pages(c, (int)j, 2u << 20, i + j), 0);
	for (unsigned int j = 0; j < i % 3; j++) {
		struct claim_link link = {.number = 0xd001 + j, .rate = UINT64_MAX - i, .mark = j ? UINT32_MAX : 0};

		(void)snprintf(link.device, sizeof(link.device), "%s", j ? "a,b;c\\-d.15\xff" : "eth0");
		IS_INT(claim_add_link(c, &link), 0);
	}
}

static void same_claims(const struct claim *a, const struct claim *b)
{
	IS_STR(a->uuid, b->uuid);
	IS_STR(a->name, b->name);
	IS_INT(a->kind, b->kind);
	IS_INT(a->phase, b->phase);
	IS_INT(a->generation, b->generation);
	IS_INT(a->pid, b->pid);
	IS_INT(a->pid_start, b->pid_start);
	IS_INT(a->daemon, b->daemon);
	OK(a->daemon_start == b->daemon_start);
	IS_INT(a->since, b->since);
	OK(idset_equal(a->cpus, b->cpus));
	IS_INT(a->n_floats, b->n_floats);
	for (unsigned int i = 0; i < a->n_floats && i < b->n_floats; i++) {
		OK(idset_equal(a->floats[i].now, b->floats[i].now));
		OK(idset_equal(a->floats[i].home, b->floats[i].home));
		OK(idset_equal(a->floats[i].limit, b->floats[i].limit));
		IS_INT(a->floats[i].vcpus, b->floats[i].vcpus);
		IS_INT(a->floats[i].moved, b->floats[i].moved);
	}
	IS_INT(a->n_pages, b->n_pages);
	for (unsigned int i = 0; i < a->n_pages && i < b->n_pages; i++) {
		IS_INT(a->pages[i].node, b->pages[i].node);
		IS_INT(a->pages[i].size, b->pages[i].size);
		IS_INT(a->pages[i].count, b->pages[i].count);
	}
	IS_INT(a->n_links, b->n_links);
	for (unsigned int i = 0; i < a->n_links && i < b->n_links; i++) {
		IS_STR(a->links[i].device, b->links[i].device);
		IS_INT(a->links[i].number, b->links[i].number);
		OK(a->links[i].rate == b->links[i].rate);
		IS_INT(a->links[i].mark, b->links[i].mark);
	}
}

static struct shared *add_shared(struct ledger *l, const char *object, const char *hostile_text)
{
	struct shared *s = ledger_add_shared(l, "file", object);

	s->fold = FOLD_STRONGEST;
	(void)shared_set(s, &s->order, "a b");
	(void)shared_set(s, &s->knob, "sysctl");
	(void)shared_set(s, &s->target, hostile_text);
	(void)shared_set(s, &s->cause, "");
	(void)shared_set(s, &s->original, hostile_text);
	(void)shared_set(s, &s->written, "w");
	(void)shared_set(s, &s->before, "b");
	return s;
}

TEST(comes_back_as_it_was_written)
{
	ROOT(s);
	struct ledger l = {0}, again = {0};
	struct shared *sh;

	IS_INT(ledger_make_dirs(&s.fs, NULL), 0);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	IS_INT(l.n_claims, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(hostile); i++) {
		struct claim *c = add(&l, i, hostile[i]);

		fill(&l, c, i);
		sh = add_shared(&l, hostile[i], hostile[ARRAY_SIZE(hostile) - 1 - i]);
		if (i % 2)
			IS_INT(shared_set(sh, &sh->readback, hostile[i]), 0);
		for (unsigned int j = 0; j < i; j++)
			IS_INT(shared_set_claim(sh, l.claims[j].uuid, hostile[j]), 0);
	}
	l.foreign_read = true;
	l.pools = calloc(1, sizeof(*l.pools));
	l.pools[0] = (struct ledger_pool){.node = 3, .size = 1u << 30, .others = 9};
	l.n_pools = 1;
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	IS_INT(root_mode(&s, PATH_LEDGER), 0644);
	IS_INT(ledger_read(&s.fs, &again, NULL), 0);
	IS_INT(again.bad_lines, 0);
	IS_INT(again.n_claims, ARRAY_SIZE(hostile));
	IS_INT(again.n_shared, ARRAY_SIZE(hostile));
	OK(again.foreign_read);
	OK(again.next_generation == l.next_generation);
	for (unsigned int i = 0; i < again.n_claims; i++)
		same_claims(&again.claims[i], &l.claims[i]);
	for (unsigned int i = 0; i < again.n_shared; i++) {
		const struct shared *a = &again.shared[i], *b = &l.shared[i];

		IS_STR(a->object, b->object);
		IS_STR(a->target, b->target);
		IS_STR(a->original, b->original);
		IS_STR(a->readback, b->readback);
		IS_STR(a->before, b->before);
		IS_STR(a->order, b->order);
		IS_INT(a->fold, FOLD_STRONGEST);
		IS_INT(a->n_claims, b->n_claims);
		for (unsigned int j = 0; j < a->n_claims && j < b->n_claims; j++) {
			IS_STR(a->claims[j].uuid, b->claims[j].uuid);
			IS_STR(a->claims[j].wanted, b->claims[j].wanted);
		}
	}
	IS_INT(again.n_pools, 1);
	IS_INT(again.pools ? again.pools[0].others : 0, 9);
	ledger_fini(&again);
	ledger_fini(&l);
}

TEST(reading_one_keeps_the_others)
{
	ROOT(s);
	struct ledger l = {0};
	char uuid[37], *before, *after;

	IS_INT(ledger_make_dirs(&s.fs, NULL), 0);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	for (unsigned int i = 0; i < 20; i++)
		fill(&l, add(&l, i, hostile[i % ARRAY_SIZE(hostile)]), i);
	shared_set_claim(add_shared(&l, "x", "y"), l.claims[3].uuid, "1");
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	ledger_fini(&l);
	/* First, middle, last, none of them. */
	for (unsigned int i = 0; i < 40; i += 19) {
		uuid_of(uuid, i);
		IS_INT(ledger_read_one(&s.fs, uuid, &l, NULL), 0);
		IS_INT(l.n_claims, i < 20);
		OK((ledger_find(&l, uuid) != NULL) == (i < 20));
		IS_INT(l.n_shared, 1);
		IS_INT(l.bad_lines, 0);
		IS_INT(ledger_write(&s.fs, &l, NULL), 0);
		ledger_fini(&l);
		IS_INT(ledger_read(&s.fs, &l, NULL), 0);
		IS_INT(l.n_claims, 20);
		for (unsigned int j = 0; j < 20; j++) {
			uuid_of(uuid, j);
			IS_STR(ledger_find(&l, uuid) ? ledger_find(&l, uuid)->name : NULL,
			       hostile[j % ARRAY_SIZE(hostile)]);
		}
		ledger_fini(&l);
	}
	/* Removing one leaves the text of the others untouched. */
	uuid_of(uuid, 7);
	before = root_dup(&s, PATH_LEDGER);
	IS_INT(ledger_read_one(&s.fs, uuid, &l, NULL), 0);
	ledger_remove(&l, uuid);
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	after = root_dup(&s, PATH_LEDGER);
	OK(!strstr(after, uuid));
	IS_INT(strlen(before) > strlen(after), 1);
	free(before);
	free(after);
	ledger_fini(&l);
}

/* Whoever writes a name that cannot be one, or too many, has made a mistake; what cannot be read is a bad line. */
TEST(links_of_claims)
{
	static const struct {
		const char *links; /* NULL: the field is not there */
		int n;             /* -1: a bad line */
	} cases[] = {
		{NULL, 0},
		{"eth0:53249:1000:0", 1},
		{"eth0:53249:1000:0/eth1:53250:18446744073709551615:4294967295", 2},
		{"eth0:53249:1000", -1},
		{"eth0:53249:1000:0:0", -1},
		{"eth0:53249:1000:4294967296", -1},
		{"eth0:53249:-1:0", -1},
		{"eth0:4294967296:1:0", -1},
		{":53249:1:0", -1},
		{"..:53249:1:0", -1},
		{"a b:53249:1:0", -1},
		{"sixteen-letters-:53249:1:0", -1},
	};
	static const char *const bad[] = {"", ".", "..", "a/b", "a:b", "a b", "a\n"};
	struct claim_link link = {.number = 1};
	struct claim c = {0};
	char boot_id[BOOT_ID_SIZE];
	ROOT(s);

	IS_INT(ledger_make_dirs(&s.fs, NULL), 0);
	hostfs_boot_id(&s.fs, boot_id);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ledger l = {0};
		struct sbuf b = {0};
		char uuid[37];

		uuid_of(uuid, 1);
		record_add(&b, "ledger", "2", boot_id, "9", "0", "0", "", "", NULL);
		record_add(&b, "claim", uuid, "ours", "started", "1", "0", "0", "0", "0", "0", "web1", "", "", "0:0:5:0",
			   cases[i].links, NULL);
		root_put(&s, PATH_LEDGER, b.s);
		IS_INT(ledger_read(&s.fs, &l, NULL), 0);
		IS_INT(l.n_claims, cases[i].n >= 0);
		IS_INT(l.bad_lines, cases[i].n < 0);
		IS_INT(l.n_claims ? (int)l.claims[0].n_links : -1, cases[i].n);
		IS_INT(ledger_write(&s.fs, &l, NULL), 0); /* unchanged: with the line as it was */
		ledger_fini(&l);
		sbuf_fini(&b);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		(void)snprintf(link.device, sizeof(link.device), "%s", bad[i]);
		IS_INT(claim_add_link(&c, &link), -EINVAL);
	}
	(void)snprintf(link.device, sizeof(link.device), "fifteen-letters");
	for (unsigned int i = 0; i < CLAIM_LINKS_MAX; i++)
		IS_INT(claim_add_link(&c, &link), 0);
	IS_INT(claim_add_link(&c, &link), -E2BIG);
	claim_fini(&c);
}

TEST(ways_of_claims)
{
	static const struct {
		const char *ways; /* NULL: the field is not there */
		int n;            /* -1: a bad line */
		bool has_class;
	} cases[] = {
		{NULL, 0, false},   {"-", 0, true},           {"0:7ff", 1, true}, {"0:f0/8:ffffffffffffffff", 2, true},
		{"0:f0/0:f", 1, true}, {"0", -1, false},      {"0:", -1, false},  {"0:0", -1, false},
		{"x:1", -1, false}, {"0:xyz", -1, false},     {"4294967296:1", -1, false},
		{"0:1:2", -1, false}, {"0:11111111111111111", -1, false},
	};
	struct claim c = {0};
	char boot_id[BOOT_ID_SIZE];
	ROOT(s);

	IS_INT(ledger_make_dirs(&s.fs, NULL), 0);
	hostfs_boot_id(&s.fs, boot_id);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ledger l = {0};
		struct sbuf b = {0};
		struct claim *found;
		char uuid[37];

		uuid_of(uuid, 1);
		record_add(&b, "ledger", "2", boot_id, "9", "0", "0", "", "", NULL);
		record_add(&b, "claim", uuid, "ours", "started", "1", "0", "0", "0", "0", "0", "web1", "", "", "", "",
			   cases[i].ways, NULL);
		root_put(&s, PATH_LEDGER, b.s);
		IS_INT(ledger_read(&s.fs, &l, NULL), 0);
		IS_INT(l.bad_lines, cases[i].n < 0);
		found = ledger_find(&l, uuid); /* from here on it is written anew */
		IS_INT(found ? (int)found->n_ways : -1, cases[i].n);
		IS_INT(found && found->has_class, cases[i].has_class);
		IS_INT(ledger_write(&s.fs, &l, NULL), 0);
		ledger_fini(&l);
		IS_INT(ledger_read(&s.fs, &l, NULL), 0);
		found = ledger_find(&l, uuid);
		IS_INT(found ? (int)found->n_ways : -1, cases[i].n);
		IS_INT(found && found->has_class, cases[i].has_class);
		if (found && found->n_ways == 2)
			OK(found->ways[0].bits == 0xf0 && found->ways[1].cache == 8 && found->ways[1].bits == UINT64_MAX);
		ledger_fini(&l);
		sbuf_fini(&b);
	}
	IS_INT(claim_add_ways(&c, 0, 0), -EINVAL);
	for (unsigned int i = 0; i < CLAIM_WAYS_MAX; i++)
		IS_INT(claim_add_ways(&c, i, 1), 0);
	IS_INT(claim_add_ways(&c, CLAIM_WAYS_MAX, 1), -E2BIG);
	IS_INT(claim_add_ways(&c, 3, 2), 0);
	OK(c.ways[3].bits == 3);
	claim_fini(&c);
}

TEST(torn_and_edited_lines_are_ignored)
{
	ROOT(s);
	struct ledger l = {0};
	char *text;
	size_t len;

	IS_INT(ledger_make_dirs(&s.fs, NULL), 0);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	for (unsigned int i = 0; i < 3; i++)
		fill(&l, add(&l, i, hostile[i]), i);
	shared_set_claim(add_shared(&l, "x", "y"), l.claims[0].uuid, "1");
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	ledger_fini(&l);
	text = root_dup(&s, PATH_LEDGER);
	len = strlen(text);
	for (size_t cut = 0; cut <= len; cut++) {
		root_put_bytes(&s, PATH_LEDGER, text, cut);
		IS_INT(ledger_read(&s.fs, &l, NULL), 0);
		OK(l.n_claims <= 3 && l.n_shared <= 1 && l.bad_lines <= 1);
		ledger_fini(&l);
	}
	for (size_t at = 0; at < len; at++) {
		text[at] = (char)(text[at] ^ 1);
		root_put_bytes(&s, PATH_LEDGER, text, len);
		IS_INT(ledger_read(&s.fs, &l, NULL), 0);
		OK(l.n_claims <= 3 && l.bad_lines + l.other_boot >= 1);
		ledger_fini(&l);
		text[at] = (char)(text[at] ^ 1);
	}
	free(text);
}

TEST(what_is_not_ours_is_not_believed)
{
	ROOT(s);
	struct ledger l = {0};
	char *text, path[256];

	IS_INT(ledger_make_dirs(&s.fs, NULL), 0);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	add(&l, 1, "a");
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	ledger_fini(&l);
	text = root_dup(&s, PATH_LEDGER);
	(void)snprintf(path, sizeof(path), "%s/%s", s.dir, PATH_LEDGER);

	IS_INT(chmod(path, 0664), 0);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	IS_INT(l.n_claims, 0);
	ledger_fini(&l);
	IS_INT(chmod(path, 0644), 0);
	if (geteuid() == 0) {
		IS_INT(chown(path, 1234, 0), 0);
		IS_INT(ledger_read(&s.fs, &l, NULL), 0);
		IS_INT(l.n_claims, 0);
		ledger_fini(&l);
	}
	root_put(&s, "elsewhere", text);
	IS_INT(unlink(path), 0);
	IS_INT(symlink("../../elsewhere", path), 0);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	IS_INT(l.n_claims, 0);
	/* Writing replaces the link, not what it points to. */
	add(&l, 2, "b");
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	ledger_fini(&l);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	IS_STR(l.n_claims == 1 ? l.claims[0].name : "", "b");
	ledger_fini(&l);
	IS_INT(unlink(path), 0);
	IS_INT(mkdir(path, 0755), 0);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	IS_INT(l.n_claims, 0);
	ledger_fini(&l);
	free(text);
}

TEST(directories)
{
	ROOT(s);
	struct err e = {0};
	char path[256], other[256];

	IS_INT(ledger_make_dirs(&s.fs, &e), 0);
	IS_INT(ledger_make_dirs(&s.fs, &e), 0);
	IS_INT(root_mode(&s, PATH_STATE), 0755);
	IS_INT(root_mode(&s, PATH_PLAN), 0755);
	IS_INT(root_mode(&s, PATH_UNDO), 0700);
	(void)snprintf(path, sizeof(path), "%s/%s", s.dir, PATH_PLAN);
	(void)snprintf(other, sizeof(other), "%s/elsewhere", s.dir);
	IS_INT(rename(path, other), 0);
	IS_INT(symlink("/elsewhere", path), 0);
	IS_INT(ledger_make_dirs(&s.fs, &e), -ELOOP);
	IS_INT(unlink(path), 0);
	IS_INT(symlink("/nowhere", path), 0);
	IS_INT(ledger_make_dirs(&s.fs, &e), -ELOOP);
	IS_INT(unlink(path), 0);
	root_put(&s, PATH_PLAN, "");
	IS_INT(ledger_make_dirs(&s.fs, &e), -ENOTDIR);
	IS_INT(unlink(path), 0);
	IS_INT(mkdir(path, 0755), 0);
	IS_INT(chmod(path, 0777), 0);
	IS_INT(ledger_make_dirs(&s.fs, &e), -EPERM);
	OK(strstr(e.text, PATH_PLAN) != NULL);
	IS_INT(chmod(path, 0755), 0);
	if (geteuid() == 0) {
		IS_INT(chown(path, 1234, 0), 0);
		IS_INT(ledger_make_dirs(&s.fs, &e), -EPERM);
	}
}

TEST(another_boot)
{
	ROOT(s);
	struct ledger l = {0};

	root_put(&s, "proc/sys/kernel/random/boot_id", "aaaaaaaa-0000-0000-0000-000000000000\n");
	IS_INT(ledger_make_dirs(&s.fs, NULL), 0);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	add(&l, 1, "a");
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	ledger_fini(&l);
	root_put(&s, PATH_UNDO "/old", "head\t1\taaaaaaaa-0000-0000-0000-000000000000\t1\t\n");
	root_put(&s, PATH_PLAN "/old", "");
	root_put(&s, "proc/sys/kernel/random/boot_id", "bbbbbbbb-0000-0000-0000-000000000000\n");
	root_put(&s, PATH_UNDO "/new", "head\t1\tbbbbbbbb-0000-0000-0000-000000000000\t1\t\n");
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	IS_INT(l.n_claims, 0);
	OK(l.other_boot);
	/* Reading removes nothing: whoever may only read may do that. */
	OK(hostfs_exists(&s.fs, PATH_UNDO "/old"));
	add(&l, 2, "b");
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	ledger_fini(&l);
	OK(!hostfs_exists(&s.fs, PATH_UNDO "/old"));
	OK(!hostfs_exists(&s.fs, PATH_PLAN "/old"));
	OK(hostfs_exists(&s.fs, PATH_UNDO "/new"));
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	IS_INT(l.n_claims, 1);
	OK(!l.other_boot);
	ledger_fini(&l);
}

/* A generation of a lost ledger must not be given again. */
/* Domains that run through an upgrade keep what they hold, and shared objects their originals. */
TEST(the_format_before)
{
	char boot_id[BOOT_ID_SIZE], uuid[2][37];

	for (int one = 0; one < 2; one++) {
		ROOT(r);
		_cleanup_sbuf_ struct sbuf b = {0};
		struct ledger l = {0};
		const struct claim *c;

		IS_INT(ledger_make_dirs(&r.fs, NULL), 0);
		hostfs_boot_id(&r.fs, boot_id);
		uuid_of(uuid[0], 1);
		uuid_of(uuid[1], 2);
		record_add(&b, "ledger", "1", boot_id, "77", "1", NULL);
		record_add(&b, "claim", uuid[0], "ours", "started", "75", "4711", "5", "99", "6", "1700000000", "db1",
			   "2-5", "", "0", "0:2097152:128,1:0:4096", NULL);
		record_add(&b, "claim", uuid[1], "ours", "started", "76", "4712", "5", "99", "6", "1700000000", "web1",
			   "", "6-15", "4", "", NULL);
		record_add(&b, "shared", "0", "sysctl", "x", "file", "proc/sys/x", "max", "", "", "settled", "5", "7",
			   "5", "7", NULL);
		record_add(&b, "want", "0", uuid[0], "7", NULL);
		record_add(&b, "pool", "0", "2097152", "3", NULL);
		root_put(&r, PATH_LEDGER, b.s);
		/* Believed, and by the next write in the format of now. */
		for (int again = 0; again < 2; again++) {
			IS_INT(one ? ledger_read_one(&r.fs, uuid[0], &l, NULL) : ledger_read(&r.fs, &l, NULL), 0);
			OK(!l.other_boot && l.foreign_read);
			IS_INT(l.bad_lines, 0);
			IS_INT(l.next_generation, 77);
			IS_INT(l.older, !again);
			c = ledger_find(&l, uuid[0]);
			OK(c && c->generation == 75 && c->pid == 4711 && c->n_pages == 2 && c->n_floats == 0);
			if (c) {
				struct idset cpus = set_of("2-5");

				OK(idset_equal(c->cpus, &cpus));
				OK(c->pages[0].count == 128 && c->pages[0].grow == 0 && c->pages[1].count == 4096);
			}
			IS_INT(l.n_shared, 1);
			IS_STR(l.n_shared ? l.shared[0].original : "", "5");
			IS_INT(l.n_shared ? l.shared[0].n_claims : 0, 1);
			IS_INT(l.n_pools ? l.pools[0].others : 0, 3);
			IS_INT(ledger_write(&r.fs, &l, NULL), 0);
			ledger_fini(&l);
		}
		IS_INT(ledger_read(&r.fs, &l, NULL), 0);
		IS_INT(l.n_claims, 2);
		ledger_fini(&l);
	}
}

TEST(generations_go_up)
{
	ROOT(s);
	struct ledger l = {0};
	uint64_t first, second;

	IS_INT(ledger_make_dirs(&s.fs, NULL), 0);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	first = add(&l, 1, "a")->generation;
	second = add(&l, 2, "b")->generation;
	OK(second > first && first > 0);
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	ledger_fini(&l);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	ledger_remove(&l, l.claims[1].uuid);
	OK(add(&l, 3, "c")->generation > second);
	ledger_fini(&l);
}

TEST(ten_processes_lose_nothing)
{
	ROOT(s);
	struct ledger l = {0};
	int status, failed = 0;

	IS_INT(ledger_make_dirs(&s.fs, NULL), 0);
	for (unsigned int i = 0; i < 10; i++) {
		if (fork() != 0)
			continue;
		for (unsigned int j = 0; j < 5; j++) {
			struct err e = {0};
			int lock = ledger_lock(&s.fs, &e);

			if (lock < 0 || ledger_read(&s.fs, &l, &e) < 0 || !add(&l, i * 5 + j, "x") ||
			    ledger_write(&s.fs, &l, &e) < 0)
				_exit(1);
			ledger_fini(&l);
			close(lock);
		}
		_exit(0);
	}
	for (int i = 0; i < 10; i++)
		if (wait(&status) < 0 || status != 0)
			failed++;
	IS_INT(failed, 0);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	IS_INT(l.n_claims, 50);
	for (unsigned int i = 0; i < l.n_claims; i++)
		for (unsigned int j = 0; j < i; j++)
			OK(l.claims[i].generation != l.claims[j].generation &&
			   !streq(l.claims[i].uuid, l.claims[j].uuid));
	ledger_fini(&l);
}

TEST(lock_is_waited_for_in_bounds)
{
	ROOT(s);
	struct err e = {0};
	char path[256];
	int held, fd;

	IS_INT(ledger_lock(&s.fs, &e), -ENOENT); /* no state directory */
	IS_INT(ledger_make_dirs(&s.fs, NULL), 0);
	fd = ledger_lock(&s.fs, &e);
	OK(fd >= 0);
	IS_INT(root_mode(&s, PATH_LOCK), 0600);
	close(fd);
	(void)snprintf(path, sizeof(path), "%s/%s", s.dir, PATH_LOCK);
	held = open(path, O_RDONLY | O_CLOEXEC);
	IS_INT(flock(held, LOCK_EX), 0);
	IS_INT(ledger_lock(&s.fs, &e), -ETIMEDOUT);
	OK(strstr(e.text, "held") != NULL);
	/* A new lock file is another lock; the old one's holder is out. */
	IS_INT(unlink(path), 0);
	fd = ledger_lock(&s.fs, &e);
	OK(fd >= 0);
	close(fd);
	close(held);
	IS_INT(unlink(path), 0);
	IS_INT(symlink("elsewhere", path), 0);
	IS_INT(ledger_lock(&s.fs, &e), -ELOOP);
}

TEST(death)
{
	ROOT(s);
	struct hostfs real = HOSTFS_INIT;
	struct claim c = {.name = strdup("guest")};
	pid_t gone = fork();

	if (gone == 0)
		_exit(0);
	while (waitpid(gone, NULL, 0) < 0)
		;
	IS_INT(hostfs_init(&real, "/", NULL), 0);
	c.pid = getpid();
	c.pid_start = hostfs_proc_start(&real, c.pid);
	OK(!claim_is_dead(&real, &c, true, false));
	c.pid_start++;
	OK(claim_is_dead(&real, &c, true, false)); /* the number was given to another process */
	OK(!claim_is_dead(&real, &c, false, false));
	c.pid = gone;
	OK(claim_is_dead(&real, &c, false, false));
	OK(!claim_is_dead(&s.fs, &c, true, false)); /* below another root only recover judges */
	OK(claim_is_dead(&s.fs, &c, true, true));
	c.pid = 0;
	c.daemon = getpid();
	c.daemon_start = hostfs_proc_start(&real, c.daemon);
	OK(!claim_is_dead(&real, &c, true, false));
	c.daemon = gone;
	OK(claim_is_dead(&real, &c, true, false));
	c.daemon = 0;
	OK(!claim_is_dead(&real, &c, true, false));

	/* Below another root, by its files. */
	OK(claim_is_dead(&s.fs, &c, true, true));
	root_put(&s, PATH_LIBVIRT_RUN "/guest.pid", "812\n");
	OK(!claim_is_dead(&s.fs, &c, true, true));
	c.daemon = 5;
	OK(!claim_is_dead(&s.fs, &c, true, true)); /* its daemon is gone, but it runs */
	free(c.name);
	c.name = strdup("../qemu/guest");
	OK(claim_is_dead(&s.fs, &c, true, true)); /* libvirt takes no such name */
	c.pid = 812;
	c.pid_start = 44;
	OK(claim_is_dead(&s.fs, &c, true, true));
	root_put(&s, "proc/812/stat", "812 (CPU 0/KVM) x) S 1 1 1 0 -1 4 1 2 3 4 5 6 7 8 20 0 3 0 44 1000 10 184467\n");
	OK(!claim_is_dead(&s.fs, &c, true, true));
	c.pid_start = 45;
	OK(claim_is_dead(&s.fs, &c, true, true));
	free(c.name);
	hostfs_fini(&real);
}

TEST(no_death_below_another_root)
{
	ROOT(s);
	struct ledger l = {0};

	IS_INT(ledger_make_dirs(&s.fs, NULL), 0);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	add(&l, 1, "a")->pid = INT32_MAX;
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	ledger_fini(&l);
	OK(!ledger_has_dead(&s.fs));
}

/* By a later call, if not by the first: the windows depend on the process. */
static bool is_found(struct root *s)
{
	int status = 0;

	for (int i = 0; i < 200 && !status; i++) {
		pid_t child = fork();

		if (child == 0)
			_exit(ledger_has_dead(&s->fs));
		while (waitpid(child, &status, 0) < 0)
			;
	}
	return status != 0;
}

/* "/" with this directory's state: what the hook calls. Any process may say so; only the paths differ. */
TEST(has_dead)
{
	ROOT(s);
	struct hostfs real = HOSTFS_INIT;
	struct ledger l = {0};
	pid_t gone = fork();

	if (gone == 0)
		_exit(0);
	while (waitpid(gone, NULL, 0) < 0)
		;
	IS_INT(hostfs_init(&real, "/", NULL), 0);
	s.fs.real = true;
	OK(!ledger_has_dead(&s.fs)); /* no ledger */
	IS_INT(ledger_make_dirs(&s.fs, NULL), 0);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	for (unsigned int i = 0; i < 100; i++) {
		struct claim *c = add(&l, i, hostile[i % ARRAY_SIZE(hostile)]);

		c->pid = getpid();
		c->pid_start = 0;
	}
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	OK(!ledger_has_dead(&s.fs));
	l.claims[99].pid = gone;
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	OK(is_found(&s));
	/* A number that was given again is found when its window has its turn. */
	l.claims[99].pid = getpid();
	l.claims[99].pid_start = 1;
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	root_put_stat(&s, getpid(), 2);
	OK(is_found(&s));
	/* Of so many none is missed. */
	for (unsigned int i = 0; i < 100 - LEDGER_LOOK_PIDS; i++)
		ledger_remove(&l, l.claims[0].uuid);
	for (unsigned int i = 0; i < LEDGER_LOOK_PIDS; i++) {
		l.claims[i].pid = gone;
		l.claims[i].pid_start = 0;
		IS_INT(ledger_write(&s.fs, &l, NULL), 0);
		OK(ledger_has_dead(&s.fs));
		l.claims[i].pid = getpid();
	}
	/* Prepared by a daemon that is gone, nothing running. */
	while (l.n_claims)
		ledger_remove(&l, l.claims[0].uuid);
	add(&l, 1, "x\ty")->daemon = gone;
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	OK(ledger_has_dead(&s.fs));
	root_put(&s, PATH_LIBVIRT_RUN "/x\ty.pid", "1\n");
	OK(!ledger_has_dead(&s.fs));
	ledger_fini(&l);
	root_put(&s, PATH_LEDGER, "ledger\t1\tanother-boot\t1\t0\t00000000\n");
	OK(ledger_has_dead(&s.fs));
	root_put(&s, PATH_LEDGER, "");
	OK(!ledger_has_dead(&s.fs));
	hostfs_fini(&real);
}

TEST(nothing_is_lost_on_a_full_disk)
{
#if defined(DT_SAN) || defined(DT_TEST)
	ROOT(s);
	struct ledger l = {0};
	struct err e = {0};
	char *before, *after;

	IS_INT(ledger_make_dirs(&s.fs, NULL), 0);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	add(&l, 1, "a");
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	before = root_dup(&s, PATH_LEDGER);
	add(&l, 2, "b");
	setenv("DOMTUNE_FAULT", "domtune/ledger:28", 1);
	IS_INT(ledger_write(&s.fs, &l, &e), -ENOSPC);
	OK(strstr(e.text, "No space left") != NULL);
	unsetenv("DOMTUNE_FAULT");
	after = root_dup(&s, PATH_LEDGER);
	IS_STR(after, before);
	free(before);
	free(after);
	ledger_fini(&l);
#else
	SKIP("needs a build with SAN=1 or -DDT_TEST");
#endif
}

static double ms_since(const struct timespec *from)
{
	struct timespec to;

	clock_gettime(CLOCK_MONOTONIC, &to);
	return (double)(to.tv_sec - from->tv_sec) * 1e3 + (double)(to.tv_nsec - from->tv_nsec) / 1e6;
}

/* Times are shown, not judged; memory is. */
/* As a big host with ten isolated guests has them. */
#define INTERRUPTS 1024
#define ISOLATED   10

static struct shared *add_interrupt(struct ledger *l, unsigned int i)
{
	char object[64], target[16];
	struct shared *s;

	(void)snprintf(object, sizeof(object), "proc/irq/%u/smp_affinity_list", i);
	(void)snprintf(target, sizeof(target), "irq%u", i);
	s = ledger_add_shared(l, "irq", object);
	s->fold = FOLD_IRQ;
	(void)shared_set(s, &s->knob, "irq.policy");
	(void)shared_set(s, &s->target, target);
	(void)shared_set(s, &s->order, "0-255");
	(void)shared_set(s, &s->cause, "");
	(void)shared_set(s, &s->original, "0-255");
	(void)shared_set(s, &s->written, "0-1");
	(void)shared_set(s, &s->before, "0-255");
	(void)shared_set(s, &s->readback, "0-1");
	return s;
}

static bool is_odd(const void *data, unsigned int i)
{
	(void)data;
	return i % 2;
}

TEST(a_thousand_interrupts)
{
	ROOT(r);
	struct ledger l = {0}, back;
	unsigned int wants = 0;
	char uuid[37], object[64];

	IS_INT(ledger_make_dirs(&r.fs, NULL), 0);
	IS_INT(ledger_read(&r.fs, &l, NULL), 0);
	for (unsigned int i = 0; i < INTERRUPTS; i++) {
		struct shared *s = add_interrupt(&l, i);

		for (unsigned int d = 0; d < ISOLATED; d++) {
			char wanted[32];

			(void)snprintf(uuid, sizeof(uuid), "%08x-2222-3333-4444-555555555555", d);
			(void)snprintf(wanted, sizeof(wanted), i == 7 && d == 3 ? "%u!4-5" : "!%u", 10 + d);
			IS_INT(shared_set_claim(s, uuid, wanted), 0);
		}
	}
	IS_INT(ledger_write(&r.fs, &l, NULL), 0);
	ledger_fini(&l);
	IS_INT(ledger_read(&r.fs, &back, NULL), 0);
	IS_INT(back.bad_lines, 0);
	IS_INT(back.n_shared, INTERRUPTS);
	for (unsigned int i = 0; i < INTERRUPTS; i++) {
		struct shared *s;

		(void)snprintf(object, sizeof(object), "proc/irq/%u/smp_affinity_list", i);
		s = ledger_find_shared(&back, "irq", object);
		OK(s == &back.shared[i]);
		IS_INT(s->n_claims, ISOLATED);
		for (unsigned int d = 0; d < s->n_claims; d++)
			wants += streq(s->claims[d].wanted, "13!4-5");
	}
	IS_INT(wants, 1);
	OK(!ledger_find_shared(&back, "file", "proc/irq/7/smp_affinity_list"));
	OK(!ledger_find_shared(&back, "irq", "proc/irq/1024/smp_affinity_list"));
	/* What goes leaves an index that knows the others. */
	ledger_prune_shared(&back, is_odd, NULL);
	IS_INT(back.n_shared, INTERRUPTS / 2);
	OK(!ledger_find_shared(&back, "irq", "proc/irq/7/smp_affinity_list"));
	OK(ledger_find_shared(&back, "irq", "proc/irq/1022/smp_affinity_list") == &back.shared[511]);
	ledger_fini(&back);
	/* One line for what a domain wants of all of them, and one for what it wants of one. */
	{
		_cleanup_free_ char *text = NULL;

		IS_INT(hostfs_read_all(&r.fs, 1u << 20, &text, NULL, PATH_LEDGER), 0);
		wants = 0;
		for (const char *at = text; (at = strstr(at, "\nwant\t")); at++)
			wants++;
		IS_INT(wants, ISOLATED + 1);
		OK(strlen(text) < 200000);
	}
}

/* Who changes only his own claim's phase leaves the rest as it was, byte for byte. */
TEST(reading_a_claim_keeps_all_else)
{
	ROOT(r);
	struct ledger l = {0};
	struct claim *c;

	IS_INT(ledger_make_dirs(&r.fs, NULL), 0);
	IS_INT(ledger_read(&r.fs, &l, NULL), 0);
	for (unsigned int d = 0; d < 3; d++) {
		char uuid[37];

		(void)snprintf(uuid, sizeof(uuid), "%08x-2222-3333-4444-555555555555", d);
		OK(ledger_add(&l, uuid, "web") != NULL);
		IS_INT(shared_set_claim(add_interrupt(&l, d), uuid, "!3"), 0);
	}
	IS_INT(ledger_write(&r.fs, &l, NULL), 0);
	ledger_fini(&l);
	IS_INT(ledger_read_claim(&r.fs, "00000001-2222-3333-4444-555555555555", &l, NULL), 0);
	IS_INT(l.n_claims, 1);
	IS_INT(l.n_shared, 0);
	c = ledger_find(&l, "00000001-2222-3333-4444-555555555555");
	c->phase = CLAIM_STARTED;
	IS_INT(ledger_write(&r.fs, &l, NULL), 0);
	ledger_fini(&l);
	IS_INT(ledger_read(&r.fs, &l, NULL), 0);
	IS_INT(l.bad_lines, 0);
	IS_INT(l.n_claims, 3);
	IS_INT(l.n_shared, 3);
	for (unsigned int d = 0; d < 3; d++)
		IS_STR(l.shared[d].claims[0].wanted, "!3");
	IS_INT(ledger_find(&l, "00000001-2222-3333-4444-555555555555")->phase, CLAIM_STARTED);
	ledger_fini(&l);
}

TEST(a_thousand_domains)
{
	ROOT(s);
	struct ledger l = {0};
	struct timespec t;
	struct rusage before, after;
	char uuid[37], name[32];
	double all, write, one, dead;

	IS_INT(ledger_make_dirs(&s.fs, NULL), 0);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	for (unsigned int i = 0; i < 1000; i++) {
		struct claim *c;

		(void)snprintf(name, sizeof(name), "instance-%08x", i);
		c = add(&l, i, name);
		fill(&l, c, i);
		c->pid = getpid();
	}
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	ledger_fini(&l);
	uuid_of(uuid, 500);
	getrusage(RUSAGE_SELF, &before);
	clock_gettime(CLOCK_MONOTONIC, &t);
	IS_INT(ledger_read(&s.fs, &l, NULL), 0);
	all = ms_since(&t);
	getrusage(RUSAGE_SELF, &after);
	IS_INT(l.n_claims, 1000);
	clock_gettime(CLOCK_MONOTONIC, &t);
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	write = ms_since(&t);
	ledger_fini(&l);
	clock_gettime(CLOCK_MONOTONIC, &t);
	IS_INT(ledger_read_one(&s.fs, uuid, &l, NULL), 0);
	IS_INT(ledger_write(&s.fs, &l, NULL), 0);
	one = ms_since(&t);
	ledger_fini(&l);
	s.fs.real = true;
	clock_gettime(CLOCK_MONOTONIC, &t);
	(void)ledger_has_dead(&s.fs);
	dead = ms_since(&t);
	printf("# 1000 domains: read %.2f ms, write %.2f ms, one changed %.2f ms, look for dead %.2f ms, +%ld KiB\n",
	       all, write, one, dead, after.ru_maxrss - before.ru_maxrss);
#ifndef DT_SAN
	OK(after.ru_maxrss < 8 * 1024);
#endif
}

TAP_MAIN
