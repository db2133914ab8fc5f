/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For tests of apply: forward and back over files of a root of their own, with back ends that behave as kernels do:
 * one whose write resets a neighbour, one that rounds, one that fails as told. backend_find() here replaces the
 * program's table. Include once per program.
 */
#pragma once

#include "common/apply.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/backend.h"
#include "common/num.h"
#include "common/paths.h"
#include "root_state.h"
#include "tap.h"

#define UUID_A "aaaaaaaa-2222-3333-4444-555555555555"
#define UUID_B "bbbbbbbb-2222-3333-4444-555555555555"
#define UUID_C "cccccccc-2222-3333-4444-555555555555"

/* --- back ends -------------------------------------------------------------------------------------------------- */

static inline int file_probe(const struct hostfs *fs, const char *object)
{
	return be_file.probe(fs, object);
}

static void (*on_read)(const struct hostfs *fs); /* what happens at the worst moment */

static inline int file_read(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	if (on_read)
		on_read(fs);
	return be_file.read(fs, object, buf, size);
}

static inline bool file_same(const char *object, const char *a, const char *b)
{
	return be_file.same(object, a, b);
}

/* Writing DIR/scheduler sets DIR/requests to 64, as a block device's does. */
static inline int reset_write(const struct hostfs *fs, const char *object, const char *value)
{
	const char *slash = strrchr(object, '/');
	int rc = hostfs_write(fs, value, "%s", object);

	if (rc == 0 && slash && streq(slash, "/scheduler"))
		rc = hostfs_write(fs, "64", "%.*s/requests", (int)(slash - object), object);
	return rc;
}

/*
 * A block device's queue as Linux 6.18 has it: a switch of the scheduler sets the number of requests, of which none takes
 * no more than the hardware, and bfq switches off writeback throttling (which a number that is not the default keeps).
 */
#define QUEUE_HARDWARE 128
#define QUEUE_WBT      "2000"

static inline int switch_scheduler(const struct hostfs *fs, const char *dir, const char *value)
{
	bool is_bfq = streq(value, "bfq");
	char now[32], wbt[32];

	if (hostfs_read(fs, now, sizeof(now), "%s/scheduler", dir) < 0 || streq(now, value))
		return 0; /* no switch, nothing is reset (block/elevator.c, elevator_change()) */
	(void)hostfs_read(fs, wbt, sizeof(wbt), "%s/wbt", dir);
	(void)hostfs_write(fs, value, "%s/scheduler", dir);
	(void)hostfs_write(fs, streq(value, "none") ? "128" : "256", "%s/requests", dir);
	if (streq(wbt, is_bfq ? QUEUE_WBT : "0"))
		(void)hostfs_write(fs, is_bfq ? "0" : QUEUE_WBT, "%s/wbt", dir);
	return 0;
}

static inline int queue_write(const struct hostfs *fs, const char *object, const char *value)
{
	const char *slash = strrchr(object, '/');
	_cleanup_free_ char *dir = strndup(object, (size_t)(slash - object));
	char scheduler[32];
	uint64_t n;

	if (streq(slash, "/scheduler"))
		return switch_scheduler(fs, dir, value);
	if (streq(slash, "/requests") && num_parse_u64(value, &n) == 0 && n > QUEUE_HARDWARE &&
	    hostfs_read(fs, scheduler, sizeof(scheduler), "%s/scheduler", dir) > 0 && streq(scheduler, "none"))
		return -EINVAL;
	return hostfs_write(fs, value, "%s", object);
}

/*
 * A cpufreq policy as intel_pstate has it (intel_pstate_hwp_set(), intel_pstate_set_energy_pref_index()): the governor
 * performance makes the preference performance, keeps what it was for the next governor, and takes no other.
 */
static inline int pstate_write(const struct hostfs *fs, const char *object, const char *value)
{
	const char *slash = strrchr(object, '/');
	_cleanup_free_ char *dir = strndup(object, (size_t)(slash - object));
	char governor[32], preference[32], kept[32];

	if (hostfs_read(fs, governor, sizeof(governor), "%s/governor", dir) < 0 ||
	    hostfs_read(fs, preference, sizeof(preference), "%s/preference", dir) < 0 ||
	    hostfs_read(fs, kept, sizeof(kept), "%s/kept", dir) < 0)
		return -ENOENT;
	if (streq(slash, "/preference"))
		return streq(governor, "performance") && !streq(value, "performance") ? -EBUSY
										      : hostfs_write(fs, value, "%s", object);
	if (streq(governor, value))
		return 0;
	if (streq(value, "performance")) {
		(void)hostfs_write(fs, preference, "%s/kept", dir);
		(void)hostfs_write(fs, "performance", "%s/preference", dir);
	} else if (streq(preference, "performance")) {
		(void)hostfs_write(fs, kept, "%s/preference", dir);
	}
	return hostfs_write(fs, value, "%s", object);
}

