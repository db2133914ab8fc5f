/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Placement: which CPUs and nodes a domain gets. Pure and deterministic: the same request, host and occupancy
 * give the same placement, whatever the order of the inputs' lists.
 *
 * vCPUs: what the owner pinned stays; the others on the fewest nodes by the search's cost (place_search.h), guest cells
 * each on a node, guest threads on host siblings. Memory and huge pages are where the vCPUs are, pages that are free
 * before such as have to be added to a pool. Emulator and I/O threads are beside.
 */
#pragma once

#include "host.h"
#include "ledger.h"
#include "policy.h"

enum place_policy { PLACE_NONE, PLACE_SHARED, PLACE_DEDICATED, PLACE_ISOLATED };
enum place_threads { PLACE_THREADS_PREFER, PLACE_THREADS_ISOLATE, PLACE_THREADS_REQUIRE };
enum place_where { PLACE_WHERE_SHARE, PLACE_WHERE_ISOLATE, PLACE_WHERE_LIST };
enum place_memory { PLACE_MEMORY_NONE, PLACE_MEMORY_PREFERRED, PLACE_MEMORY_STRICT, PLACE_MEMORY_INTERLEAVE };

/* What pages the guest's RAM should have. */
enum place_pages { PLACE_PAGES_DEFAULT, PLACE_PAGES_THP, PLACE_PAGES_HUGE, PLACE_PAGES_AUTO };

/* One guest NUMA cell (<numa><cell>). */
struct place_cell {
	unsigned int id;
	struct idset vcpus;
	uint64_t memory; /* bytes */
};

/* How many pages of a size a node can give at most, where that was found out by trying (hugepool.h). */
struct place_cap {
	int node;
	uint64_t size;
	uint64_t pages; /* those that are free now and those that can be added */
};

/* A device that the guest uses and the node it is attached to. */
struct place_device {
	const char *name; /* for the reason: "0000:3b:00.0", "nvme0n1", "eth0" */
	int node;
};

/* Guest memory that the owner wants on pages of one size. */
#define PLACE_BACKING_MAX 8
struct place_backing {
	uint64_t size;  /* bytes per page; 0: the host's default size */
	uint64_t bytes;
};

struct place_request {
	enum place_policy policy;
	enum place_threads threads;
	enum place_where emulator_where, iothreads_where;
	struct idset emulator_list, iothreads_list; /* with PLACE_WHERE_LIST */
	struct idset cpus;              /* restricts the choice (cpus=, <vcpu cpuset>); empty: no restriction */
	unsigned int n_vcpus;           /* the highest number + 1 */
	struct idset vcpus;             /* numbers of those that are online; empty: all of 0..n_vcpus-1 */
	const struct domain_pin *pins; unsigned int n_pins; /* <vcpupin>: where, whatever the policy */
	struct idset emulatorpin;       /* <emulatorpin>; empty: none */
	const struct domain_pin *iothreadpins; unsigned int n_iothreadpins;
	const unsigned int *iothreads; unsigned int n_iothreads; /* ids */
	uint64_t memory;                /* bytes of guest RAM */
	enum place_memory memory_policy;
	bool memory_given;              /* the XML has <numatune>: nodes below are the owner's */
	struct idset nodes;             /* memory.nodes or numatune's; empty: auto */
	enum place_pages pages;
	uint64_t page_size;             /* with PLACE_PAGES_HUGE: bytes */
	/* The XML's own <hugepages>: these are claimed, there is no step down; `pages` is then not looked at. */
	struct place_backing backing[PLACE_BACKING_MAX];
	unsigned int n_backing;
	struct idset reserved;          /* effective set, see place_reserved() */
	uint64_t max_dedicated;         /* CPUs that may be claimed on the whole host */
	struct policy_limit max_hugepages, max_memory; /* of each node's memory, all guests together */
	const struct place_cell *cells; unsigned int n_cells; /* <numa>; none: the guest is one cell */
	unsigned int guest_threads;     /* <topology threads>: so many successive vCPUs are a guest core; 0: not said */
	bool latency;                   /* the fast kind of core is what it is for */
	const struct place_device *devices; unsigned int n_devices;
	const struct place_cap *caps; unsigned int n_caps;
	bool no_growth;                 /* pools are taken as they are */
	/* A running domain that is decided again: where it is, so that it is moved for a reason. Empty: it starts. */
	struct idset current;           /* CPUs of its vCPUs */
	struct idset home;              /* nodes its memory is on, which cannot be chosen any more */
	uint64_t max_vcpus_per_cpu;     /* floating vCPUs per shared CPU above which there is a note; 0: no limit */
};

