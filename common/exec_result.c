/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What became of the settings that only the wrapper can bring into force: QEMU's final command line, its policy,
 * affinity and locked memory are read from /proc, so that the answer is the kernel's and QEMU's, not the plan's. A
 * setting is in force if every back end of guest RAM has it; with guest cells, each on the nodes of its own.
 *
 * Where a setting is not in force, the wrapper's own reason is used: it leaves them in its environment, as
 * DOMTUNE_KEPT="KNOB: REASON; KNOB: REASON", where "wrapper" in a knob's place speaks for all of them. QEMU could
 * write anything there; it is text for people, nothing else.
 */
#include "exec_result.h"

#include <fcntl.h>

#include "apply.h"
#include "core_sched.h"
#include "ioprio.h"
#include "exec_disk.h"
#include "num.h"
#include "qemuram.h"

struct exec_look {
	const struct hostfs *fs;
	const struct plan *plan;
	int pid;
	struct qemuram ram;
	struct strings env;
	int env_error; /* negative errno */
	struct qemuram_map *maps;
	int n_maps; /* thorough; negative: not read */
};

static void say(struct exec_result *a, const char *text)
{
	(void)snprintf(a->effective, sizeof(a->effective), "%s", text); /* cut is fine: for people */
}

/* Of all back ends one answer, or of each its own: "cell 0 2M, cell 1 default". */
static void say_each(const struct exec_look *q, struct exec_result *a, unsigned int i, const char *text)
{
	size_t len = strlen(a->effective);

	if (q->ram.n_backends < 2)
		say(a, text);
	else
		(void)snprintf(a->effective + len, sizeof(a->effective) - len, "%scell %d %s", i ? ", " : "",
			       q->ram.backends[i].cell, text); /* cut is fine */
}

static const struct placed_cell *placed_cell(const struct exec_look *q, int cell)
{
	const struct placement *pl = &q->plan->placement;

	for (unsigned int i = 0; i < pl->n_cells && cell >= 0; i++)
		if (pl->cells[i].id == (unsigned int)cell)
			return &pl->cells[i];
	return NULL;
}

/* "2 GiB", "1.5 GiB", "192 MiB" */
static void size_text(uint64_t bytes, char *buf, size_t size)
{
	uint64_t mib = bytes >> 20, tenths = (mib % 1024) * 10 / 1024;

	if (mib < 1024)
		(void)snprintf(buf, size, "%llu MiB", (unsigned long long)mib); /* fits */
	else if (tenths)
		(void)snprintf(buf, size, "%llu.%llu GiB", (unsigned long long)mib / 1024,
			       (unsigned long long)tenths); /* fits */
	else
		(void)snprintf(buf, size, "%llu GiB", (unsigned long long)mib / 1024); /* fits */
}

/* How much of guest RAM has them. Never rounded up to 100. */
static void say_coverage(const struct exec_look *q, struct exec_result *a)
{
	uint64_t huge = 0, all = 0;
	char size[32];

	for (int i = 0; i < q->n_maps; i++) {
		huge += q->maps[i].huge;
		all += q->maps[i].size;
	}
	if (all == 0)
		return;
	size_text(all, size, sizeof(size));
	(void)snprintf(a->effective, sizeof(a->effective), "thp (%u%% of %s)", (unsigned int)(huge / (all / 100 + 1)),
		       size); /* fits */
	if (huge >= all)
		(void)snprintf(a->effective, sizeof(a->effective), "thp (100%% of %s)", size); /* fits */
}

/* Transparent huge pages: QEMU advises them for all of guest RAM, the host's mode decides. */
static void answer_thp(const struct exec_look *q, struct exec_result *a)
{
	char modes[128];

	if (hostfs_read(q->fs, modes, sizeof(modes), "sys/kernel/mm/transparent_hugepage/enabled") < 0)
		modes[0] = '\0';
	a->ok = strstr(modes, "[always]") || strstr(modes, "[madvise]");
	say(a, a->ok ? "thp" : "default");
	if (a->ok)
		say_coverage(q, a);
	else
		(void)snprintf(a->why, sizeof(a->why),
			       "transparent huge pages are switched off on this host"); /* fits */
}

/* "2M", "1G", or "default" for what is no memfd on huge pages (the wrapper makes no other). */
static const char *pages_of(const char *arg, char size[QEMURAM_VALUE])
{
	char type[QEMURAM_VALUE];

	(void)qemu_value(arg, "qom-type", type);
	(void)qemu_value(arg, "hugetlbsize", size);
	if (!streq(type, "memory-backend-memfd") || !qemu_says_yes(arg, "hugetlb"))
		return "default";
	switch (qemu_size(size)) {
	case 2u << 20:
		return "2M";
	case 1u << 30:
		return "1G";
	default:
		return size[0] ? size : "hugetlb";
	}
}