/* Down to a multiple of 4096, as memory.high. */
static inline int round_write(const struct hostfs *fs, const char *object, const char *value)
{
	uint64_t v;
	char text[24];

	if (num_parse_u64(value, &v) < 0)
		return -EINVAL;
	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)(v & ~UINT64_C(4095)));
	return hostfs_write(fs, text, "%s", object);
}

static int fail_code, fail_times, fail_asked;
static bool fail_after; /* the value was taken all the same */

static int fail_write(const struct hostfs *fs, const char *object, const char *value)
{
	fail_asked++;
	if (fail_times > 0) {
		fail_times--;
		if (fail_after)
			(void)hostfs_write(fs, value, "%s", object);
		return fail_code;
	}
	return hostfs_write(fs, value, "%s", object);
}

/* Says yes and does nothing. */
static inline int deaf_write(const struct hostfs *fs, const char *object, const char *value)
{
	(void)fs;
	(void)object;
	(void)value;
	return 0;
}

/* A thread that ends while its group is written. */
static inline int group_write(const struct hostfs *fs, const char *object, const char *value)
{
	if (str_starts(object, "sys/group"))
		(void)hostfs_unlink(fs, "sys/thread");
	return hostfs_write(fs, value, "%s", object);
}

#define BACKEND(n, w, ends)                                                                                            \
	{                                                                                                              \
		.name = n, .probe = file_probe, .read = file_read, .write = w, .same = file_same,                      \
		.ends_with_domain = ends,                                                                              \
	}
static const struct backend be_reset = BACKEND("reset", reset_write, false);
static const struct backend be_round = BACKEND("round", round_write, true);
static const struct backend be_fail = BACKEND("fail", fail_write, false);
static inline int all_of_it(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	(void)object;
	return hostfs_read(fs, buf, size, "sys/online");
}
static const char *on_write_set; /* what comes of any write */
static inline int set_write(const struct hostfs *fs, const char *object, const char *value)
{
	return hostfs_write(fs, on_write_set ? on_write_set : value, "%s", object);
}
static inline bool set_same(const char *object, const char *a, const char *b)
{
	return be_cgroup.same("cpuset.cpus", a, b) && object;
}
/* A set of which none means all. */
static const struct backend be_set = {
	.name = "set", .probe = file_probe, .read = file_read, .write = set_write, .same = set_same, .whole = all_of_it,
};
static int silent; /* -errno of all reads */
static inline int silent_read(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	return silent ? silent : be_file.read(fs, object, buf, size);
}
static const struct backend be_silent = {
	.name = "silent", .probe = file_probe, .read = silent_read, .write = set_write, .same = file_same,
};
static const struct backend be_deaf = BACKEND("deaf", deaf_write, false);
static const struct backend be_queue = BACKEND("queue", queue_write, false);
static const struct backend be_pstate = BACKEND("pstate", pstate_write, false);

/* Values have parts: "half VALUE" is what is left of one. */
static inline bool half_remains(const char *object, const char *now, const char *made)
{
	(void)object;
	return str_starts(now, "half ") && streq(now + strlen("half "), made);
}
static const struct backend be_parts = {
	.name = "parts", .probe = file_probe, .read = file_read, .write = fail_write, .same = file_same,
	.remains = half_remains,
};
static const struct backend be_group = BACKEND("group", group_write, true);

const struct backend *backend_find(const char *name)
{
	static const struct backend *const all[] = {&be_file, &be_reset, &be_round, &be_fail,
						     &be_deaf, &be_queue, &be_pstate, &be_parts, &be_group, &be_thread,
						     &be_irq, &be_irqbalance, &be_set, &be_silent};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (streq(all[i]->name, name))
			return all[i];
	return NULL;
}

/* --- starts ----------------------------------------------------------------------------------------------------- */

