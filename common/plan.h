/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one plan of a start: what will be set where, and why; what is left undone, and why. Made by plan_make()
 * (pure), shown by the tool, kept in undo/UUID, carried out by wrapper and `apply`. A renderer never decides.
 */
#pragma once

#include "intent.h"
#include "netdev.h"
#include "place.h"
#include "record.h"

enum stage { STAGE_PREPARE, STAGE_EXEC, STAGE_STARTED, STAGE_DEFINITION };
const char *stage_name(enum stage s);

struct setting {
	char *knob;    /* "cpu.policy", or "sysctl" */
	char *target;  /* "vcpu0", "iothread1", "node0", "net.core.rmem_max", "" */
	enum stage stage;
	char *value;   /* "2", "0-3,8", "1024", "2M" */
	char *current; /* what the host says now, "" not known at planning time */
	char *source;  /* "domain", "annotation", "profile NAME", "rule N", "default" (also of the policy), "limit" */
	char *why;     /* one clause, no full stop */
	int floater;   /* index of the placement's floater whose CPUs these are; -1: none */
};

struct skipped {
	char *knob, *target, *why;
};

/*
 * Words of settings of a block device, strongest first: between the disks of one domain (plan_disk.c), and between
 * domains (step.c, which says why).
 */
#define PLAN_SCHEDULERS "bfq mq-deadline kyber none"
#define PLAN_AFFINITIES "2 1 0"
#define PLAN_MERGES     "0 1 2"

/*
 * And of a CPU's clock, where CPUs of several domains share one. A governor that answers to load faster is stronger; one
 * that is not here is as good as the first. Preferences are those of energy_perf_strings[], drivers/cpufreq.
 */
#define PLAN_GOVERNORS   "performance schedutil ondemand conservative userspace powersave"
#define PLAN_PREFERENCES "performance balance_performance default balance_power power"

/* A block device of the host that settings of the started stage are about: control groups know it by its number. */
struct plan_device {
	char *name;
	unsigned int major, minor;
	bool bfq; /* the scheduler that will be in force there: it has weights of its own kind */
};

/*
 * A disk that has settings of the exec stage: how the command line names it. One with the target "*" and nothing else:
 * some are asked for all disks, those included that are plugged in later.
 */
struct plan_disk {
	char *target; /* "vda" */
	char *alias;  /* of its -device */
	char *path;   /* of its active image, as libvirt hands it to QEMU; "" not known */
};

/* What the wrapper needs to know of the emulator, from definition and libvirt's capability cache. */
struct plan_wrapper {
	bool present;          /* the domain's <emulator> is our wrapper */
	char *emulator;        /* the real emulator's path; "" unknown: the wrapper looks by its base name */
	unsigned int qemu;     /* version * 1000: 7.2.22 is 7002022; 0 unknown */
};

/* A host device whose traffic is shared out in classes, or whose rings are set. */
struct plan_uplink {
	char name[NETDEV_NAME];
	unsigned int ifindex;
	uint64_t link; /* bit/s that it carries; 0: no class of ours is on it */
	uint64_t rest; /* bit/s of these that are kept for all other traffic */
	unsigned int mtu; /* bytes, 0 not known */
};

/* The class of one interface on one uplink: what the steps of interface.rate, ceil, burst and priority are made of. */
struct plan_link {
	char mac[18];
	char uplink[NETDEV_NAME];   /* "": it has no class, only a limit */
	enum netdev_way way;
	unsigned int number;        /* of the class, PLAN_CLASS_MIN..PLAN_CLASS_MAX; 0: none */
	uint64_t rate, ceil;        /* bit/s */
	uint64_t burst;             /* bytes; 0: whatever the back end finds right */
	unsigned int priority;      /* 0 is served first, tc-htb(8) */
	uint32_t mark, mask;        /* NETDEV_ROUTED; else 0 */
	uint64_t limit;             /* bit/s towards the guest; 0 none */
};

#define PLAN_CLASS_MIN 0xd001 /* our classes' numbers are told by them from others' below a root that is shared */
#define PLAN_CLASS_MAX 0xdfff
#define PLAN_PRIORITY_DEFAULT 3 /* in the middle of 0..7, so that there is something on both sides; also the rest's */

struct irq_list;

