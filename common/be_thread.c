/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Back end "thread": an attribute of one thread of a process. The object is "PID:START/TID:START/ATTRIBUTE"; both
 * start times must match, so that a number that was given to another process or thread meanwhile is never touched.
 * Below another root than "/" there are no threads: -EOPNOTSUPP.
 *
 * An attribute is one row: how it is read, written and compared.
 */
#include "backend.h"

#include <inttypes.h>
#include <sched.h>

#include "ioprio.h"
#include "num.h"

struct attribute {
	const char *name;
	int (*read)(int tid, char *buf, size_t size);
	int (*write)(int tid, const char *value);
	bool (*same)(const char *a, const char *b);
	bool inherited; /* by new threads, and nothing but the process says what they should have */
};

/* Large enough for every kernel that struct idset is for; a smaller mask than the kernel's gives EINVAL. */
static cpu_set_t *new_cpu_set(size_t *ret_size)
{
	cpu_set_t *set = CPU_ALLOC(IDSET_MAX);

	*ret_size = CPU_ALLOC_SIZE(IDSET_MAX);
	if (set)
		CPU_ZERO_S(*ret_size, set);
	return set;
}

static int affinity_read(int tid, char *buf, size_t size)
{
	struct idset ids = IDSET_EMPTY;
	size_t set_size;
	cpu_set_t *set = new_cpu_set(&set_size);

	if (!set)
		return -ENOMEM;
	if (sched_getaffinity(tid, set_size, set) < 0) {
		int r = -errno;

		CPU_FREE(set);
		return r;
	}
	for (unsigned int cpu = 0; cpu < IDSET_MAX; cpu++)
		if (CPU_ISSET_S(cpu, set_size, set))
			idset_add(&ids, cpu);
	CPU_FREE(set);
	return idset_format(&ids, buf, size);
}

/* The kernel cuts the set to the thread's cpuset, and answers EINVAL where nothing is left of it. */
static int affinity_write(int tid, const char *value)
{
	struct idset ids;
	size_t set_size;
	cpu_set_t *set;
	int r = idset_parse(value, &ids);

	if (r < 0)
		return -EINVAL;
	set = new_cpu_set(&set_size);
	if (!set)
		return -ENOMEM;
	IDSET_FOREACH (cpu, &ids)
		CPU_SET_S((size_t)cpu, set_size, set);
	r = sched_setaffinity(tid, set_size, set) < 0 ? -errno : 0;
	CPU_FREE(set);
	return r;
}

static bool affinity_same(const char *a, const char *b)
{
	struct idset x, y;

	return idset_parse(a, &x) == 0 && idset_parse(b, &y) == 0 && idset_equal(&x, &y);
}

static int ioprio_read(int tid, char *buf, size_t size)
{
	int v = ioprio_of_thread(tid);

	return v < 0 ? v : ioprio_format(v, buf, size);
}

static int ioprio_write(int tid, const char *value)
{
	int v = ioprio_parse(value);

	return v < 0 ? v : ioprio_set_thread(tid, v);
}

/*
 * Scheduling: "other", "batch", "idle", "fifo:1", "rr:1". The old calls are the right ones: they leave alone what is not
 * said, the nice value (also below fifo), a slice of its own, utilisation clamps (kernel/sched/syscalls.c,
 * _sched_setscheduler()). A deadline has more to it than that, and is left to its owner.
 */
static const struct {
	const char *word;
	int policy;
	bool has_priority;
} schedulers[] = {
	{"other", SCHED_OTHER, false}, {"batch", SCHED_BATCH, false}, {"idle", SCHED_IDLE, false},
	{"fifo", SCHED_FIFO, true},    {"rr", SCHED_RR, true},
};

static int sched_read(int tid, char *buf, size_t size)
{
	struct sched_param param = {0};
	int policy = sched_getscheduler(tid);

	if (policy < 0 || sched_getparam(tid, &param) < 0)
		return -errno;
	policy &= ~SCHED_RESET_ON_FORK;
	for (size_t i = 0; i < ARRAY_SIZE(schedulers); i++)
		if (schedulers[i].policy == policy)
			return schedulers[i].has_priority
				       ? snprintf(buf, size, "%s:%d", schedulers[i].word, param.sched_priority)
				       : snprintf(buf, size, "%s", schedulers[i].word);
	return -EOPNOTSUPP;
}

/* What becomes of threads that it makes stays as it is. */
static int sched_write(int tid, const char *value)
{
	size_t n = strcspn(value, ":");
	struct sched_param param = {0};
	int policy = sched_getscheduler(tid);
	uint64_t priority = 0;

	if (policy < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(schedulers); i++) {
		if (strlen(schedulers[i].word) != n || strncmp(schedulers[i].word, value, n) != 0 ||
		    schedulers[i].has_priority != (value[n] == ':'))
			continue;
		if (value[n] && num_parse_range(value + n + 1, 1, 99, &priority) < 0)
			return -EINVAL;
		param.sched_priority = (int)priority;
		return sched_setscheduler(tid, schedulers[i].policy | (policy & SCHED_RESET_ON_FORK), &param) < 0 ? -errno
													 : 0;
	}
	return -EINVAL;
}

static bool same_text(const char *a, const char *b)
{
	return streq(a, b);
}

