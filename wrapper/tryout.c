/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Huge pages are tried in two steps, since neither sees all. The free pages of the wanted nodes, from sysfs:
 * a reservation counts pages of the whole host, so it would succeed with pages that mbind(2) then forbids, and
 * QEMU would end with SIGBUS while it populates its RAM. Back ends on the same nodes are counted together. Then a
 * private mapping for each, of the whole size and all held together, which reserve their pages and give them back
 * (Documentation/mm/hugetlbfs_reserv.rst): it sees what sysfs does not say, reservations of others, the cpuset, the
 * hugetlb cgroup, and whether the security module lets this label have such a file at all. Nothing is touched, so it
 * costs no zeroing of pages.
 *
 * Where sysfs says that the free pages do not suffice the mapping is not even tried: with
 * nr_overcommit_hugepages set it would make the kernel assemble new pages, only to be given back.
 */
#include "wrapper/tryout.h"

#include <linux/magic.h>
#include <linux/memfd.h>
#include <numaif.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#include "common/num.h"

#define NODE "sys/devices/system/node"

#ifndef MPOL_PREFERRED_MANY
#define MPOL_PREFERRED_MANY 5 /* Linux 5.15 */
#endif

const char *tryout_page_text(uint64_t page, char buf[24])
{
	static const struct {
		unsigned int shift;
		char unit;
	} units[] = {{30, 'G'}, {20, 'M'}, {10, 'K'}};

	(void)snprintf(buf, 24, "%llu", (unsigned long long)page);
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (page && page % (1ull << units[i].shift) == 0) {
			(void)snprintf(buf, 24, "%llu%c", (unsigned long long)(page >> units[i].shift), units[i].unit);
			break;
		}
	}
	return buf;
}

int tryout_mode(const char *policy)
{
	static const struct {
		const char *name;
		int mode;
	} modes[] = {{"bind", MPOL_BIND}, {"preferred", MPOL_PREFERRED}, {"interleave", MPOL_INTERLEAVE}};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (streq(policy, modes[i].name))
			return modes[i].mode;
	}
	return -EINVAL;
}

int tryout_mask(const struct idset *nodes, struct tryout_mask *ret)
{
	const unsigned int bits = 8 * sizeof(ret->w[0]);

	*ret = (struct tryout_mask){{0}};
	IDSET_FOREACH (id, nodes) {
		if (id >= TRYOUT_NODES_MAX)
			return -ERANGE;
		ret->w[(unsigned int)id / bits] |= 1ul << ((unsigned int)id % bits);
	}
	return 0;
}

/* Whether all the nodes may be used here (cpuset.mems): the kernel would silently cut the rest from a policy. */
static int check_allowed(const struct idset *nodes, struct err *e)
{
	const unsigned int bits = 8 * sizeof(unsigned long);
	struct tryout_mask allowed = {{0}};

	if (get_mempolicy(NULL, allowed.w, TRYOUT_NODES_MAX, NULL, MPOL_F_MEMS_ALLOWED) < 0)
		return err_set(e, errno, "allowed nodes: %s", err_name(errno));
	IDSET_FOREACH (id, nodes) {
		unsigned int n = (unsigned int)id;

		if (n >= TRYOUT_NODES_MAX || !(allowed.w[n / bits] & (1ul << (n % bits))))
			return err_set(e, EINVAL, "node %d may not be used here", id);
	}
	return 0;
}

/* As QEMU does to its RAM (host_memory_backend_memory_complete): any other flag could have another answer. */
static int bind_range(void *at, size_t len, const char *policy, const struct idset *nodes, struct err *e)
{
	struct tryout_mask mask;
	int mode = tryout_mode(policy), r = tryout_mask(nodes, &mask);

	if (mode < 0 || r < 0)
		return err_set(e, EINVAL, "no such memory policy");
	if (mbind(at, len, mode, mask.w, TRYOUT_NODES_MAX + 1, MPOL_MF_STRICT | MPOL_MF_MOVE) == 0)
		return 0;
	/* Several preferred nodes: newer QEMU says so to newer kernels, both fall back to one. */
	if (mode == MPOL_PREFERRED &&
	    mbind(at, len, MPOL_PREFERRED_MANY, mask.w, TRYOUT_NODES_MAX + 1, MPOL_MF_STRICT | MPOL_MF_MOVE) == 0)
		return 0;
	return err_set(e, errno, "memory policy %s: %s", policy, err_name(errno));
}

static int try_placement(const char *policy, const struct idset *nodes, struct err *e)
{
	size_t len = (size_t)sysconf(_SC_PAGESIZE);
	void *at;
	int r = check_allowed(nodes, e);

	if (r < 0)
		return r;
	at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return err_set(e, errno, "%s", err_name(errno));
	r = bind_range(at, len, policy, nodes, e);
	(void)munmap(at, len); /* ours, just made */
	return r;
}

