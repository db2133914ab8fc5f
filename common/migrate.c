/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest RAM is what qemuram.h says. Each of its mappings is gone through in pieces of PIECE pages: asked where they
 * are, told to move those that are elsewhere, and asked again for those that the kernel calls busy: pages of one
 * transparent huge page move together, with the first of them, and the kernel's answer for the others of the same call
 * is -EBUSY.
 *
 * A page that was never touched and the shared page of zeros are on no node (-ENOENT or -EFAULT). A page that is pinned
 * (device DMA) or under writeback is busy: refused, as is one for which the node has no memory left.
 *
 * Automatic NUMA balancing takes the access rights off pages to see who comes for them. Kernels before 6.5 (seen with
 * 6.1; d74943a2f3cd "mm/gup: reintroduce FOLL_NUMA as FOLL_HONOR_NUMA_FAULT") then answer -EFAULT for them too, and
 * move none: all of an idle guest. So of those that are there all the same (pagemap) a byte is read, which gives the
 * rights back, and they are asked for again.
 *
 * Huge pages of a pool are not moved at all: the kernel would take free ones of the node from the pool and leave as
 * many behind, so that what is claimed and what is used would differ from then on. Where they are is told by numa_maps.
 *
 * Before each piece the process is looked at, by a pidfd and by its start time: move_pages(2) takes a number. What
 * is left of the race is the time between two system calls; the mapping's addresses would then be another process's,
 * whose pages would move to another node and stay what they are.
 */
#include "migrate.h"

#include <fcntl.h>
#include <numa.h>
#include <numaif.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "migrate_priv.h"
#include "num.h"
#include "qemuram.h"

#define PIECE         MIGRATE_PIECE
#define NUMA_MAPS_MAX (16u << 20)
#define TOUCH_MAX     512 /* of IOV_MAX, 1024 */
#define TURN_SHIFT    21 /* nodes take turns every 2 MiB: a transparent huge page goes to one */
#define PAGEMAP_PRESENT (UINT64_C(1) << 63) /* Documentation/admin-guide/mm/pagemap.rst */

/*
 * Left free on a node that pages are moved to, of its memory: move_pages(2) would otherwise reclaim there and swap
 * others out. Well above the marks where kswapd begins (Documentation/admin-guide/sysctl/vm.rst, watermark_scale_factor:
 * 0.1 % each).
 */
#define NODE_REST 128

struct piece {
	void *pages[PIECE], *moving[PIECE];
	int status[PIECE], target[PIECE], moved[PIECE];
	uint64_t map[PIECE];
};

struct mover {
	const struct hostfs *fs;
	const struct migrate_kernel *k;
	int pid;
	uint64_t page; /* bytes */
	const struct idset *nodes;
	unsigned int n_nodes;
	bool touched; /* hidden pages: what of them was elsewhere is not known */
	struct migrate_result *result;
	struct piece piece;
};

static int node_for(const struct mover *m, const void *page)
{
	uint64_t turn = ((uintptr_t)page >> TURN_SHIFT) % m->n_nodes;
	int node = idset_first(m->nodes);

	while (turn--)
		node = idset_next(m->nodes, node);
	return node;
}

static bool is_home(const struct mover *m, int status)
{
	return status >= 0 && idset_has(m->nodes, (unsigned int)status);
}

static int ask(const struct mover *m, unsigned long n, void **pages, const int *nodes, int *status)
{
	return m->k->move(m->k->state, m->pid, n, pages, nodes, status);
}

/* "MemFree:   123 kB" of a node's meminfo, in bytes. False: it is not there. */
static bool meminfo_field(const char *text, const char *key, uint64_t *ret)
{
	const char *at = strstr(text, key);
	char digits[24];
	size_t n;

	if (!at)
		return false;
	at += strlen(key);
	at += strspn(at, " ");
	n = strspn(at, "0123456789");
	if (n == 0 || n >= sizeof(digits))
		return false;
	memcpy(digits, at, n);
	digits[n] = '\0';
	if (num_parse_range(digits, 0, UINT64_MAX >> 10, ret) < 0)
		return false;
	*ret <<= 10;
	return true;
}

/* Whether each node has free memory for a piece; also where that cannot be read. */
static bool has_room(const struct mover *m)
{
	char text[8192];
	uint64_t total, left;

	IDSET_FOREACH (node, m->nodes)
		if (hostfs_read(m->fs, text, sizeof(text), "sys/devices/system/node/node%d/meminfo", node) >= 0 &&
		    meminfo_field(text, "MemTotal:", &total) && meminfo_field(text, "MemFree:", &left) &&
		    left < total / NODE_REST + PIECE * m->page)
			return false;
	return true;
}

