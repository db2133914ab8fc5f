/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host ledger, /run/domtune/ledger: who holds what. One line per domain, one per shared object that was
 * changed, one per huge page pool; in its head the CPUs that there are to share. Read and rewritten whole, by rename,
 * under one flock on /run/domtune/lock, in prepare, started and release; never the place of per-domain detail
 * (undo.h).
 *
 * A ledger of another boot is ignored, and it, plan/ and undo/ are emptied. Lines that are torn or edited are
 * ignored. The ledger knows nothing about knobs.
 */
#pragma once

#include "fold.h"
#include "hostfs.h"
#include "strindex.h"
#include "textpool.h"

enum claim_kind {
	CLAIM_OURS,    /* tuned by us */
	CLAIM_FOREIGN, /* pinned by its own XML or running before us: its CPUs are occupied */
	CLAIM_OBSERVE, /* policy mode observe: decided, nothing held */
};

enum claim_phase { CLAIM_PREPARED, CLAIM_STARTED, CLAIM_STOPPED };

struct claim_pages {
	int node;
	uint64_t size;  /* bytes per page; 0: ordinary memory, `count` is in bytes */
	uint64_t count;
	uint64_t grow;  /* of them, those that the pool does not have yet: to be added by whoever made the claim */
};

/*
 * CPUs that some of a domain's threads share with others: they follow the shared pool (place_share.h). `home` and
 * `limit` do not change while the domain lives. A setting or step belongs to one by its index (plan.h).
 */
struct floater {
	const struct idset *now;   /* where they float */
	const struct idset *home;  /* where they would if no CPU were claimed: those of its nodes */
	const struct idset *limit; /* where they may at all */
	unsigned int vcpus;        /* that float there; 0: only emulator and I/O threads */
	bool moved;                /* `now` was changed, and the domain's own objects do not say so yet */
};

/* A class on an uplink (plan.h, struct plan_link) and what it is guaranteed. */
struct claim_link {
	char device[16];     /* IFNAMSIZ, include/uapi/linux/if.h */
	unsigned int number; /* of the class: nobody else's on this device */
	uint64_t rate;       /* bit/s */
	uint32_t mark;       /* of its packets, nobody else's on this host; 0 none */
};

/* Ways of one L3 cache (resctrl.h) that are the domain's alone. */
struct claim_ways {
	unsigned int cache; /* its id */
	uint64_t bits;      /* never 0 */
};

struct claim {
	char uuid[37];
	char *name;
	enum claim_kind kind;
	enum claim_phase phase;
	uint64_t generation;    /* of this start; unique within a boot */
	int pid; uint64_t pid_start;       /* QEMU; 0 not known yet */
	int daemon; uint64_t daemon_start; /* the libvirtd that called prepare */
	uint64_t since;         /* seconds since the epoch */
	const struct idset *cpus; /* nobody else's: dedicated vCPUs, idle siblings, isolated emulator */
	struct floater *floats; unsigned int n_floats;
	struct claim_pages *pages; unsigned int n_pages;
	struct claim_link *links; unsigned int n_links;
	bool has_class; /* of service: one of the few that the hardware has; with or without ways */
	struct claim_ways *ways; unsigned int n_ways;
	const char *line; size_t line_len; /* as read; ledger_write() copies it. ledger_find() forgets it */
};

struct shared_claim {
	char uuid[37];
	/*
	 * "": nothing of its own, the object is only to keep its value (a dependant). "-VALUE": nor even that, what its
	 * cause makes of it is right until both are put back; VALUE is what that was, "" not known.
	 */
	const char *wanted; /* the ledger's, set by shared_set_claim() */
};

/* Whether what a domain claims is a value that it wants. */
static inline bool shared_is_wish(const char *wanted)
{
	return *wanted && *wanted != '-';
}

/*
 * One host object that several domains may want different values of, e.g. a sysctl or a disk's scheduler. Its texts are the
 * ledger's: set by shared_set() and forgotten by shared_unsettle() only, else what was read is written back.
 */
