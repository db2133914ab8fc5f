/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between the parts of decide: decide.c (knowing, and what comes after), decide_claim.c (plan and claim, under the
 * lock), decide_grow.c (huge pages, between two holds of it), decide_retune.c (a domain that runs already).
 */
#pragma once

#include "common/blockdev.h"
#include "common/device.h"
#include "common/foreign.h"
#include "common/net_facts.h"
#include "common/plan.h"
#include "common/tasks.h"
#include "common/undo.h"

#define EMULATOR_SIZE 4096
/* A start whose pool fell short is decided again so often, then with the pools as they are. */
#define DECIDE_ROUNDS 4
/* Pools that can be known to fall short; a host with more nodes than that is decided with the first ones. */
#define DECIDE_CAPS_MAX 256

enum decide_verb { DECIDE_PREPARE, DECIDE_ADOPT, DECIDE_RETUNE, DECIDE_OFF };

enum outcome { OUTCOME_NOTHING, OUTCOME_CLAIMED, OUTCOME_REFUSED };

struct decision {
	struct hostfs fs;
	enum decide_verb verb;
	int daemon;
	struct domain domain;
	struct policy policy;
	struct intent intent;
	struct host host;
	struct netdev_facts nets;
	struct plan_nic nics[NETDEV_MAX];
	struct device_nodes devices;
	struct blockdev_facts blocks;
	bool blocks_known;       /* they were looked at: something is asked for that depends on them */
	struct tasks_facts tasks;
	bool tasks_known;        /* likewise */
	struct ledger found;     /* domains that run without us, if this boot has not looked yet */
	struct plan plan;
	char emulator[EMULATOR_SIZE];
	bool strict;             /* has been reported */
	enum claim_kind kind;    /* of the claim that was made, and its CPUs */
	struct idset cpus;
	uint64_t generation;     /* of the claim */
	bool grows;              /* pages of it are to be added first; the wrapper's plan is not written yet */
	bool moves;              /* shared domains have to give way, or are to come back */
	struct place_cap caps[DECIDE_CAPS_MAX]; /* what growing has shown */
	unsigned int n_caps;
	unsigned int round;      /* 1.. */
	uint64_t grow_until;     /* hugepool_now() at which adding pages ends; 0: none was to be added yet */
	const char *next;        /* verb of `apply` that carries on; NULL: none */
};

static inline bool decide_is_running(const struct decision *d)
{
	return d->verb != DECIDE_PREPARE;
}

/* One line for the supervisor (supervise.h). */
void decide_report(const char *word, const char *text);

/* ---- decide_claim.c ---- */

/* The pools as they are now: others have changed them since the host was read. The lock is held. */
void decide_read_pools(struct decision *d, const struct ledger *l);
/* d->plan anew. was: the plan the running domain has, NULL. */
int decide_make_plan(struct decision *d, const struct ledger *l, const struct plan *was, struct err *e);
/* Whose a claim with this plan is; false: none is needed. */
bool decide_claim_kind(const struct plan *p, const struct idset *pins, enum claim_kind *ret);
/* Fill an empty claim. */
int decide_fill_claim(const struct decision *d, struct ledger *l, const struct idset *pins, enum claim_kind kind,
		      struct claim *c);
/* Shared domains give way to what claims say now: d->moves. */
int decide_update_shared(struct decision *d, struct ledger *l, struct err *e);
/* The running domains that were looked up; whether there are any news. */
int decide_merge_found(struct decision *d, struct ledger *l, bool *ret_news, struct err *e);
/* plan/UUID for the wrapper, if the domain has it. */
int decide_save_wrapper(const struct decision *d, enum claim_kind kind, struct err *e);
/* Lock, plan, claim: one round. */
int decide_claim(struct decision *d, enum outcome *ret, struct err *e);

/* ---- decide_grow.c ---- */

/*
 * Add the pages of the claim that was just made. *ret_again: they did not all come; the claim is gone, d->caps says
 * what there was, and it is to be decided again.
 */
int decide_grow(struct decision *d, bool *ret_again, struct err *e);

/* ---- decide_retune.c ---- */

/* Decide again for a domain that has a claim and runs. -ENOENT: it has none. */
int decide_retune(struct decision *d, enum outcome *ret, struct err *e);