/*
 * The kernel gives up a call at the first page that it cannot migrate, and splits a huge page for which the node has no
 * huge one free (mm/migrate.c): its parts move when they are asked for again. So each 2 MiB is a call of its own, made
 * twice where it has to be.
 */
static int send_parts(struct mover *m, unsigned long sent)
{
	struct piece *p = &m->piece;
	int r = 0;

	for (unsigned long i = 0, end; i < sent; i = end) {
		uintptr_t part = (uintptr_t)p->moving[i] >> TURN_SHIFT;

		for (end = i + 1; end < sent && (uintptr_t)p->moving[end] >> TURN_SHIFT == part;)
			end++;
		for (int attempt = 0; attempt < 2; attempt++) {
			r = ask(m, end - i, p->moving + i, p->target + i, p->moved + i);
			if (r <= 0 && r != -ENOMEM)
				break;
		}
		if (r < 0 && r != -ENOMEM)
			return r;
	}
	return 0;
}

/* Send those that are elsewhere, and settle what became of each. */
static int send_away(struct mover *m, unsigned long n)
{
	struct piece *p = &m->piece;
	unsigned long sent = 0;
	int r;

	for (unsigned long i = 0; i < n; i++)
		if (p->status[i] >= 0 && !is_home(m, p->status[i])) {
			p->moving[sent] = p->pages[i];
			p->target[sent++] = node_for(m, p->pages[i]);
		}
	if (sent == 0)
		return 0;
	if (!has_room(m)) {
		m->result->refused += sent * m->page;
		m->result->full = true;
		return 0;
	}
	r = send_parts(m, sent);
	/* What was given up, or split, has no status of its own: the last word is where they are now. */
	if (r == 0)
		r = ask(m, sent, p->moving, NULL, p->moved);
	if (r < 0)
		return r;
	for (unsigned long i = 0; i < sent; i++)
		if (is_home(m, p->moved[i]))
			m->result->moved += m->page;
		else if (p->moved[i] >= 0)
			m->result->refused += m->page;
	return 0;
}

/* Pages that are there although the kernel says -EFAULT, into p->moving; how many. 0 also where pagemap says nothing. */
static unsigned long find_hidden(struct mover *m, uint64_t at, unsigned long n)
{
	struct piece *p = &m->piece;
	unsigned long hidden = 0;
	_cleanup_close_ int fd = -1;

	for (unsigned long i = 0; i < n && !hidden; i++)
		hidden = p->status[i] == -EFAULT;
	if (!hidden)
		return 0;
	fd = hostfs_open(m->fs, O_RDONLY, "proc/%d/pagemap", m->pid);
	if (fd < 0 || pread(fd, p->map, n * sizeof(p->map[0]), (off_t)(at / m->page * sizeof(p->map[0]))) !=
			      (ssize_t)(n * sizeof(p->map[0])))
		return 0;
	hidden = 0;
	for (unsigned long i = 0; i < n; i++)
		if (p->status[i] == -EFAULT && (p->map[i] & PAGEMAP_PRESENT))
			p->moving[hidden++] = p->pages[i];
	return hidden;
}

static int move_piece(struct mover *m, uint64_t at, unsigned long n)
{
	struct piece *p = &m->piece;
	unsigned long hidden;
	int r;

	for (unsigned long i = 0; i < n; i++)
		p->pages[i] = (void *)(uintptr_t)(at + i * m->page);
	r = ask(m, n, p->pages, NULL, p->status);
	hidden = r < 0 ? 0 : find_hidden(m, at, n);
	if (hidden && m->k->touch(m->k->state, m->pid, hidden, p->moving) == 0) {
		m->touched = true;
		r = ask(m, n, p->pages, NULL, p->status);
	}
	if (r < 0)
		return r;
	m->result->looked_at += n * m->page;
	return send_away(m, n);
}

static int move_map(struct mover *m, const struct qemuram_map *map, uint64_t until)
{
	unsigned long n;
	int r = 0;

	for (uint64_t done = 0; map->size - done >= m->page && r == 0; done += n * m->page) {
		uint64_t left = (map->size - done) / m->page;

		n = left > PIECE ? PIECE : (unsigned long)left;
		m->result->out_of_time = m->k->now_ms(m->k->state) >= until;
		if (m->result->out_of_time || m->result->full)
			break;
		if (!m->k->is_alive(m->k->state))
			return -ESRCH;
		r = move_piece(m, map->start + done, n);
	}
	return r;
}