struct place_vcpu {
	struct idset cpus; /* empty: that number is offline */
};

struct place_thread {
	unsigned int id;
	struct idset cpus; /* empty: untouched */
};

/* As struct floater of the ledger. */
struct place_floater {
	struct idset now, home, limit;
	unsigned int vcpus;
};

/* Where the memory of one guest cell goes. */
struct placed_cell {
	unsigned int id;
	struct idset nodes;     /* one, but for a cell that no node holds */
	uint64_t page_size;     /* 0: ordinary pages */
};

struct placement {
	enum place_policy policy;      /* what was possible; PLACE_NONE: nothing is placed */
	struct idset nodes;            /* host nodes of the vCPUs */
	struct idset memory_nodes;     /* empty: memory is not placed */
	enum place_memory memory_policy;
	struct place_vcpu *vcpus; unsigned int n_vcpus; /* empty with PLACE_NONE */
	struct idset emulator;         /* empty: untouched */
	struct place_thread *iothreads; unsigned int n_iothreads;
	struct idset claimed;          /* CPUs this domain takes from everybody else */
	struct place_floater *floaters; unsigned int n_floaters; /* distinct sets of shared CPUs above, if any */
	struct placed_cell *cells; unsigned int n_cells; /* of guests with cells whose memory is placed */
	uint64_t page_size;            /* huge pages of this size; 0: ordinary pages */
	/* Claims: huge pages (`grow` of them are to be added to the pool first), or bytes of ordinary memory. */
	struct claim_pages *pages; unsigned int n_pages;
	bool thp;                      /* THP is what backs it (asked for, or auto stepped down) */
	/* One clause each, in words. */
	char why_cpus[256], why_nodes[256], why_pages[256], why_emulator[256], why_iothreads[256];
	/*
	 * What was asked and is not met, each one sentence: what was asked, what was there, what would help.
	 * With on-error=fail the first one refuses the start.
	 */
	struct msgs unmet;
	struct msgs notes; /* warnings that are not refusals, e.g. cpus= names offline CPUs */
};

/*
 * The occupancy is the ledger of living domains; `self` (a uuid, may be "") is left out. Returns 0 always but
 * for -ENOMEM: an impossible demand is in ret->unmet, ret is then the best that is possible.
 */
int place(const struct host *h, const struct place_request *q, const struct ledger *occupied, const char *self,
	  struct placement *ret);
void placement_fini(struct placement *p);

/*
 * Reserved CPUs: the policy's (cut to online), or, if that is nothing, the core of the lowest online CPU; none on a
 * one-core host.
 */
struct idset place_reserved(const struct host *h, const struct policy *p);
/* CPUs claimed by living domains (CLAIM_OURS and CLAIM_FOREIGN), `self` left out. */
struct idset place_claimed(const struct ledger *l, const char *self);
/* online - reserved - claimed, and without the CPUs of others' exclusive cpusets. */
struct idset place_shared(const struct host *h, const struct idset *reserved, const struct idset *claimed);
/* A limit of the policy as a count of `of` (CPUs, bytes), rounded down. */
uint64_t place_limit(struct policy_limit limit, uint64_t of);
/* Huge pages of a pool that nobody uses or has claimed; HOST_UNKNOWN if the pool cannot be read, 0 if there is none. */
uint64_t place_free_pages(const struct host_node *n, uint64_t size, const struct ledger *l, const char *self);
/* The same from the numbers of the pool itself: all its pages, and those that nobody uses. */
uint64_t place_pool_left(const struct ledger *l, int node, uint64_t size, uint64_t total, uint64_t unused,
			 const char *self);
/* The ledger's record of a pool, made if there is none. NULL: no memory. */
struct ledger_pool *place_pool_find(struct ledger *l, int node, uint64_t size);

/*
 * Bring the ledger's `others` of each pool up to date: what is used beyond the claims of running domains. A pool
 * where a claim is in flight (prepared or stopped: its pages may or may not be in use yet) is left as it was.
 * To be called under the lock, before place().
 */
void place_update_pools(struct ledger *l, const struct host *h);
/* The same for one pool that is known by its numbers. */
void place_pool_update(const struct ledger *l, struct ledger_pool *p, uint64_t total, uint64_t unused);

const char *place_policy_name(enum place_policy p);   /* "none", "shared", ... */
const char *place_memory_name(enum place_memory m);   /* "none", "preferred", ... */
const char *place_node_word(const struct idset *nodes); /* "node " or "nodes " */