/* Free pages of a size on the nodes. -errno if that cannot be read of every node. */
static int count_free(const struct hostfs *fs, uint64_t page, const struct idset *nodes, uint64_t *ret)
{
	uint64_t sum = 0, n;

	IDSET_FOREACH (id, nodes) {
		int r = hostfs_read_u64(fs, &n, NODE "/node%d/hugepages/hugepages-%llukB/free_hugepages", id,
					(unsigned long long)(page >> 10));

		if (r < 0)
			return r;
		sum += n;
	}
	*ret = sum;
	return 0;
}

/* Interleaved pages come from the other nodes where one of them has none; bound ones and these from no further node. */
static bool is_confined(const struct tryout_part *p)
{
	return streq(p->policy, "bind") || streq(p->policy, "interleave");
}

/* The bytes that all parts of this page size confined to some of these nodes want together. */
static uint64_t wanted_on(const struct tryout_part *parts, unsigned int n, uint64_t page, const struct idset *nodes)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < n; i++)
		if (parts[i].page == page && is_confined(&parts[i]) && idset_is_subset(&parts[i].nodes, nodes))
			sum += parts[i].bytes;
	return sum;
}

static int check_pages(const struct hostfs *fs, const struct tryout_part *parts, unsigned int n,
		       const struct tryout_part *p, struct err *e)
{
	_cleanup_free_ char *list = NULL;
	uint64_t free_pages, want;
	char size[24];

	tryout_page_text(p->page, size);
	if ((p->page & (p->page - 1)) || p->bytes % p->page || p->bytes > SIZE_MAX)
		return err_set(e, EINVAL, "guest RAM of %llu bytes is no multiple of %s pages",
			       (unsigned long long)p->bytes, size);
	/* A preferred node is a wish: pages of other nodes will do. */
	if (!is_confined(p) || count_free(fs, p->page, &p->nodes, &free_pages) < 0)
		return 0;
	want = wanted_on(parts, n, p->page, &p->nodes) / p->page;
	if (free_pages >= want)
		return 0;
	list = idset_text(&p->nodes);
	return err_set(e, ENOMEM, "no free %s pages on node %s (want %llu, free %llu)", size, list ? list : "?",
		       (unsigned long long)want, (unsigned long long)free_pages);
}