/* "Nnode=pages" of a line of numa_maps. False: another word. */
static bool parse_node(const char *word, unsigned int *ret_node, uint64_t *ret_pages)
{
	char digits[24];
	size_t n = word[0] == 'N' ? strspn(word + 1, "0123456789") : 0;
	uint64_t node;

	if (n == 0 || n >= sizeof(digits) || word[1 + n] != '=')
		return false;
	memcpy(digits, word + 1, n);
	digits[n] = '\0';
	if (num_parse_range(digits, 0, IDSET_MAX - 1, &node) < 0 || num_parse_u64(word + 2 + n, ret_pages) < 0)
		return false;
	*ret_node = (unsigned int)node;
	return true;
}

static struct qemuram_map *map_at(struct qemuram_map *maps, int n_maps, const char *line)
{
	uint64_t start = 0;
	size_t n = strspn(line, "0123456789abcdef");

	if (n == 0 || n > 16 || line[n] != ' ')
		return NULL;
	for (size_t i = 0; i < n; i++)
		start = start << 4 | (uint64_t)(line[i] <= '9' ? line[i] - '0' : line[i] - 'a' + 10);
	for (int i = 0; i < n_maps; i++)
		if (maps[i].start == start)
			return &maps[i];
	return NULL;
}

/* What a mapping has on a node: that it is elsewhere, and of a pool. */
static void tally(const struct mover *m, unsigned int node, uint64_t bytes, bool hugetlb)
{
	bool elsewhere = !idset_has(m->nodes, node);

	if (elsewhere)
		m->result->elsewhere += bytes;
	if (elsewhere && hugetlb)
		m->result->refused += bytes;
	if (hugetlb)
		m->result->looked_at += bytes;
}

static void take_numa_line(const struct mover *m, struct qemuram_map *maps, int n_maps, char *line)
{
	static const char size_key[] = "kernelpagesize_kB=";
	struct qemuram_map *map = map_at(maps, n_maps, line);
	const char *size = strstr(line, size_key);
	uint64_t kib = 4;
	unsigned int node;
	uint64_t pages;
	char *word;

	if (!map)
		return;
	if (size && num_parse_range(size + strlen(size_key), 1, UINT32_MAX, &kib) < 0)
		kib = 4;
	/* "huge" stands before the nodes, and alone where no page is there yet (fs/proc/task_mmu.c, show_numa_map). */
	while ((word = strsep(&line, " ")))
		if (streq(word, "huge"))
			map->hugetlb = true;
		else if (parse_node(word, &node, &pages) && pages <= UINT64_MAX / (kib << 10))
			tally(m, node, pages * (kib << 10), map->hugetlb);
}

/* How much of the mappings is elsewhere, and which of them are of a pool. */
static int read_where(const struct mover *m, struct qemuram_map *maps, int n_maps)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	int r = hostfs_read_all(m->fs, NUMA_MAPS_MAX, &text, NULL, "proc/%d/numa_maps", m->pid);

	if (r < 0)
		return r;
	rest = text;
	while ((line = strsep(&rest, "\n")))
		take_numa_line(m, maps, n_maps, line);
	return 0;
}

static int find_maps(const struct hostfs *fs, int pid, uint64_t memory, struct qemuram_map **ret)
{
	struct qemuram ram;
	int r = qemuram_read(fs, pid, &ram);

	if (r < 0)
		return r;
	r = qemuram_maps(fs, pid, &ram, memory, false, ret);
	qemuram_fini(&ram);
	return r;
}

/* What moved, from where the pages are now: a touched one may have moved by that alone, and any be hidden again. */
static void count_again(const struct mover *m, struct qemuram_map *maps, int n_maps, struct migrate_result *result)
{
	uint64_t before = result->elsewhere;
	struct migrate_result now = {0};
	struct mover look = {.fs = m->fs, .pid = m->pid, .nodes = m->nodes, .result = &now};

	if (read_where(&look, maps, n_maps) < 0)
		return;
	result->elsewhere = now.elsewhere;
	result->moved = before > now.elsewhere ? before - now.elsewhere : 0;
}