static void answer_pages(const struct exec_look *q, const struct setting *s, struct exec_result *a)
{
	char size[QEMURAM_VALUE];

	if (streq(s->value, "thp")) {
		answer_thp(q, a);
		return;
	}
	a->ok = q->ram.n_backends > 0 || streq(s->value, "default");
	if (q->ram.n_backends == 0)
		say(a, "default");
	for (unsigned int i = 0; i < q->ram.n_backends; i++) {
		const struct placed_cell *cell = placed_cell(q, q->ram.backends[i].cell);
		const char *have = pages_of(q->ram.backends[i].arg, size);

		a->ok &= streq(have, cell && cell->page_size == 0 ? "default" : s->value);
		say_each(q, a, i, have);
	}
	if (a->ok)
		say(a, s->value);
}

static void set_text(char *buf, size_t size, const char *text)
{
	(void)snprintf(buf, size, "%s", text); /* cut is fine: it is compared, or for people */
}

/*
 * Policy of the process: the second word of its first numa_maps lines is the task's own where a mapping has none
 * (fs/proc/task_mmu.c, show_numa_map). One short read: the file walks the page tables of what it prints, and
 * printing guest RAM takes seconds per TiB.
 */
static void process_policy(const struct exec_look *q, char ret_policy[QEMURAM_VALUE], char ret_nodes[QEMURAM_VALUE])
{
	_cleanup_close_ int fd = hostfs_open(q->fs, O_RDONLY, "proc/%d/numa_maps", q->pid);
	char text[512], *word, *colon, *end;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	ret_policy[0] = ret_nodes[0] = '\0';
	if (n <= 0)
		return;
	text[n] = '\0';
	word = strchr(text, ' ');
	if (!word)
		return;
	word++;
	end = word + strcspn(word, " \n");
	if (str_starts(word, "prefer (many)"))
		end = word + strcspn(word + 8, " \n") + 8;
	*end = '\0';
	colon = strrchr(word, ':');
	if (colon)
		set_text(ret_nodes, QEMURAM_VALUE, colon + 1);
	word[strcspn(word, " :=")] = '\0';
	set_text(ret_policy, QEMURAM_VALUE, word);
}

/* Words for one policy: the contract's, QEMU's (qapi, HostMemPolicy), the kernel's (mm/mempolicy.c). */
static const struct {
	const char *value, *qemu, *kernel;
} policies[] = {
	{"strict", "bind", "bind"},
	{"preferred", "preferred", "prefer"},
	{"interleave", "interleave", "interleave"},
};

/*
 * Policy of a back end (NULL: of the process), in the contract's words, and its nodes: its own, else the process's.
 */
static const char *memory_policy(const struct exec_look *q, const char *arg, struct idset *ret_nodes)
{
	char policy[QEMURAM_VALUE], nodes[QEMURAM_VALUE] = "";
	bool own = qemu_value(arg, "policy", policy) && !streq(policy, "default");

	if (own)
		(void)qemu_value(arg, "host-nodes", nodes);
	else
		process_policy(q, policy, nodes);
	if (idset_parse(nodes, ret_nodes) < 0)
		*ret_nodes = IDSET_EMPTY;
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
		if (streq(policy, own ? policies[i].qemu : policies[i].kernel))
			return policies[i].value;
	return "none";
}

/* Pages of a cell that spans nodes are taken in turns where they are huge, whatever the policy (common/wplan.c). */
static bool is_policy(const char *have, const char *want, size_t n, const struct placed_cell *cell)
{
	if (cell && cell->page_size > 0 && idset_count(&cell->nodes) > 1 && streq(have, "interleave") &&
	    n == strlen("strict") && strncmp(want, "strict", n) == 0)
		return true;
	return strlen(have) == n && strncmp(have, want, n) == 0;
}

/* The value is "POLICY:NODES". */
static void answer_placement(const struct exec_look *q, const struct setting *s, struct exec_result *a)
{
	const char *colon = strchr(s->value, ':');
	struct idset want;
	unsigned int i = 0;

	a->ok = colon && idset_parse(colon + 1, &want) == 0;
	do {
		const struct qemuram_backend *b = q->ram.n_backends ? &q->ram.backends[i] : NULL;
		const struct placed_cell *cell = b ? placed_cell(q, b->cell) : NULL;
		char nodes[QEMURAM_VALUE / 2], text[QEMURAM_VALUE];
		struct idset have;
		const char *policy = memory_policy(q, b ? b->arg : NULL, &have);

		if (idset_format(&have, nodes, sizeof(nodes)) < 0)
			nodes[0] = '\0';
		(void)snprintf(text, sizeof(text), streq(policy, "none") ? "%s" : "%s:%s", policy, nodes); /* fits */
		say_each(q, a, i, text);
		a->ok = a->ok && is_policy(policy, s->value, (size_t)(colon - s->value), cell) &&
			idset_equal(cell ? &cell->nodes : &want, &have);
	} while (++i < q->ram.n_backends);
	if (a->ok)
		say(a, s->value);
}