static char knob[] = "test.knob", no_target[] = "", target_b[] = "b", target_c[] = "c";
static const struct setting one = {.knob = knob, .target = no_target}, two = {.knob = knob, .target = target_b},
			    three = {.knob = knob, .target = target_c};

static inline int begin(struct root *r, const char *uuid, bool observe)
{
	struct ledger l = {0};
	struct plan p = {.id = -1, .observe = observe};
	struct claim *c;
	int lock;

	if (ledger_make_dirs(&r->fs, NULL) < 0)
		return -1;
	lock = ledger_lock(&r->fs, NULL);
	(void)snprintf(p.uuid, sizeof(p.uuid), "%s", uuid);
	p.name = strdup("guest");
	p.profile = strdup("latency");
	IS_INT(ledger_read(&r->fs, &l, NULL), 0);
	ledger_remove(&l, uuid);
	c = ledger_add(&l, uuid, "guest");
	IS_INT(undo_create(&r->fs, &p, c->generation, NULL), 0);
	root_put(r, uuid[0] == 'a' ? PATH_PLAN "/" UUID_A : PATH_PLAN "/" UUID_B, "x\n");
	IS_INT(ledger_write(&r->fs, &l, NULL), 0);
	ledger_fini(&l);
	plan_fini(&p);
	close(lock);
	return 0;
}

static inline struct step make_step(const struct setting *s, const char *backend, const char *object, const char *value)
{
	return (struct step){
		.setting = s,
		.backend = backend,
		.object = strdup(object),
		.value = value ? strdup(value) : NULL,
	};
}

static inline struct apply_count run_steps(struct root *r, const char *uuid, const struct step *s, unsigned int n)
{
	struct steps steps = {.s = calloc(n, sizeof(*s)), .n = n};
	struct apply_count count = {0};
	struct undo u;

	memcpy(steps.s, s, n * sizeof(*s));
	IS_INT(undo_open(&r->fs, uuid, true, &u, NULL), 0);
	IS_INT(apply_steps(&r->fs, &u, &steps, &count), 0);
	undo_fini(&u);
	for (unsigned int i = 0; i < n; i++) {
		free(steps.s[i].object);
		free(steps.s[i].value);
	}
	free(steps.s);
	return count;
}
#define APPLY(r, uuid, ...)                                                                                            \
	run_steps(r, uuid, (struct step[]){__VA_ARGS__}, sizeof((struct step[]){__VA_ARGS__}) / sizeof(struct step))

static inline struct apply_count release(struct root *r, const char *uuid, int want)
{
	struct apply_count count = {0};
	struct err e = {0};

	IS_INT(undo_all(&r->fs, uuid, &count, &e), want);
	return count;
}

static inline bool knows(struct root *r, const char *uuid)
{
	_cleanup_free_ char *text = root_dup(r, PATH_LEDGER);

	return strstr(text, uuid) || hostfs_exists(&r->fs, "%s/%s", PATH_UNDO, uuid) ||
	       hostfs_exists(&r->fs, "%s/%s", PATH_PLAN, uuid);
}

#define IS_FILE(r, path, want) IS_STR(root_get(r, path), want "\n")

static inline struct step shared_step(enum fold fold, const char *order, const char *object, const char *value)
{
	struct step s = make_step(&one, "file", object, value);

	s.fold = fold;
	s.order = order;
	return s;
}

static inline void put_disk(struct root *r)
{
	root_put(r, "sys/sda/scheduler", "mq-deadline\n");
	root_put(r, "sys/sda/requests", "256\n");
	root_put(r, "sys/other", "1\n");
}

static inline void is_disk(struct root *r)
{
	IS_FILE(r, "sys/sda/scheduler", "mq-deadline");
	IS_FILE(r, "sys/sda/requests", "256");
	IS_FILE(r, "sys/other", "1");
}

/* In a child that is killed before its n-th durable action from here (0: never). Whether it was. */
static inline bool killed_in(struct root *r, void (*run)(struct root *), int n)
{
	char at[16];
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		(void)snprintf(at, sizeof(at), "%d", n);
		if (n)
			setenv("DOMTUNE_CRASH_AT", at, 1);
		run(r);
		_exit(tap_failed ? 1 : 0);
	}
	while (waitpid(pid, &status, 0) < 0)
		;
	OK(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
	return WIFSIGNALED(status);
}