static const struct attribute attributes[] = {
	{"affinity", affinity_read, affinity_write, affinity_same, false}, /* libvirt's groups and pins say it */
	{"ioprio", ioprio_read, ioprio_write, same_text, true},
	{"sched", sched_read, sched_write, same_text, false}, /* a vCPU thread makes none */
};

static const struct attribute *find_attribute(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++)
		if (streq(attributes[i].name, name))
			return &attributes[i];
	return NULL;
}

struct thread {
	int pid, tid;
	uint64_t pid_start, tid_start;
	const struct attribute *attribute;
};

/* "NUMBER:START" of text up to its slash; *text is moved behind it. */
static int parse_identity(char **text, int *ret_id, uint64_t *ret_start)
{
	char *start = strchr(*text, ':'), *slash = strchr(*text, '/');
	uint64_t id;

	if (!start || !slash || slash < start)
		return -EINVAL;
	*start = *slash = '\0';
	if (num_parse_range(*text, 1, INT32_MAX, &id) < 0 || num_parse_u64(start + 1, ret_start) < 0)
		return -EINVAL;
	*ret_id = (int)id;
	*text = slash + 1;
	return 0;
}

static int parse_object(const char *object, struct thread *ret)
{
	char copy[128], *p = copy;
	size_t len = strlen(object);

	if (len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, object, len + 1);
	if (parse_identity(&p, &ret->pid, &ret->pid_start) < 0 || parse_identity(&p, &ret->tid, &ret->tid_start) < 0)
		return -EINVAL;
	ret->attribute = find_attribute(p);
	return ret->attribute ? 0 : -EOPNOTSUPP;
}

/* The thread that the object names, if it still is that one: 0, -ENOENT, -EOPNOTSUPP, -EINVAL. */
static int find_thread(const struct hostfs *fs, const char *object, struct thread *ret)
{
	int r;

	if (!fs->real)
		return -EOPNOTSUPP;
	r = parse_object(object, ret);
	if (r < 0)
		return r;
	if (hostfs_proc_start(fs, ret->pid) != ret->pid_start || hostfs_proc_start(fs, ret->tid) != ret->tid_start ||
	    !hostfs_exists(fs, "proc/%d/task/%d", ret->pid, ret->tid))
		return -ENOENT;
	return 0;
}

static int gone(int r)
{
	return r == -ESRCH ? -ENOENT : r;
}

static int thread_probe(const struct hostfs *fs, const char *object)
{
	struct thread t;

	return find_thread(fs, object, &t);
}

static int thread_read(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	struct thread t;
	int r = find_thread(fs, object, &t);

	return r < 0 ? r : gone(t.attribute->read(t.tid, buf, size));
}

static int thread_write(const struct hostfs *fs, const char *object, const char *value)
{
	struct thread t;
	int r = find_thread(fs, object, &t);

	if (r < 0)
		return r;
	r = hostfs_fault(object);
	if (r)
		return -r;
	hostfs_durable();
	return gone(t.attribute->write(t.tid, value));
}

static bool thread_same(const char *object, const char *a, const char *b)
{
	const char *name = strrchr(object, '/');
	const struct attribute *attribute = name ? find_attribute(name + 1) : NULL;

	return attribute ? attribute->same(a, b) : streq(a, b);
}

static void format_object(const struct thread *t, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%d:%" PRIu64 "/%d:%" PRIu64 "/%s", t->pid, t->pid_start, t->tid, t->tid_start,
		       t->attribute->name); /* four numbers and a short name fit in 128 */
}

/* The process's first thread: those that make others have had it from that one themselves. */
static bool thread_source(const char *object, char *buf, size_t size)
{
	struct thread t;

	if (parse_object(object, &t) < 0 || !t.attribute->inherited || t.tid == t.pid)
		return false;
	t.tid = t.pid;
	t.tid_start = t.pid_start;
	format_object(&t, buf, size);
	return true;
}

static int thread_heirs(const struct hostfs *fs, const char *object, void (*found)(void *data, const char *object),
			void *data)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct thread t;
	struct dirent *d;
	char heir[128];
	int r = fs->real ? parse_object(object, &t) : -EOPNOTSUPP;

	if (r < 0 || !t.attribute->inherited || t.tid != t.pid)
		return r < 0 ? r : 0;
	r = find_thread(fs, object, &t);
	dir = r < 0 ? NULL : hostfs_opendir(fs, "proc/%d/task", t.pid);
	if (!dir)
		return r < 0 ? r : gone(-errno);
	while ((d = readdir(dir))) {
		uint64_t tid;

		if (num_parse_range(d->d_name, 1, INT32_MAX, &tid) < 0 || (int)tid == t.pid)
			continue;
		t.tid = (int)tid;
		t.tid_start = hostfs_proc_start(fs, t.tid);
		if (t.tid_start == 0)
			continue; /* it has ended */
		format_object(&t, heir, sizeof(heir));
		found(data, heir);
	}
	return 0;
}

const struct backend be_thread = {
	.name = "thread",
	.probe = thread_probe,
	.read = thread_read,
	.write = thread_write,
	.same = thread_same,
	.source = thread_source,
	.heirs = thread_heirs,
	.ends_with_domain = true,
};