static void answer_prealloc(const struct exec_look *q, const struct setting *s, struct exec_result *a)
{
	bool all = q->ram.n_backends > 0;

	for (unsigned int i = 0; i < q->ram.n_backends; i++)
		all &= qemu_says_yes(q->ram.backends[i].arg, "prealloc");
	say(a, all ? "yes" : "no");
	a->ok = streq(a->effective, s->value);
}

/* The value of one line of /proc/PID/status (proc(5)), "" if there is none. */
static void status_value(const struct exec_look *q, const char *key, char *buf, size_t size)
{
	char text[16384];
	const char *p = NULL;

	if (hostfs_read(q->fs, text, sizeof(text), "proc/%d/status", q->pid) >= 0)
		p = strstr(text, key);
	buf[0] = '\0';
	if (!p)
		return;
	p += strlen(key);
	p += strspn(p, " \t");
	(void)snprintf(buf, size, "%.*s", (int)strcspn(p, "\n"), p); /* cut is no list any more */
}

/* Affinity of QEMU's first thread. */
static void answer_affinity(const struct exec_look *q, const struct setting *s, struct exec_result *a)
{
	struct idset want, have;

	status_value(q, "Cpus_allowed_list:", a->effective, sizeof(a->effective));
	if (!a->effective[0]) {
		(void)snprintf(a->why, sizeof(a->why), "its affinity cannot be read"); /* fits */
		return;
	}
	a->ok = idset_parse(s->value, &want) == 0 && idset_parse(a->effective, &have) == 0 &&
		idset_is_subset(&have, &want);
}

/* Whether the mount that this path lies on is a hugetlbfs, as the process sees it (proc(5), mounts). */
static bool is_on_hugetlbfs(const struct exec_look *q, const char *path)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	size_t best = 0;
	bool huge = false;

	if (!path[0] || hostfs_read_all(q->fs, 1u << 20, &text, NULL, "proc/%d/mounts", q->pid) < 0)
		return false;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char *dir = strchr(line, ' '), *type = dir ? strchr(dir + 1, ' ') : NULL;
		size_t n = type ? (size_t)(type - dir - 1) : 0;

		if (n < best || n == 0 || strncmp(dir + 1, path, n) != 0 || (n > 1 && path[n] && path[n] != '/'))
			continue;
		best = n;
		huge = str_starts(type + 1, "hugetlbfs ");
	}
	return huge;
}

/* Whether all of guest RAM is on huge pages of a pool: these are never swapped, and never merged. */
static bool is_hugetlb(const struct exec_look *q)
{
	char size[QEMURAM_VALUE], path[QEMURAM_VALUE];

	for (unsigned int i = 0; i < q->ram.n_backends; i++) {
		const char *arg = q->ram.backends[i].arg;

		(void)qemu_value(arg, "mem-path", path);
		if (streq(pages_of(arg, size), "default") && !is_on_hugetlbfs(q, path))
			return false;
	}
	return q->ram.n_backends > 0;
}

static void answer_lock(const struct exec_look *q, const struct setting *s, struct exec_result *a)
{
	uint64_t memory = 0, locked = 0;
	char text[64];

	for (unsigned int i = 0; i < q->ram.n_backends; i++)
		memory += q->ram.backends[i].size;
	if (memory == 0)
		memory = q->plan->memory;
	status_value(q, "VmLck:", text, sizeof(text));
	text[strspn(text, "0123456789")] = '\0';
	if (num_parse_range(text, 0, UINT64_MAX >> 10, &locked) < 0)
		locked = 0;
	a->ok = true;
	if (memory > 0 && locked << 10 >= memory)
		say(a, "yes");
	else if (is_hugetlb(q))
		say(a, "yes (huge pages)");
	else
		say(a, "no");
	a->ok = str_starts(a->effective, s->value);
}