struct shared {
	const char *knob, *target;   /* as in settings */
	const char *backend, *object; /* as in undo records */
	enum fold fold; const char *order; /* how the claims make one value (step.h) */
	const char *cause;     /* object of the same back end whose write may reset this one; "" none */
	const char *original;  /* before our first change */
	const char *written;   /* the last value we meant to write */
	const char *before;    /* what the object said when that write was recorded ahead */
	const char *readback;  /* what the object said after it; NULL: that write is not settled */
	struct shared_claim *claims; unsigned int n_claims; /* 0: being put back */
	uint64_t index;        /* of its line, while reading */
	const char *line; size_t line_len; /* its line as parsed (record.h) as long as that is what it says; NULL: it is not */
	struct textpool *texts; /* the ledger's */
};

/* A huge page pool that we claim of or have changed. In pages. */
struct ledger_pool {
	int node;
	uint64_t size;   /* bytes per page */
	uint64_t others; /* used by others than our claims, as of the last time none of ours was in flight */
	uint64_t grown;  /* of those that are there, ours: added by us and not taken away again */
	uint64_t total;  /* persistent pages (nr_hugepages less surplus_hugepages) after our last change */
	uint64_t pending; /* being added, or were when we were killed (hugepool.h) */
	uint64_t adopted; /* surplus pages of others that growing made persistent: to become surplus again */
	uint64_t leaving; /* being taken away, or were when we were killed */
};

struct ledger_sets;

struct ledger {
	char boot_id[BOOT_ID_SIZE];
	uint64_t next_generation;
	bool moves; /* a running domain's floater was moved and nobody has tried yet to carry it out */
	bool foreign_read; /* domains running before us were looked up in this boot */
	const struct idset *online, *reserved; /* as of the last decision; empty: none was made yet */
	struct ledger_sets *sets; /* see ledger_set() */
	struct textpool *texts; /* of shared objects */
	struct claim *claims; unsigned int n_claims, room; /* room: allocated */
	struct shared *shared; unsigned int n_shared, room_shared;
	struct strindex by_object; /* where they are: the first by_object.n of them; all there are where it counts */
	struct ledger_pool *pools; unsigned int n_pools;
	unsigned int bad_lines; /* ignored when reading */
	bool older;             /* what was read was of a format before this one: to be written anew */
	bool other_boot;        /* what was read was of another boot: ledger_write() empties plan/ and undo/ of it */
	char *text;             /* as read: what lines of claims and of shared objects, and texts of these, point into */
	unsigned int n_fresh;   /* so many of the allocated claims were never used: still zero */
	char *rest; size_t rest_len; /* lines that ledger_read_one() did not look into; written back as they were */
};

/*
 * Create the state directories where missing (0755; undo/ 0700). A symlink or a file in the way, or a
 * directory that is not root's (the caller's, under another root): -ELOOP, -ENOTDIR, -EPERM.
 */
int ledger_make_dirs(const struct hostfs *fs, struct err *e);

/*
 * Take the lock; waits up to patience_lock_ms() (-ETIMEDOUT), though a holder nearly always works for well under 10 ms.
 * Returns a descriptor: closing it releases the lock.
 */
int ledger_lock(const struct hostfs *fs, struct err *e);

/* No ledger, or one of another boot: an empty one for this boot. Only -ENOMEM and I/O errors fail. */
int ledger_read(const struct hostfs *fs, struct ledger *ret, struct err *e);
/*
 * The same with only this domain's claim in ret->claims; the other claims' lines are kept unread in ret->rest, which
 * makes started, stopped and release as cheap with 1,000 domains as with one. Shared objects and pools are complete.
 */
int ledger_read_one(const struct hostfs *fs, const char *uuid, struct ledger *ret, struct err *e);
/*
 * With this domain's claim and nothing else, neither shared objects nor pools: they are kept unread too. For who changes
 * the claim's phase or floaters, which a thousand interrupts of others need not be read for.
 */
int ledger_read_claim(const struct hostfs *fs, const char *uuid, struct ledger *ret, struct err *e);
/* The lock must be held. -ENOSPC and the like: the old ledger is as it was. */
int ledger_write(const struct hostfs *fs, const struct ledger *l, struct err *e);
void ledger_fini(struct ledger *l);

/*
 * A claim is changed through the pointer that ledger_find() or ledger_add() gave, never by walking l->claims: lines
 * of claims that nobody asked for are written back as they were read, which is what 1,000 domains cost.
 */
