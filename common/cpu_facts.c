/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Few files are read where the host is large: which policy a CPU has follows from the policies' names alone where each
 * CPU has its own; names of governors and preferences are those of the driver, of which there is one at a time
 * (drivers/cpufreq/cpufreq.c), so the first policy speaks for all.
 */
#include "cpu_facts.h"

#include "num.h"

#define CPUFREQ "sys/devices/system/cpu/cpufreq"

#define KTHREADD         2
#define KTHREADS_MAX     65536 /* looked at: 256 CPUs have some 3,000 */
#define CHILDREN_MAX     (1u << 20)
#define CMDLINE_MAX      65536
#define CPULIST_MAX      65536
#define CONF_MAX         (1u << 20)
#define FAIR_SERVER      612 /* 5f6bd380c7bd "sched/rt: Remove default bandwidth control" */
#define FAIR_SERVER_LEFT 5   /* percent, kernel/sched/deadline.c: 50 ms of each second */

static bool asks(const struct intent *in, enum knob_id id)
{
	return in->v[id].text != NULL;
}

static bool asks_realtime(const struct intent *in)
{
	const char *scheduler = intent_word(in, KNOB_CPU_SCHEDULER, "");

	return streq(scheduler, "fifo") || streq(scheduler, "rr");
}

bool cpu_facts_are_asked(const struct intent *in)
{
	static const enum knob_id ids[] = { KNOB_CPU_GOVERNOR, KNOB_CPU_ENERGY, KNOB_CPU_WAKEUP, KNOB_CPU_HALT_POLL,
					    KNOB_CPU_CORE_SCHED };

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		if (asks(in, ids[i]))
			return true;
	return asks_realtime(in);
}

/* --- cpufreq ---------------------------------------------------------------------------------------------------- */

/* Numbers of the policies that there are. */
static struct idset list_policies(const struct hostfs *fs)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, CPUFREQ);
	struct idset all = IDSET_EMPTY;
	struct dirent *d;
	uint64_t number;

	while (dir && (d = readdir(dir)))
		if (str_starts(d->d_name, "policy") &&
		    num_parse_range(d->d_name + strlen("policy"), 0, IDSET_MAX - 1, &number) == 0)
			idset_add(&all, (unsigned int)number);
	return all;
}

static void read_word(const struct hostfs *fs, char *buf, size_t size, int policy, const char *file)
{
	if (hostfs_read(fs, buf, size, CPUFREQ "/policy%d/%s", policy, file) < 0)
		buf[0] = '\0';
}