int migrate_with(const struct hostfs *fs, const struct migrate_kernel *k, int pid, uint64_t memory,
		 const struct idset *nodes, unsigned int budget_ms, struct migrate_result *ret, struct err *e)
{
	_cleanup_free_ struct mover *m = calloc(1, sizeof(*m));
	_cleanup_free_ struct qemuram_map *maps = NULL;
	struct migrate_result result = {0};
	uint64_t until = k->now_ms(k->state) + budget_ms;
	int n_maps = m ? find_maps(fs, pid, memory, &maps) : -ENOMEM, r = n_maps;

	if (r < 0)
		return err_set(e, -r, "memory of process %d: %s", pid, err_name(-r));
	*m = (struct mover){.fs = fs,
			    .k = k,
			    .pid = pid,
			    .page = (uint64_t)sysconf(_SC_PAGESIZE),
			    .nodes = nodes,
			    .n_nodes = idset_count(nodes),
			    .result = &result};
	r = read_where(m, maps, n_maps);
	if (r == -ENOENT) /* no NUMA */
		r = k->is_alive(k->state) ? -EOPNOTSUPP : -ESRCH;
	for (int i = 0; i < n_maps && r >= 0 && !result.out_of_time && !result.full; i++)
		if (!maps[i].hugetlb)
			r = move_map(m, &maps[i], until);
	/* The kernel has other words for a process that ends between two looks (kernel_move_pages: EINVAL without mm). */
	if (r < 0 && !k->is_alive(k->state))
		r = -ESRCH;
	if (m->touched)
		count_again(m, maps, n_maps, &result);
	else /* the guest touches pages meanwhile */
		result.elsewhere -= result.moved < result.elsewhere ? result.moved : result.elsewhere;
	*ret = result;
	if (r < 0)
		return err_set(e, -r, "memory of process %d to be moved: %s", pid, err_name(-r));
	return 0;
}

struct kernel_state {
	const struct hostfs *fs;
	int pid, pidfd; /* pidfd -1: before Linux 5.3 */
	uint64_t start;
};

static int kernel_move(void *state, int pid, unsigned long n, void **pages, const int *nodes, int *status)
{
	long r;

	(void)state;
	/* Also pages that others map (vhost-user, KSM); that takes CAP_SYS_NICE, as another's process does. */
	r = numa_move_pages(pid, n, pages, nodes, status, nodes ? MPOL_MF_MOVE_ALL : 0);
	if (r >= 0)
		return (int)r;
	return errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

/* Reading is a fault like any other: the page may be migrated for it, towards this CPU's node, and is asked for again. */
static int kernel_touch(void *state, int pid, unsigned long n, void **pages)
{
	struct iovec from[TOUCH_MAX], to;
	char bytes[TOUCH_MAX];

	(void)state;
	for (unsigned long i = 0; i < n;) {
		unsigned long k = n - i < TOUCH_MAX ? n - i : TOUCH_MAX;
		ssize_t r;

		for (unsigned long j = 0; j < k; j++)
			from[j] = (struct iovec){pages[i + j], 1};
		to = (struct iovec){bytes, k};
		r = process_vm_readv(pid, &to, 1, from, k, 0);
		if (r < 0 && errno != EFAULT)
			return -errno;
		i += r > 0 ? (unsigned long)r : 1; /* one that has gone meanwhile is left out */
	}
	return 0;
}

static uint64_t kernel_now_ms(void *state)
{
	struct timespec t = {0};

	(void)state;
	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool kernel_is_alive(void *state)
{
	const struct kernel_state *s = state;
	struct pollfd end = {.fd = s->pidfd, .events = POLLIN};

	return (s->pidfd < 0 || poll(&end, 1, 0) == 0) && hostfs_proc_start(s->fs, s->pid) == s->start;
}

int migrate_pages_of(const struct hostfs *fs, int pid, uint64_t start, uint64_t memory, const struct idset *nodes,
		     unsigned int budget_ms, struct migrate_result *ret, struct err *e)
{
	_cleanup_close_ int pidfd = -1;
	struct kernel_state state = {.fs = fs, .pid = pid, .start = start};
	const struct migrate_kernel kernel = {kernel_move, kernel_touch, kernel_now_ms, kernel_is_alive, &state};

	if (!fs->real || numa_available() < 0)
		return err_set(e, EOPNOTSUPP, "memory of process %d: %s", pid,
			       fs->real ? "this kernel has no NUMA" : "it is not of this host");
	if (idset_is_empty(nodes))
		return err_set(e, EINVAL, "memory of process %d: no node to move it to", pid);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0 && errno == ESRCH)
		return err_set(e, ESRCH, "process %d is gone", pid);
	state.pidfd = pidfd;
	if (start == 0 || !kernel_is_alive(&state))
		return err_set(e, ESRCH, "process %d is gone", pid);
	return migrate_with(fs, &kernel, pid, memory, nodes, budget_ms, ret, e);
}
