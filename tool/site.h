/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What plans are made of, gathered once per run of the tool (struct site), and one domain planned on it (struct
 * planned). Reads only. The same is gathered by `decide` at a start.
 */
#pragma once

#include "common/ledger.h"
#include "common/plan.h"
#include "tool/json.h"
#include "tool/tool.h"

struct site {
	struct policy policy;
	struct host host;
	struct ledger ledger; /* claims of living domains only */
};

/* 0, or an exit status; what is wrong has then been said. */
int site_load(struct tool *t, struct site *ret);
void site_fini(struct site *s);

/* Remove the claims of dead domains: the next hook call undoes them, they occupy nothing. */
int site_drop_dead(const struct hostfs *fs, struct ledger *l, bool judge_root);

struct planned {
	struct domain domain;
	struct intent intent;
	struct plan plan;
};

struct plan_options {
	const char *profile; /* stands for the annotation's; NULL */
	char *const *sets;   /* NULL-terminated */
	bool running;        /* the XML is of a running domain */
	bool assume_wrapper; /* as if the wrapper was in */
};

/* label names the XML in messages. 0, or an exit status; what is wrong has then been said. */
int site_plan(struct tool *t, const struct site *s, const char *label, const char *xml, size_t len,
	      const struct plan_options *o, struct planned *ret);
void planned_fini(struct planned *p);

/* The contract's "placement" object, and lists that plan and status share. */
void site_json_placement(struct json *j, const struct placement *p);
void site_json_skipped(struct json *j, const struct plan *p);
void site_json_warnings(struct json *j, const struct msgs *m);
void site_print_skipped(const struct plan *p);
void site_print_warnings(const struct msgs *m);

/* "cpu.policy vcpu0", "disk[vda].scheduler". Malloc'ed; NULL only without memory. */
char *site_knob_text(const char *knob, const char *target);
const char *site_source_name(enum profile_source s); /* "annotation", "rule", "default", "none" */
/* The set as a list, "-" if it is empty. Malloc'ed; NULL only without memory. */
char *site_set_text(const struct idset *s);