/* "0 1 2 3 ": numbers between blanks, unlike the kernel's other lists of CPUs (cpufreq_show_cpus()). */
static void read_related(const struct hostfs *fs, int policy, struct cpu_facts *f)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;
	uint64_t cpu;

	if (hostfs_read_all(fs, CPULIST_MAX, &text, NULL, CPUFREQ "/policy%d/related_cpus", policy) < 0)
		return;
	for (char *word = strtok_r(text, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
		if (num_parse_range(word, 0, IDSET_MAX - 1, &cpu) == 0 && cpu < f->n_policy)
			f->policy[cpu] = policy;
}

/* A policy is named for its lowest CPU; one that has CPUs beside that says so. */
static int read_policies(const struct hostfs *fs, const struct host *h, bool governors, struct cpu_facts *f)
{
	struct idset all = list_policies(fs);
	int last = -1, first = idset_first(&all);

	if (first < 0)
		return 0;
	IDSET_FOREACH (cpu, &h->online)
		last = cpu;
	IDSET_FOREACH (policy, &all)
		last = policy > last ? policy : last;
	f->policy = calloc((size_t)last + 1, sizeof(*f->policy));
	f->governor = governors ? calloc((size_t)last + 1, sizeof(*f->governor)) : NULL;
	if (!f->policy || (governors && !f->governor))
		return -ENOMEM;
	f->n_policy = (unsigned int)last + 1;
	for (unsigned int i = 0; i < f->n_policy; i++)
		f->policy[i] = idset_has(&all, i) ? (int)i : -1;
	if (!idset_is_subset(&h->online, &all))
		IDSET_FOREACH (policy, &all)
			read_related(fs, policy, f);
	read_word(fs, f->driver, sizeof(f->driver), first, "scaling_driver");
	read_word(fs, f->governors, sizeof(f->governors), first, "scaling_available_governors");
	read_word(fs, f->preferences, sizeof(f->preferences), first, "energy_performance_available_preferences");
	for (unsigned int i = 0; i < f->n_policy && f->governor; i++)
		if (idset_has(&all, i))
			read_word(fs, f->governor[i], sizeof(f->governor[i]), (int)i, "scaling_governor");
	return 0;
}

/* --- real-time scheduling --------------------------------------------------------------------------------------- */

/* A set of the kernel's; one that is not set may read "", or "(null)" (drivers/base/cpu.c). */
static struct idset read_set(const struct hostfs *fs, const char *file)
{
	struct idset set;

	return hostfs_read_idset(fs, &set, "sys/devices/system/cpu/%s", file) < 0 ? IDSET_EMPTY : set;
}

/* The last word NAME= of the boot arguments that is a set of CPUs, or "all". */
static struct idset boot_set(char *cmdline, const char *name, const struct idset *all)
{
	struct idset set = IDSET_EMPTY, parsed;
	size_t len = strlen(name);
	char *save = NULL;

	for (char *word = strtok_r(cmdline, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		if (strncmp(word, name, len) != 0 || word[len] != '=')
			continue;
		if (streq(word + len + 1, "all"))
			set = *all;
		else if (idset_parse(word + len + 1, &parsed) == 0)
			set = parsed;
	}
	return set;
}

static void read_boot(const struct hostfs *fs, const struct host *h, struct cpu_facts *f)
{
	_cleanup_free_ char *cmdline = NULL;
	char text[512];
	uint64_t yes;

	f->isolated = read_set(fs, "isolated");
	f->nohz_full = read_set(fs, "nohz_full");
	if (hostfs_read_all(fs, CMDLINE_MAX, &cmdline, NULL, "proc/cmdline") >= 0)
		f->nocbs = boot_set(cmdline, "rcu_nocbs", &h->online);
	idset_or(&f->nocbs, &f->nohz_full); /* implied: kernel/rcu/tree_nocb.h, rcu_init_nohz() */
	f->preempts = (hostfs_read_u64(fs, &yes, "sys/kernel/realtime") == 0 && yes) ||
		      (hostfs_read(fs, text, sizeof(text), "proc/version") > 0 && strstr(text, "PREEMPT_RT"));
}

/* Since 6.12 ordinary threads that wait are served at any load, by each CPU's server (debugfs, for who may see it). */
static void read_servers(const struct hostfs *fs, const struct host *h, struct cpu_facts *f)
{
	static const char dir[] = "sys/kernel/debug/sched/fair_server";
	uint64_t runtime;

	f->throttles = true;
	f->left = FAIR_SERVER_LEFT;
	if (!hostfs_exists(fs, "%s", dir))
		return;
	IDSET_FOREACH (cpu, &h->online)
		if (hostfs_read_u64(fs, &runtime, "%s/cpu%d/runtime", dir, cpu) == 0 && runtime == 0)
			idset_add(&f->unserved, (unsigned int)cpu);
}

static void read_throttle(const struct hostfs *fs, const struct host *h, struct cpu_facts *f)
{
	uint64_t runtime, period;
	char text[32];

	if (h->kernel >= FAIR_SERVER) {
		read_servers(fs, h, f);
		return;
	}
	f->throttles = hostfs_read(fs, text, sizeof(text), "proc/sys/kernel/sched_rt_runtime_us") < 0 ||
		       !str_starts(text, "-");
	if (!f->throttles || num_parse_u64(text, &runtime) < 0)
		return;
	if (hostfs_read_u64(fs, &period, "proc/sys/kernel/sched_rt_period_us") < 0)
		period = 1000000; /* kernel/sched/rt.c */
	if (period > 0 && period <= INT32_MAX && runtime >= period)
		f->throttles = false; /* all of it */
	else if (period > 0 && period <= INT32_MAX)
		f->left = (unsigned int)((period - runtime) * 100 / period);
}

/* The numbered field of a stat file (proc(5)) whose name has been cut off: text begins with field 3. */
static bool stat_field(const char *text, int which, uint64_t *ret)
{
	char number[24];
	size_t n;

	for (int i = 3; i < which; i++) {
		text += strcspn(text, " ");
		text += strspn(text, " ");
	}
	n = strcspn(text, " \n");
	if (n == 0 || n >= sizeof(number))
		return false;
	memcpy(number, text, n);
	number[n] = '\0';
	return num_parse_u64(number, ret) == 0;
}

/* One kernel thread: is it a CPU's own that serves others, and at what priority. */
static bool read_kthread(const struct hostfs *fs, const char *pid, struct cpu_kthread *ret)
{
	static const char *const names[] = { "rcuc", "ktimers", "ksoftirqd" };
	char text[1024], *open, *close, *slash;
	uint64_t cpu, priority;

	if (hostfs_read(fs, text, sizeof(text), "proc/%s/stat", pid) < 0)
		return false;
	open = strchr(text, '(');
	close = strrchr(text, ')');
	if (!open || !close || close < open || close[1] != ' ')
		return false;
	*close = '\0';
	slash = strchr(open, '/');
	if (!slash || num_parse_range(slash + 1, 0, IDSET_MAX - 1, &cpu) < 0)
		return false;
	*slash = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(open + 1, names[i]) && stat_field(close + 2, 40, &priority) && priority > 0 && priority < 100) {
			*ret = (struct cpu_kthread){ .cpu = (unsigned int)cpu, .priority = (unsigned int)priority };
			(void)snprintf(ret->name, sizeof(ret->name), "%s", names[i]); /* fits */
			return true;
		}
	return false;
}

static int keep_kthread(struct cpu_facts *f, const struct cpu_kthread *k)
{
	struct cpu_kthread *more;

	for (unsigned int i = 0; i < f->n_kthreads; i++)
		if (f->kthreads[i].cpu == k->cpu) {
			if (k->priority < f->kthreads[i].priority)
				f->kthreads[i] = *k;
			return 0;
		}
	more = reallocarray(f->kthreads, f->n_kthreads + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	f->kthreads = more;
	f->kthreads[f->n_kthreads++] = *k;
	return 0;
}

/* All kernel threads are kthreadd's children (CONFIG_PROC_CHILDREN; without it their priorities are not known). */
static int read_kthreads(const struct hostfs *fs, struct cpu_facts *f)
{
	_cleanup_free_ char *list = NULL;
	char *save = NULL;
	unsigned int n = 0;

	if (hostfs_read_all(fs, CHILDREN_MAX, &list, NULL, "proc/%d/task/%d/children", KTHREADD, KTHREADD) < 0)
		return 0;
	for (char *pid = strtok_r(list, " \n", &save); pid && n < KTHREADS_MAX; pid = strtok_r(NULL, " \n", &save), n++) {
		struct cpu_kthread k;

		if (hostfs_is_name(pid) && read_kthread(fs, pid, &k) && keep_kthread(f, &k) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int read_realtime(const struct hostfs *fs, const struct host *h, struct cpu_facts *f)
{
	_cleanup_free_ char *swaps = NULL;
	const char *line;
	uint64_t run;

	f->rt_known = true;
	read_boot(fs, h, f);
	read_throttle(fs, h, f);
	/* /proc/swaps: a line of titles, then one for each. */
	if (hostfs_read_all(fs, CMDLINE_MAX, &swaps, NULL, "proc/swaps") >= 0) {
		line = strchr(swaps, '\n');
		f->swaps = line && line[1];
	}
	f->merges = hostfs_read_u64(fs, &run, "sys/kernel/mm/ksm/run") == 0 && run == 1;
	return read_kthreads(fs, f);
}

/* --- core scheduling -------------------------------------------------------------------------------------------- */

/* NAME = "VALUE" of libvirt's own configuration (src/util/virconf.c); the last one counts. */
static void read_sched_core(const struct hostfs *fs, char *buf, size_t size)
{
	static const char name[] = "sched_core", blanks[] = " \t";
	_cleanup_free_ char *text = NULL;
	char *save = NULL;

	(void)snprintf(buf, size, "none"); /* fits */
	if (hostfs_read_all(fs, CONF_MAX, &text, NULL, "etc/libvirt/qemu.conf") < 0)
		return;
	for (char *p = strtok_r(text, "\n", &save); p; p = strtok_r(NULL, "\n", &save)) {
		size_t n;

		p += strspn(p, blanks);
		if (!str_starts(p, name))
			continue;
		p += strlen(name);
		p += strspn(p, blanks);
		if (*p++ != '=')
			continue;
		p += strspn(p, blanks);
		if (*p != '"' && *p != '\'')
			continue;
		n = strspn(p + 1, "abcdefghijklmnopqrstuvwxyz-");
		if (n > 0 && n < size && p[n + 1] == *p)
			(void)snprintf(buf, size, "%.*s", (int)n, p + 1); /* fits */
	}
}

/* --- all -------------------------------------------------------------------------------------------------------- */

static int read_all(const struct hostfs *fs, const struct intent *in, const struct host *h, struct cpu_facts *f)
{
	bool energy = asks(in, KNOB_CPU_ENERGY);

	if ((energy || asks(in, KNOB_CPU_GOVERNOR)) && read_policies(fs, h, energy, f) < 0)
		return -ENOMEM;
	if (asks(in, KNOB_CPU_WAKEUP))
		f->has_wakeup = hostfs_exists(fs, "sys/devices/system/cpu/cpu%d/power/pm_qos_resume_latency_us",
					      idset_first(&h->online));
	if (asks(in, KNOB_CPU_HALT_POLL))
		f->has_halt_poll = hostfs_exists(fs, "sys/module/kvm/parameters/halt_poll_ns");
	if (asks_realtime(in) && read_realtime(fs, h, f) < 0)
		return -ENOMEM;
	if (asks(in, KNOB_CPU_CORE_SCHED))
		read_sched_core(fs, f->sched_core, sizeof(f->sched_core));
	return 0;
}

int cpu_facts_read(const struct hostfs *fs, const struct intent *in, const struct host *h, struct cpu_facts *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (read_all(fs, in, h, ret) == 0)
		return 0;
	cpu_facts_fini(ret);
	return -ENOMEM;
}

void cpu_facts_fini(struct cpu_facts *f)
{
	free(f->policy);
	free(f->governor);
	free(f->kthreads);
	memset(f, 0, sizeof(*f));
}