/* Map it as QEMU will; *ret is to be unmapped by the caller. */
static int reserve(const struct tryout_part *p, void **ret, struct err *e)
{
	_cleanup_close_ int fd = -1;
	unsigned int how = MFD_CLOEXEC | MFD_HUGETLB | MFD_ALLOW_SEALING; /* as QEMU does; refused before Linux 4.16 */
	char size[24];
	int r = 0;

	tryout_page_text(p->page, size);
	how |= (unsigned int)__builtin_ctzll(p->page) << MFD_HUGE_SHIFT;
	fd = memfd_create("domtune", how);
	if (fd < 0)
		return err_set(e, errno, "%s pages: memfd: %s", size, err_name(errno));
	if (ftruncate(fd, (off_t)p->bytes) < 0)
		return err_set(e, errno, "%s pages: size of the memfd: %s", size, err_name(errno));
	*ret = mmap(NULL, (size_t)p->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (*ret == MAP_FAILED)
		r = err_set(e, errno, "cannot be reserved: %s", err_name(errno));
	else if (p->policy[0])
		r = bind_range(*ret, (size_t)p->bytes, p->policy, &p->nodes, e);
	return r < 0 ? err_wrap(e, "%llu %s pages", (unsigned long long)(p->bytes / p->page), size) : 0;
}

static int try_pages(const struct hostfs *fs, const struct tryout_part *parts, unsigned int n, struct err *e)
{
	_cleanup_free_ void **at = calloc(n + 1, sizeof(*at));
	unsigned int done = 0;
	int r = at ? 0 : err_set(e, ENOMEM, "%s", err_name(ENOMEM));

	for (unsigned int i = 0; i < n && r == 0; i++)
		if (parts[i].page)
			r = check_pages(fs, parts, n, &parts[i], e);
	for (; done < n && r == 0; done++) {
		at[done] = MAP_FAILED;
		if (parts[done].page)
			r = reserve(&parts[done], &at[done], e);
	}
	for (unsigned int i = 0; i < done; i++)
		if (at[i] != MAP_FAILED)
			(void)munmap(at[i], (size_t)parts[i].bytes); /* ours, just made */
	return r;
}

/* A line "MemFree:   123 kB" of meminfo, in bytes; 0 if there is none. */
static uint64_t meminfo_field(const char *text, const char *field)
{
	const char *at = strstr(text, field);
	char digits[20];
	uint64_t kib;
	size_t len;

	if (!at)
		return 0;
	at += strlen(field);
	at += strspn(at, " ");
	len = strspn(at, "0123456789");
	if (len == 0 || len >= sizeof(digits))
		return 0;
	memcpy(digits, at, len);
	digits[len] = '\0';
	return num_parse_range(digits, 0, UINT64_MAX >> 10, &kib) == 0 ? kib << 10 : 0;
}

/* What could be had without swapping; the page cache and inode caches give way. UINT64_MAX: cannot be read. */
static uint64_t available(const struct hostfs *fs, const struct idset *nodes)
{
	char text[8192];
	uint64_t sum = 0;

	if (idset_is_empty(nodes)) {
		if (hostfs_read(fs, text, sizeof(text), "proc/meminfo") < 0)
			return UINT64_MAX;
		sum = meminfo_field(text, "MemAvailable:");
		return sum ? sum : UINT64_MAX;
	}
	IDSET_FOREACH (id, nodes) {
		if (hostfs_read(fs, text, sizeof(text), NODE "/node%d/meminfo", id) < 0)
			return UINT64_MAX;
		sum += meminfo_field(text, "MemFree:") + meminfo_field(text, "Inactive(file):") +
		       meminfo_field(text, "SReclaimable:");
	}
	return sum;
}

static int check_memory(const struct hostfs *fs, uint64_t want, const struct idset *nodes, struct err *e)
{
	uint64_t have = available(fs, nodes);

	if (have >= want)
		return 0;
	return err_set(e, ENOMEM, "not enough free memory (want %llu MiB, free %llu MiB)",
		       (unsigned long long)(want >> 20), (unsigned long long)(have >> 20));
}

static int try_memory(const struct hostfs *fs, const struct tryout_part *parts, unsigned int n, struct err *e)
{
	static const struct idset all;
	uint64_t sum = 0;
	int r = 0;

	for (unsigned int i = 0; i < n && r == 0; i++) {
		if (parts[i].page)
			continue;
		sum += parts[i].bytes;
		if (streq(parts[i].policy, "bind"))
			r = check_memory(fs, wanted_on(parts, n, 0, &parts[i].nodes), &parts[i].nodes, e);
	}
	return r < 0 ? r : check_memory(fs, sum, &all, e);
}

/* IDSET_MAX CPUs; the kernel ignores what is beyond its own mask (kernel/sched/syscalls.c, get_user_cpu_mask). */
#define CPU_BYTES (IDSET_MAX / 8)

union cpu_mask {
	cpu_set_t set;
	unsigned char bytes[CPU_BYTES];
};

int tryout_set_affinity(const struct idset *cpus)
{
	union cpu_mask mask = {.bytes = {0}};

	IDSET_FOREACH (id, cpus)
		CPU_SET_S((size_t)id, CPU_BYTES, &mask.set);
	return sched_setaffinity(0, CPU_BYTES, &mask.set) < 0 ? -errno : 0;
}

static int try_cpus(const struct idset *cpus, struct err *e)
{
	union cpu_mask before = {.bytes = {0}};
	int r;

	if (sched_getaffinity(0, CPU_BYTES, &before.set) < 0)
		return err_set(e, errno, "%s", err_name(errno));
	r = tryout_set_affinity(cpus);
	if (r < 0)
		return err_set(e, -r, "%s", err_name(-r));
	if (sched_setaffinity(0, CPU_BYTES, &before.set) < 0)
		return err_set(e, errno, "affinity as it was: %s", err_name(errno));
	return 0;
}

/* What mlockall(2) and each later mmap(2) compare with, without CAP_IPC_LOCK, which QEMU does not have. */
static int try_lock(uint64_t bytes, struct err *e)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return err_set(e, errno, "RLIMIT_MEMLOCK: %s", err_name(errno));
	if (limit.rlim_cur == RLIM_INFINITY || (bytes != UINT64_MAX && limit.rlim_cur >= bytes))
		return 0;
	return err_set(e, EPERM, "RLIMIT_MEMLOCK is %llu: the definition's <locked/>",
		       (unsigned long long)limit.rlim_cur);
}

/* Refused by a kernel without KSM, and from 9.1 on QEMU would end for it. */
static int try_merge(struct err *e)
{
	size_t len = (size_t)sysconf(_SC_PAGESIZE);
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r = 0;

	if (at == MAP_FAILED)
		return err_set(e, errno, "%s", err_name(errno));
	if (madvise(at, len, MADV_MERGEABLE) < 0)
		r = err_set(e, errno, "KSM: %s", err_name(errno));
	(void)munmap(at, len); /* ours, just made */
	return r;
}

static bool is_hugetlbfs(const char *path)
{
	struct statfs st;

	return statfs(path, &st) == 0 && st.f_type == HUGETLBFS_MAGIC;
}

const struct tryout tryout_kernel = {
	.pages = try_pages,
	.placement = try_placement,
	.memory = try_memory,
	.cpus = try_cpus,
	.lock = try_lock,
	.merge = try_merge,
	.is_hugetlbfs = is_hugetlbfs,
};
