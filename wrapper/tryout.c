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

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <numaif.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "common/num.h"
#include "wrapper/linked.h"

#define IO_URING_ENTRIES 128
#define NATIVE_EVENTS    1024 /* QEMU, block/linux-aio.c, MAX_EVENTS; 128 before 5.0 */
#ifndef IORING_FEAT_NATIVE_WORKERS
#define IORING_FEAT_NATIVE_WORKERS (1u << 9) /* Linux 5.12 */
#endif

#define DIRECT_MAX 4096 /* QEMU tries no more (MAX_BLOCKSIZE) */
/* XFS_IOC_DIOINFO, of a header that xfsprogs has. */
struct xfs_dioattr {
	uint32_t memory, smallest, largest;
};
#define XFS_DIOINFO _IOR('X', 30, struct xfs_dioattr)

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

/* The number behind a word, "MemFree:   123 kB"; 0 if there is none. */
static uint64_t field(const char *text, const char *word)
{
	const char *at = strstr(text, word);
	char digits[20];
	uint64_t n;
	size_t len;

	if (!at)
		return 0;
	at += strlen(word);
	at += strspn(at, " ");
	len = strspn(at, "0123456789");
	if (len == 0 || len >= sizeof(digits))
		return 0;
	memcpy(digits, at, len);
	digits[len] = '\0';
	return num_parse_range(digits, 0, UINT64_MAX >> 10, &n) == 0 ? n : 0;
}