/* What QEMU asks of the kernel: the machine's word (on by default), or a back end's own. */
static bool is_asked_to_merge(const struct exec_look *q)
{
	const char *machine = strings_option(&q->ram.argv, "-machine");
	char value[QEMURAM_VALUE];
	bool all = qemu_value(machine, "mem-merge", value) ? qemu_says_yes(machine, "mem-merge") : true, any = false;

	for (unsigned int i = 0; i < q->ram.n_backends; i++) {
		const char *arg = q->ram.backends[i].arg;

		any |= qemu_value(arg, "merge", value) ? qemu_says_yes(arg, "merge") : all;
	}
	return q->ram.n_backends ? any : all;
}

static void answer_merge(const struct exec_look *q, const struct setting *s, struct exec_result *a)
{
	bool merges = is_asked_to_merge(q), huge = is_hugetlb(q);

	if (q->n_maps > 0) {
		merges = false;
		for (int i = 0; i < q->n_maps; i++)
			merges |= q->maps[i].mergeable;
	}
	say(a, merges && !huge ? "yes" : "no");
	a->ok = streq(a->effective, s->value);
	if (!a->ok && huge)
		(void)snprintf(a->why, sizeof(a->why), "huge pages are not merged"); /* fits */
}

/* I/O priority of QEMU's first thread. */
static void answer_ioprio(const struct exec_look *q, const struct setting *s, struct exec_result *a)
{
	int v = q->fs->real ? ioprio_of_thread(q->pid) : -EOPNOTSUPP;

	if (v < 0 || ioprio_format(v, a->effective, sizeof(a->effective)) < 0) {
		(void)snprintf(a->why, sizeof(a->why), "its I/O priority cannot be read"); /* fits */
		return;
	}
	a->ok = streq(a->effective, s->value);
}

/* Of its first thread, which the others have it from. */
static void answer_core(const struct exec_look *q, const struct setting *s, struct exec_result *a)
{
	unsigned long cookie = 0;
	int code = EOPNOTSUPP;

	if (q->fs->real)
		code = prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, (unsigned long)q->pid,
			     (unsigned long)PR_SCHED_CORE_SCOPE_THREAD, &cookie) < 0
			       ? errno
			       : 0;
	if (code == 0)
		say(a, cookie ? "yes" : "no");
	else
		(void)snprintf(a->why, sizeof(a->why), "%s",
			       core_sched_error(code) ? core_sched_error(code)
						      : "its cookie cannot be read"); /* fits */
	a->ok = streq(a->effective, s->value);
}

static void answer_disk(const struct exec_look *q, const struct setting *s, struct exec_result *a)
{
	exec_disk_answer(&q->ram.argv, plan_find_disk(q->plan, s->target), s, a);
}

static const struct {
	const char *knob;
	void (*answer)(const struct exec_look *q, const struct setting *s, struct exec_result *a);
} answers[] = {
	{"memory.pages", answer_pages}, {"memory.placement", answer_placement}, {"memory.prealloc", answer_prealloc},
	{"memory.lock", answer_lock},   {"memory.merge", answer_merge},         {"cpu.emulator", answer_affinity},
	{"io.priority", answer_ioprio}, {"cpu.core-scheduling", answer_core},
	{"disk.io", answer_disk},       {"disk.cache", answer_disk},            {"disk.discard", answer_disk},
	{"disk.detect-zeroes", answer_disk}, {"disk.metadata-cache", answer_disk},
};