struct claim *ledger_find(struct ledger *l, const char *uuid);
/* The same to look at it only. */
const struct claim *ledger_see(const struct ledger *l, const char *uuid);
/* A new, empty claim with the next generation. It replaces none: the caller has undone the old one. NULL: no memory. */
struct claim *ledger_add(struct ledger *l, const char *uuid, const char *name);
void ledger_remove(struct ledger *l, const char *uuid);
/*
 * The ledger's own copy of a set, for the fields of its claims: equal ones are one, since most of a thousand domains
 * share a few. It lives as long as the ledger. NULL: no memory.
 */
const struct idset *ledger_set(struct ledger *l, const struct idset *s);
/* A further floater at the end; the sets are copied. 0 or -ENOMEM. */
int claim_add_floater(struct ledger *l, struct claim *c, const struct idset *now, const struct idset *home,
		      const struct idset *limit, unsigned int vcpus);
int claim_add_pages(struct claim *c, int node, uint64_t size, uint64_t count);
/* 0, -EINVAL (no device's name), -E2BIG (CLAIM_LINKS_MAX are there) or -ENOMEM. */
int claim_add_link(struct claim *c, const struct claim_link *link);
struct claim_link *claim_find_link(const struct claim *c, const char *device, unsigned int number); /* NULL: none */
#define CLAIM_LINKS_MAX 512 /* with all else still a line of less than RECORD_MAX */
/* Further ways of that cache; the claim has a class then. 0, -EINVAL (no bits), -E2BIG or -ENOMEM. */
int claim_add_ways(struct claim *c, unsigned int cache, uint64_t bits);
#define CLAIM_WAYS_MAX 256 /* caches */
void claim_fini(struct claim *c);

struct shared *ledger_find_shared(struct ledger *l, const char *backend, const char *object);
/* The same where only a few are asked for, and nothing is changed; l may be NULL. */
const struct shared *ledger_see_shared(const struct ledger *l, const char *backend, const char *object);
struct shared *ledger_add_shared(struct ledger *l, const char *backend, const char *object);
/* Room for so many in all: until then ledger_add_shared() moves none. Returns 0 or -ENOMEM. */
int ledger_reserve_shared(struct ledger *l, unsigned int n);
void ledger_remove_shared(struct ledger *l, struct shared *s);
/* All for which is_over says yes, at once; the others keep their order, and move. */
void ledger_prune_shared(struct ledger *l, bool (*is_over)(const void *data, unsigned int i), const void *data);
/* Another text, which is copied, for one of its fields: shared_set(s, &s->written, "x"). 0 or -ENOMEM: it is as it was. */
int shared_set(struct shared *s, const char **field, const char *text);
void shared_unsettle(struct shared *s); /* the write that is on record has not been read back */
int shared_set_claim(struct shared *s, const char *uuid, const char *wanted); /* adds or replaces */
void shared_drop_claim(struct shared *s, const char *uuid);
/* What a domain has claimed of it, its wish or not; NULL: nothing. Borrowed. */
const char *shared_claim_of(const struct shared *s, const char *uuid);

/*
 * Whether a claim's owner is dead, as the contract has it: pid and start time recorded and that process is
 * gone; or none recorded, the libvirtd that called prepare is gone and /run/libvirt/qemu has no pid file for
 * the name. thorough: also compare start times of pids that exist (a file read each); otherwise kill(pid, 0).
 * Always false below another root than "/" unless `judge_root` (recover does).
 */
bool claim_is_dead(const struct hostfs *fs, const struct claim *c, bool thorough, bool judge_root);

/*
 * Whether there is something for a sweep: for the hook, at every phase. A claim that looks dead, by a scan of the text
 * that parses nothing else: kill(pid, 0) for LEDGER_LOOK_PIDS claims, and of these a thorough look at LEDGER_LOOK;
 * other ones at each call. Or moves that nobody has tried (ledger.moves), or a ledger of another boot (to be
 * removed). False without a ledger and below another root than "/".
 */
#define LEDGER_LOOK 8
#define LEDGER_LOOK_PIDS 64
bool ledger_has_dead(const struct hostfs *fs);

/* ledger.moves, from the first line alone, under any root. */
bool ledger_has_moves(const struct hostfs *fs);

const char *claim_kind_name(enum claim_kind k);   /* "ours", "foreign", "observe" */
const char *claim_phase_name(enum claim_phase p); /* "prepared", "started", "stopped" */
int claim_kind_parse(const char *text, enum claim_kind *ret);   /* -EINVAL */
int claim_phase_parse(const char *text, enum claim_phase *ret); /* -EINVAL */