struct plan {
	char uuid[37];
	char *name;
	int id;                     /* libvirt's running number, -1 */
	char *profile;              /* "" none */
	enum profile_source profile_source;
	bool fail;                  /* on-error="fail" */
	bool observe;
	char *refused;              /* NULL: not refused; else one line */
	struct plan_wrapper wrapper;
	struct placement placement;
	uint64_t memory;            /* bytes of guest RAM */
	struct setting *settings; size_t n_settings;
	struct skipped *skipped; size_t n_skipped;
	struct plan_device *block; size_t n_block;
	struct plan_uplink *uplinks; unsigned int n_uplinks;
	struct plan_link *links; unsigned int n_links;
	struct plan_disk *disks; size_t n_disks;
	struct msgs warnings;
	/* Not on record: the host's interrupts as of irq_refresh(), which steps of irq.policy are made of. NULL: not read. */
	struct irq_list *irqs;
};

/* What netlink says of a device of netdev_facts (net_facts.c). */
struct plan_nic {
	char root[16];         /* kind of its root queueing discipline; "" not known */
	uint32_t handle;       /* of that; 0: the kernel's own choice, nobody configured it */
	bool is_ours;
	unsigned int rx, tx, rx_max, tx_max; /* ring sizes; max 0: there is none that could be set */
};

struct blockdev_facts;
struct resctrl_facts;
struct irq_facts;
struct cpu_facts;
struct tasks_facts;

struct plan_inputs {
	const struct domain *domain;
	const struct intent *intent;
	const struct policy *policy;
	const struct host *host;
	const struct ledger *ledger;     /* claims of living domains, dead ones already removed */
	struct plan_wrapper wrapper;     /* borrowed strings */
	const struct place_device *devices; unsigned int n_devices;
	const struct cpu_facts *cpus;    /* NULL: not looked at, states of CPUs and real-time scheduling are skipped */
	const struct blockdev_facts *blocks; /* NULL: not looked at, disks are skipped */
	const struct netdev_facts *nets;     /* NULL likewise */
	const struct plan_nic *nics;         /* as nets->devices, by index; NULL: not known */
	const struct resctrl_facts *resctrl; /* NULL likewise */
	const struct irq_facts *irqs;        /* NULL: not looked at */
	const struct tasks_facts *tasks;     /* NULL likewise: needed for cpu.policy isolated */
	const struct place_cap *caps; unsigned int n_caps; /* what growing the pools has shown already */
	bool running;                    /* adopt: exec-stage settings are skipped with that reason */
	/*
	 * Retune: the plan that this running domain has. What its process was started with (exec-stage settings, memory
	 * nodes, pages) is carried over as it is; CPUs are chosen anew, the present ones if they are as good.
	 */
	const struct plan *was;
};

/* Pure. The same inputs give the same plan. Only -ENOMEM is an error. */
int plan_make(const struct plan_inputs *in, struct plan *ret);
void plan_fini(struct plan *p);

/* Whether anything would be done or held for this domain at all. */
bool plan_is_empty(const struct plan *p);
/* Settings that a start brings into force: all but those that are only planned for the definition. */
size_t plan_n_acting(const struct plan *p);

int plan_add_setting(struct plan *p, const char *knob, const char *target, enum stage stage, const char *value,
		     const char *source, const char *why);
int plan_add_link(struct plan *p, const struct plan_link *link);
/* The uplink of that name, made if there is none yet; NULL: no memory. */
struct plan_uplink *plan_add_uplink(struct plan *p, const char *name, unsigned int ifindex);
const struct plan_uplink *plan_find_uplink(const struct plan *p, const char *name); /* NULL: none */
int plan_add_skipped(struct plan *p, const char *knob, const char *target, const char *why);
void plan_drop_skipped(struct plan *p, const char *knob, const char *target);
/* One that is there already stays as it is. 0 or -ENOMEM. */
int plan_add_block(struct plan *p, const char *name, unsigned int major, unsigned int minor, bool bfq);
const struct plan_device *plan_find_block(const struct plan *p, const char *name); /* NULL: none */

int plan_add_disk(struct plan *p, const char *target, const char *alias, const char *path);
/* NULL: it has no settings of the exec stage. */
const struct plan_disk *plan_find_disk(const struct plan *p, const char *target);

/* As records (undo.h) and back. plan_take_record returns 1 if the record was one of a plan's, else 0, -ENOMEM. */
void plan_put_records(const struct plan *p, struct sbuf *b);
int plan_take_record(struct plan *p, const struct record *r);

/* The claim (of this ledger) that the plan makes: CPUs, floaters, pages, classes. Returns 0 or -ENOMEM. */
int plan_fill_claim(const struct plan *p, struct ledger *l, struct claim *c);
/* Of it what is of its class of service. */
int plan_fill_class(const struct plan *p, struct claim *c);