static void copy_printable(char *buf, size_t size, const char *text, size_t n)
{
	if (n >= size)
		n = size - 1;
	for (size_t i = 0; i < n; i++)
		buf[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
	buf[n] = '\0';
}

/* What the wrapper left as it was, and why; NULL: nothing, so either it changed all that was wanted or did not run. */
static const char *kept_list(const struct exec_look *q)
{
	static const char name[] = "DOMTUNE_KEPT=";

	for (const char *p = strings_next(&q->env, NULL); p; p = strings_next(&q->env, p))
		if (str_starts(p, name))
			return p + strlen(name);
	return NULL;
}

/* The reason in that list for one knob, cut and made printable. */
static bool kept_reason(const char *list, const char *knob, char *buf, size_t size)
{
	size_t n = strlen(knob);

	while (list && *list) {
		size_t len = strcspn(list, ";");

		if (strncmp(list, knob, n) == 0 && list[n] == ':') {
			const char *why = list + n + 1 + strspn(list + n + 1, " ");

			if (why < list + len)
				copy_printable(buf, size, why, (size_t)(list + len - why));
			return why < list + len;
		}
		list += len;
		list += strspn(list, "; ");
	}
	return false;
}

/* A knob that the wrapper has no reason of its own for. */
static const struct {
	const char *knob, *told_as;
} told_together[] = {
	{"memory.nodes", "memory.placement"},
};

/* The wrapper's reason for one setting: of a disk "disk.io vda", or "disk vda" for all of them. */
static bool setting_reason(const struct exec_look *q, const struct setting *s, char *buf, size_t size)
{
	const char *list = kept_list(q), *knob = s->knob;
	char name[128];

	for (size_t i = 0; i < ARRAY_SIZE(told_together); i++)
		if (streq(told_together[i].knob, knob))
			knob = told_together[i].told_as;
	if (!str_starts(knob, "disk."))
		return kept_reason(list, knob, buf, size);
	(void)snprintf(name, sizeof(name), "%s %s", knob, s->target); /* cut matches nothing */
	if (kept_reason(list, name, buf, size))
		return true;
	(void)snprintf(name, sizeof(name), "disk %s", s->target); /* likewise */
	return kept_reason(list, name, buf, size);
}

/* Where less will do (auto), what it is and why: "threads (io_uring: Operation not permitted, ...)". */
static void say_fallback(const struct exec_look *q, const struct setting *s, struct exec_result *a)
{
	size_t len = strlen(a->effective);
	char why[sizeof(a->why)];

	if (streq(s->knob, "disk.io") && streq(s->value, "auto") && setting_reason(q, s, why, sizeof(why)))
		(void)snprintf(a->effective + len, sizeof(a->effective) - len, " (%s)", why); /* cut is fine */
}

static void explain(const struct exec_look *q, const struct setting *s, struct exec_result *a)
{
	const char *list = kept_list(q), *text;

	if (setting_reason(q, s, a->why, sizeof(a->why)) || a->why[0] ||
	    kept_reason(list, "wrapper", a->why, sizeof(a->why)))
		return;
	if (list)
		text = "the wrapper left it as it was"; /* its line had no room for the reason */
	else if (q->env_error)
		text = "QEMU has it otherwise, and its environment cannot be read";
	else
		text = "the wrapper did not run (see the domain's log)";
	(void)snprintf(a->why, sizeof(a->why), "%s", text); /* fits */
}

int exec_look(const struct hostfs *fs, const struct plan *plan, int pid, bool thorough, struct exec_look **ret)
{
	struct exec_look *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	q->fs = fs;
	q->plan = plan;
	q->pid = pid;
	r = qemuram_read(fs, pid, &q->ram);
	if (r < 0) {
		free(q);
		return r;
	}
	q->env_error = strings_read(fs, pid, "environ", &q->env);
	q->n_maps = thorough ? qemuram_maps(fs, pid, &q->ram, plan->memory, true, &q->maps) : -1;
	*ret = q;
	return 0;
}

void exec_answer(const struct exec_look *q, const struct setting *s, struct exec_result *ret)
{
	*ret = (struct exec_result){0};
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		if (streq(answers[i].knob, s->knob)) {
			answers[i].answer(q, s, ret);
			break;
		}
	if (!ret->ok) {
		explain(q, s, ret);
		return;
	}
	ret->why[0] = '\0';
	say_fallback(q, s, ret);
}

unsigned int exec_disk_node(const struct exec_look *q, const char *target)
{
	return exec_disk_index(&q->ram.argv, plan_find_disk(q->plan, target));
}

void exec_look_free(struct exec_look *q)
{
	if (!q)
		return;
	qemuram_fini(&q->ram);
	free(q->env.text);
	free(q->maps);
	free(q);
}

static bool is_answered(const struct undo *u, const struct setting *s)
{
	for (unsigned int i = 0; i < u->n_execs; i++)
		if (streq(u->execs[i].knob, s->knob) && streq(u->execs[i].target, s->target))
			return true;
	return false;
}

static bool is_open(const struct undo *u, const struct setting *s)
{
	return s->stage == STAGE_EXEC && !is_answered(u, s);
}

int apply_read_exec(const struct hostfs *fs, struct undo *u, const struct run *run)
{
	struct exec_look *q = NULL;
	bool any = false;
	int r = 0;

	for (size_t i = 0; i < u->plan.n_settings && !any; i++)
		any = is_open(u, &u->plan.settings[i]);
	if (!any)
		return 0;
	r = exec_look(fs, &u->plan, run->pid, false, &q);
	for (size_t i = 0; i < u->plan.n_settings && r >= 0; i++) {
		const struct setting *s = &u->plan.settings[i];
		struct exec_result a;

		if (!is_open(u, s))
			continue;
		exec_answer(q, s, &a);
		r = undo_exec_result(u, s->knob, s->target, a.ok, a.effective, a.why);
	}
	exec_look_free(q);
	return r < 0 ? r : 0;
}