/* What could be had without swapping; the page cache and inode caches give way. UINT64_MAX: cannot be read. */
static uint64_t available(const struct hostfs *fs, const struct idset *nodes)
{
	char text[8192];
	uint64_t sum = 0;

	if (idset_is_empty(nodes)) {
		if (hostfs_read(fs, text, sizeof(text), "proc/meminfo") < 0)
			return UINT64_MAX;
		sum = field(text, "MemAvailable:") << 10;
		return sum ? sum : UINT64_MAX;
	}
	IDSET_FOREACH (id, nodes) {
		if (hostfs_read(fs, text, sizeof(text), NODE "/node%d/meminfo", id) < 0)
			return UINT64_MAX;
		sum += (field(text, "MemFree:") + field(text, "Inactive(file):") + field(text, "SReclaimable:")) << 10;
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

/* The memory controller's files (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst). */
static const struct group_files {
	const char *mount, *limit, *usage, *cache; /* cache: in memory.stat, what gives way */
} group_v2 = {"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "},
  group_v1 = {"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "};

/* Which of a line of /proc/self/cgroup, "N:CONTROLLERS:PATH", and its path; NULL: another controller's. */
static const struct group_files *parse_group(char *line, char **ret_path)
{
	char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL, *word;

	if (!path)
		return NULL;
	*path++ = '\0';
	*ret_path = path;
	controllers++;
	if (!*controllers)
		return &group_v2;
	while ((word = strsep(&controllers, ",")))
		if (streq(word, "memory"))
			return &group_v1;
	return NULL;
}

/* What this group and those above it let it have yet. UINT64_MAX: no limit, or none that can be read here. */
static uint64_t room_in_group(const struct hostfs *fs, const struct group_files *g, char *path)
{
	uint64_t room = UINT64_MAX, limit, usage, left;
	char text[16384];

	for (char *end = path + strlen(path); end > path; end = strrchr(path, '/')) {
		*end = '\0';
		if (hostfs_read_u64(fs, &limit, "%s%s/%s", g->mount, path, g->limit) < 0 ||
		    hostfs_read_u64(fs, &usage, "%s%s/%s", g->mount, path, g->usage) < 0)
			continue;
		left = limit > usage ? limit - usage : 0;
		if (hostfs_read(fs, text, sizeof(text), "%s%s/memory.stat", g->mount, path) >= 0)
			left += field(text, g->cache);
		if (left > limit)
			left = limit;
		room = left < room ? left : room;
	}
	return room;
}

/* Beyond a limit of its control group (<hard_limit>, a slice's) the kernel would kill QEMU while it populates. */
static int check_group(const struct hostfs *fs, uint64_t want, struct err *e)
{
	char text[8192], *rest = text, *line, *path;
	uint64_t room = UINT64_MAX, one;

	if (hostfs_read(fs, text, sizeof(text), "proc/self/cgroup") < 0)
		return 0;
	while ((line = strsep(&rest, "\n"))) {
		const struct group_files *g = parse_group(line, &path);

		one = g ? room_in_group(fs, g, path) : UINT64_MAX;
		room = one < room ? one : room;
	}
	if (room >= want)
		return 0;
	return err_set(e, ENOMEM, "a memory limit of its control group (want %llu MiB, left %llu MiB)",
		       (unsigned long long)(want >> 20), (unsigned long long)(room >> 20));
}

/* Beside guest RAM: QEMU itself (60 to 150 MiB resident, QEMU 7.2, measured), and the page tables of it all. */
static uint64_t with_rest(uint64_t bytes)
{
	return bytes + bytes / 512 + (UINT64_C(256) << 20);
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
	if (r == 0)
		r = check_memory(fs, sum, &all, e);
	return r == 0 && sum ? check_group(fs, with_rest(sum), e) : r;
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
	if (r == -EINVAL) /* sched_setaffinity(2): its cpuset has none of them */
		return err_set(e, -r, "the cpuset of its group has none of those planned");
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
	if (bytes == UINT64_MAX)
		return err_set(e, EPERM, "RLIMIT_MEMLOCK is %llu MiB, and memory may be plugged in: use <locked/>",
			       (unsigned long long)(limit.rlim_cur >> 20));
	return err_set(e, EPERM, "RLIMIT_MEMLOCK is %llu MiB, QEMU may need %llu: use <locked/>",
		       (unsigned long long)(limit.rlim_cur >> 20), (unsigned long long)(bytes >> 20) + 1);
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

/*
 * Linux may refuse it by the sysctl kernel.io_uring_disabled, a seccomp filter, the security module, or, before 5.12,
 * by RLIMIT_MEMLOCK. QEMU asks for 128 entries (block/io_uring.c, MAX_ENTRIES). Before 5.12 requests that would wait go
 * to kernel threads outside the guest's control groups and CPUs (IORING_FEAT_NATIVE_WORKERS says of a kernel that it is
 * not so).
 */
static int try_io_uring(bool own_workers, struct err *e)
{
	struct io_uring_params params = {0};
	_cleanup_close_ int fd = (int)syscall(SYS_io_uring_setup, IO_URING_ENTRIES, &params);

	if (fd < 0)
		return err_set(e, errno, "io_uring: %s", err_name(errno));
	if (own_workers && !(params.features & IORING_FEAT_NATIVE_WORKERS))
		return err_set(e, EOPNOTSUPP, "io_uring of this kernel works outside the guest's control groups");
	return 0;
}

/* What contexts of the whole host may have together: the kernel's own word for it would be EAGAIN. */
static int check_events(const struct hostfs *fs, struct err *e)
{
	uint64_t used, most;

	if (hostfs_read_u64(fs, &used, "proc/sys/fs/aio-nr") < 0 ||
	    hostfs_read_u64(fs, &most, "proc/sys/fs/aio-max-nr") < 0)
		return 0;
	if (used <= most && most - used >= NATIVE_EVENTS)
		return 0;
	return err_set(e, EAGAIN, "fs.aio-max-nr leaves native no room (want %d, used %llu of %llu)", NATIVE_EVENTS,
		       (unsigned long long)used, (unsigned long long)most);
}

/*
 * QEMU makes one context for the main loop when it opens the first such image, and before 9.0 ends where it gets none
 * ("Unable to use native AIO"); for I/O threads it makes more, and goes on with threads where those fail.
 */
static int try_native(const struct hostfs *fs, struct err *e)
{
	aio_context_t context = 0;
	int r = check_events(fs, e);

	if (r < 0)
		return r;
	if (syscall(SYS_io_setup, NATIVE_EVENTS, &context) < 0)
		return err_set(e, errno, "native: io_setup: %s", err_name(errno));
	(void)syscall(SYS_io_destroy, context); /* ours, just made, nothing is in flight */
	return 0;
}

/* Whether the kernel takes a read of this length; other errors than EINVAL are the device's, and no answer. */
static bool takes_length(int fd, void *buf, size_t len)
{
	return pread(fd, buf, len, 0) >= 0 || errno != EINVAL;
}

/*
 * The alignment of requests as QEMU finds it (block/file-posix.c, raw_probe_alignment()): by trying lengths, where that
 * of one byte (a hole, a file system that reads through the page cache then) tells nothing and comes to 4096. XFS says
 * it itself. 0: none works, and QEMU ends with "Could not find working O_DIRECT alignment".
 */
static unsigned int direct_alignment(int fd)
{
	static const unsigned int lengths[] = {1, 512, 1024, 2048, DIRECT_MAX};
	_cleanup_free_ void *buf = NULL;
	struct xfs_dioattr xfs = {0};
	struct statfs st;

	if (fstatfs(fd, &st) == 0 && st.f_type == NFS_SUPER_MAGIC)
		return 1; /* dio_byte_aligned() */
	buf = aligned_alloc(DIRECT_MAX, DIRECT_MAX);
	for (size_t i = 0; buf && i < ARRAY_SIZE(lengths); i++) {
		if (!takes_length(fd, buf, lengths[i]))
			continue;
		if (ioctl(fd, XFS_DIOINFO, &xfs) == 0 && xfs.smallest)
			return xfs.smallest;
		return lengths[i] == 1 ? DIRECT_MAX : lengths[i];
	}
	return 0;
}

/*
 * Since QEMU 5.1 (9c60a5d1978) an image whose writer may not make it longer must end where a request can; of sectors of
 * 512 bytes, which QEMU counts a file in. Block devices do.
 */
static int check_end(const struct stat *st, unsigned int alignment, struct err *e)
{
	uint64_t size = ((uint64_t)st->st_size + 511) / 512 * 512;

	if (!S_ISREG(st->st_mode) || size % alignment == 0)
		return 0;
	return err_set(e, EINVAL, "its size (%llu) is no multiple of %u", (unsigned long long)st->st_size, alignment);
}

/* Reading rights suffice to learn whether the file system has it. No lock is taken, so none is lost by the close. */
static int open_direct(const struct hostfs *fs, const char *path, struct stat *st)
{
	int r = path[0] == '/' ? hostfs_stat(fs, st, "%s", path + 1) : -EINVAL;

	if (r == 0 && !S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		r = -EINVAL; /* opening a pipe, say, would be heard at its other end */
	return r < 0 ? r : hostfs_open(fs, O_RDONLY | O_DIRECT | O_NONBLOCK, "%s", path + 1);
}

static int try_direct(const struct hostfs *fs, const char *path, bool fixed, struct err *e)
{
	struct stat st;
	_cleanup_close_ int fd = open_direct(fs, path, &st);
	unsigned int alignment;
	int r = 0;

	if (fd < 0)
		return err_set(e, -fd, "O_DIRECT, %s: %s", path, err_name(-fd));
	alignment = direct_alignment(fd);
	if (!alignment)
		r = err_set(e, EINVAL, "no alignment up to %d works", DIRECT_MAX);
	else if (fixed)
		r = check_end(&st, alignment, e);
	return r < 0 ? err_wrap(e, "O_DIRECT, %s", path) : 0;
}

const struct tryout tryout_kernel = {
	.pages = try_pages,
	.placement = try_placement,
	.memory = try_memory,
	.cpus = try_cpus,
	.lock = try_lock,
	.merge = try_merge,
	.io_uring = try_io_uring,
	.native = try_native,
	.direct = try_direct,
	.linked = linked_with,
	.is_hugetlbfs = is_hugetlbfs,
};
