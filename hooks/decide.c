/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * decide prepare|adopt PID < domain.xml: from domain XML to a plan and its claim. Called by the hook, which
 * supervises it (supervise.h has the protocol of descriptor 3); PID is libvirtd's.
 *
 * What takes time (parsing, reading the host, undoing what an earlier start left, looking at domains that run
 * without us) is done without the lock; under it the ledger is read, the plan made, and claim, undo/UUID and
 * plan/UUID are written, in an order that is safe to be killed in at any point:
 *
 *   undo/UUID   the later phases know the domain; without a claim of its generation they only clean up
 *   ledger      CPUs and pages are taken
 *   plan/UUID   only now the wrapper may use them
 *
 * What fails takes these back in reverse, is logged once, and ends with the guest starting untuned, or not
 * starting if on-error="fail" was asked for.
 */
#include <fcntl.h>
#include <signal.h>
#include <time.h>

#include "common/apply.h"
#include "common/cgroup.h"
#include "common/foreign.h"
#include "common/gate.h"
#include "common/log.h"
#include "common/num.h"
#include "common/paths.h"
#include "common/plan.h"
#include "common/qemucaps.h"
#include "common/undo.h"
#include "common/wplan.h"
#include "hook.h"
#include "supervise.h"

_Static_assert(HOOK_XML_MAX == DOMAIN_XML_MAX, "hook.h repeats the parser's limit");

/* Dead domains undone before a start; more are left to the next calls, since this start has a deadline. */
#define SWEEP_MAX 16
#define EMULATOR_SIZE 4096

struct decision {
	struct hostfs fs;
	bool adopt;              /* the domain runs already */
	int daemon;
	struct domain domain;
	struct policy policy;
	struct intent intent;
	struct host host;
	struct ledger found;     /* domains that run without us, if this boot has not looked yet */
	struct plan plan;
	char emulator[EMULATOR_SIZE];
	bool strict;             /* has been reported */
	enum claim_kind kind;    /* of the claim that was made, and its CPUs */
	struct idset cpus;
};

enum outcome { OUTCOME_NOTHING, OUTCOME_CLAIMED, OUTCOME_REFUSED };

/* ---- reporting ---- */

/* One line for the supervisor. It has gone, or nobody listens: then nobody needs to know. */
static void report(const char *word, const char *text)
{
	char line[WORKER_REFUSED_SIZE + 16];
	int len = snprintf(line, sizeof(line) - 1, "%s%s%s", word, *text ? " " : "", text);

	if (len < 0)
		return;
	if ((size_t)len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	for (int i = 0; i < len; i++)
		if (line[i] == '\n')
			line[i] = ' ';
	line[len++] = '\n';
	if (write(WORKER_REPORT_FD, line, (size_t)len) < 0)
		log_debug("report: %s", err_name(errno));
}

static void log_messages(const char *name, const struct msgs *l)
{
	char text[ERR_TEXT_SIZE];

	for (size_t i = 0; i < l->n; i++) {
		(void)msg_format(&l->m[i], text, sizeof(text));
		log_warning("%s%s%s", name, *name ? ": " : "", text);
	}
	if (l->failed)
		log_warning("%s%sout of memory: messages were lost", name, *name ? ": " : "");
}

static void log_decision(const struct decision *d)
{
	const struct plan *p = &d->plan;
	bool placed = p->placement.policy != PLACE_NONE;
	char cpus[256] = "", nodes[64] = "", skipped[32] = "";

	if (!idset_is_empty(&d->cpus) && idset_format(&d->cpus, cpus, sizeof(cpus)) < 0)
		(void)snprintf(cpus, sizeof(cpus), "%u in all", idset_count(&d->cpus));
	if (d->kind == CLAIM_FOREIGN) {
		log_notice("%s %s: pinned by its own definition, CPUs %s count as occupied", p->name,
			   d->adopt ? "adopted" : "prepared", cpus);
		return;
	}
	(void)idset_format(&p->placement.nodes, nodes, sizeof(nodes)); /* "" where it is too long */
	if (p->n_skipped)
		(void)snprintf(skipped, sizeof(skipped), ", %zu skipped", p->n_skipped);
	log_notice("%s %s: profile %s%s%s%s%s%s%s, %zu setting%s %s%s", p->name, d->adopt ? "adopted" : "prepared",
		   p->profile[0] ? p->profile : "none", placed ? ", " : "",
		   placed ? place_policy_name(p->placement.policy) : "", *cpus ? ", CPUs " : "", cpus,
		   *nodes ? ", node " : "", nodes, p->n_settings, p->n_settings == 1 ? "" : "s",
		   p->observe ? "would be made (observe)" : "planned", skipped);
}

/* ---- knowing ---- */

static int read_xml(char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_free_ char *text = malloc(DOMAIN_XML_MAX + 1);
	size_t len = 0;

	if (!text)
		return err_set(e, ENOMEM, "domain XML: %s", err_name(ENOMEM));
	while (len <= DOMAIN_XML_MAX) {
		ssize_t n = read(STDIN_FILENO, text + len, DOMAIN_XML_MAX + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, errno, "domain XML: %s", err_name(errno));
		if (n == 0)
			break;
		len += (size_t)n;
	}
	if (len > DOMAIN_XML_MAX)
		return err_set(e, EFBIG, "domain XML of more than %u bytes", DOMAIN_XML_MAX);
	*ret = steal_ptr(&text);
	*ret_len = len;
	return 0;
}

static int learn_domain(struct decision *d, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r = read_xml(&text, &len, e);

	if (r == 0) {
		r = domain_parse(text, len, &d->domain, e);
		if (r < 0)
			err_wrap(e, "domain XML");
	}
	if (r == 0 && !uuid_is_valid(d->domain.uuid))
		return err_set(e, EBADMSG, "domain XML: it has no UUID");
	return r;
}

/* The host may have put an "off" of its own in place of the shipped one. */
static bool is_idle(const struct hostfs *fs, const struct policy *p)
{
	return p->n_rules == 0 && streq(p->default_profile, "off") &&
	       !hostfs_exists(fs, PATH_ETC "/profiles/off.xml");
}

/* The policy, and the gate for the hook's next calls. Its messages are logged once per boot and version. */
static int learn_policy(struct decision *d, struct err *e)
{
	struct gate old, now = GATE_DEFAULT;
	bool stale = gate_load(&d->fs, &old) < 0;
	int r;

	gate_stamp(&d->fs, &now);
	r = policy_load(&d->fs, &d->policy);
	if (r < 0)
		return err_set(e, -r, "policy: %s", err_name(-r));
	if (!stale)
		return 0;
	log_messages("", &d->policy.msgs);
	now.idle_untouched = is_idle(&d->fs, &d->policy);
	now.observe = d->policy.mode == POLICY_OBSERVE;
	now.deadline_ms = (unsigned int)d->policy.deadline_ms;
	now.grow_deadline_ms = (unsigned int)d->policy.grow_deadline_ms;
	r = gate_save(&d->fs, &now);
	if (r < 0)
		log_debug("gate: %s", err_name(-r)); /* the hook asks again next time */
	return 0;
}

/* So that the programs that act need no libcgroup. */
static void learn_cgroups(const struct hostfs *fs)
{
	struct cgroup_layout layout;

	if (cgroup_layout_load(fs, &layout) < 0 && cgroup_layout_find(fs, &layout, NULL) == 0)
		(void)cgroup_layout_save(fs, &layout); /* they say what they could not find */
}

static int learn(struct decision *d, struct err *e)
{
	int r = learn_domain(d, e);

	if (r == 0)
		r = learn_policy(d, e);
	if (r < 0)
		return r;
	r = intent_make(&d->fs, &d->policy, &d->domain, NULL, NULL, &d->intent, e);
	if (r < 0)
		return r;
	d->strict = d->intent.fail && d->policy.mode == POLICY_ENFORCE && !d->adopt;
	if (d->strict)
		report("strict", "");
	return host_read(&d->fs, &d->host, e);
}

/* ---- deciding ---- */

/* Once per boot: domains that run without us. */
static int find_foreign(struct decision *d, struct err *e)
{
	struct ledger l;
	int r = ledger_read(&d->fs, &l, e);

	if (r < 0)
		return r;
	r = foreign_scan(&d->fs, &l, &d->host.online, &d->found);
	ledger_fini(&l);
	return r < 0 ? err_set(e, -r, "running domains: %s", err_name(-r)) : 0;
}

/* Undo what earlier starts left: of this domain, and of dead ones. Takes the lock itself, more than once. */
static int clear_way(struct decision *d, struct err *e)
{
	struct ledger l;
	struct apply_count count = { 0 };
	bool mine, foreign_read;
	int r = ledger_read_one(&d->fs, d->domain.uuid, &l, e);

	if (r < 0)
		return r;
	mine = ledger_find(&l, d->domain.uuid) || hostfs_exists(&d->fs, PATH_UNDO "/%s", d->domain.uuid) ||
	       hostfs_exists(&d->fs, PATH_PLAN "/%s", d->domain.uuid);
	foreign_read = l.foreign_read;
	ledger_fini(&l);

	if (!foreign_read)
		r = find_foreign(d, e);
	if (r >= 0 && mine)
		r = undo_all(&d->fs, d->domain.uuid, &count, e);
	if (r >= 0 && ledger_has_dead(&d->fs))
		r = apply_sweep(&d->fs, false, false, SWEEP_MAX, e);
	return r < 0 ? r : 0;
}

static int make_plan(struct decision *d, const struct ledger *l, struct err *e)
{
	struct plan_inputs in = {
		.domain = &d->domain,
		.intent = &d->intent,
		.policy = &d->policy,
		.host = &d->host,
		.ledger = l,
		.wrapper = { .present = qemucaps_is_wrapper(d->domain.emulator), .emulator = d->emulator },
		.running = d->adopt,
	};
	int r;

	if (in.wrapper.present) {
		if (qemucaps_real_emulator(&d->fs, d->domain.uuid, d->domain.emulator, d->emulator,
					   sizeof(d->emulator)) < 0)
			d->emulator[0] = '\0';
		in.wrapper.qemu = qemucaps_version(&d->fs, d->domain.emulator);
		if (in.wrapper.qemu == 0)
			in.wrapper.qemu = qemucaps_version(&d->fs, d->emulator);
	}
	r = plan_make(&in, &d->plan);
	return r < 0 ? err_set(e, -r, "plan: %s", err_name(-r)) : 0;
}

/* ---- claiming, under the lock ---- */

/*
 * Whose the claim is. A domain that pins its vCPUs occupies them even where we do nothing, or only observe; one
 * that neither pins nor gets or holds anything needs no claim (false).
 */
static bool choose_kind(const struct plan *p, const struct idset *pins, enum claim_kind *ret)
{
	bool acts = p->n_settings > 0 && !p->observe;

	if (!acts && !idset_is_empty(pins))
		*ret = CLAIM_FOREIGN;
	else if (plan_is_empty(p))
		return false;
	else
		*ret = p->observe ? CLAIM_OBSERVE : CLAIM_OURS;
	return true;
}

static int fill_claim(const struct decision *d, struct ledger *l, const struct idset *pins, enum claim_kind kind,
		      struct claim *c)
{
	bool planned = kind != CLAIM_FOREIGN || !d->plan.observe;
	int r = planned ? plan_fill_claim(&d->plan, l, c) : 0;

	c->kind = kind;
	c->daemon = d->daemon;
	c->daemon_start = hostfs_proc_start(&d->fs, d->daemon);
	c->since = (uint64_t)time(NULL);
	if (r == 0 && kind == CLAIM_FOREIGN) {
		struct idset cpus = *c->cpus;

		idset_or(&cpus, pins);
		c->cpus = ledger_set(l, &cpus);
		r = c->cpus ? 0 : -ENOMEM;
	}
	return r;
}

static int save_wrapper_plan(const struct decision *d, struct err *e)
{
	char boot_id[BOOT_ID_SIZE];
	struct wplan w;
	int r;

	hostfs_boot_id(&d->fs, boot_id);
	r = wplan_from_plan(&d->plan, &d->host, boot_id, &w);
	if (r < 0)
		return err_set(e, -r, "wrapper's plan: %s", err_name(-r));
	if (w.n_attrs || w.memory)
		r = wplan_save(&d->fs, &w, e);
	wplan_fini(&w);
	return r;
}

/* Write all of a claim, or leave nothing of it. `l` has the claim. */
static int write_claim(const struct decision *d, struct ledger *l, const struct claim *c, struct err *e)
{
	const char *uuid = d->domain.uuid;
	bool with_wrapper = d->plan.wrapper.present && c->kind == CLAIM_OURS && !d->adopt;
	int r = undo_create(&d->fs, &d->plan, c->generation, e);

	if (r == 0)
		r = ledger_write(&d->fs, l, e);
	if (r == 0 && with_wrapper) {
		r = save_wrapper_plan(d, e);
		if (r < 0) {
			ledger_remove(l, uuid);
			(void)ledger_write(&d->fs, l, NULL); /* else it is undone as a dead domain's */
		}
	}
	if (r < 0)
		(void)undo_remove(&d->fs, uuid); /* the first error counts */
	return r;
}

static int claim(struct decision *d, struct ledger *l, const struct idset *pins, enum claim_kind kind, struct err *e)
{
	struct claim *c = ledger_add(l, d->domain.uuid, d->domain.name);

	if (!c || fill_claim(d, l, pins, kind, c) < 0)
		return err_set(e, ENOMEM, "claim: %s", err_name(ENOMEM));
	d->kind = kind;
	d->cpus = *c->cpus;
	return write_claim(d, l, c, e);
}

static int decide_in(struct decision *d, struct ledger *l, enum outcome *ret, struct err *e)
{
	struct idset pins = foreign_pins(&d->domain, &d->host.online);
	bool news = !l->foreign_read;
	enum claim_kind kind;
	int r;

	if (ledger_find(l, d->domain.uuid))
		return err_set(e, EBUSY, "a claim of an earlier start could not be undone");
	if (news) {
		if (foreign_merge(l, &d->found) < 0)
			return err_set(e, ENOMEM, "running domains: %s", err_name(ENOMEM));
		l->foreign_read = true;
	}
	place_update_pools(l, &d->host);
	r = make_plan(d, l, e);
	if (r < 0)
		return r;

	*ret = d->plan.refused && d->strict ? OUTCOME_REFUSED : OUTCOME_NOTHING;
	if (*ret == OUTCOME_NOTHING && choose_kind(&d->plan, &pins, &kind)) {
		*ret = OUTCOME_CLAIMED;
		return claim(d, l, &pins, kind, e);
	}
	return news ? ledger_write(&d->fs, l, e) : 0;
}

static int decide(struct decision *d, enum outcome *ret, struct err *e)
{
	_cleanup_close_ int lock = -1;
	struct ledger l;
	int r = clear_way(d, e);

	if (r < 0)
		return r;
	lock = ledger_lock(&d->fs, e);
	if (lock < 0)
		return lock;
	r = ledger_read(&d->fs, &l, e);
	if (r < 0)
		return r;
	r = decide_in(d, &l, ret, e);
	ledger_fini(&l);
	return r;
}

/* ---- carrying on ---- */

/* What `apply` has to do now; NULL: nothing before the guest runs. */
static const char *next_verb(const struct decision *d)
{
	if (d->adopt)
		return "reconnect"; /* finds the running domain and applies what is missing, that is all */
	if (d->plan.observe)
		return NULL;
	for (size_t i = 0; i < d->plan.n_settings; i++)
		if (d->plan.settings[i].stage == STAGE_PREPARE)
			return "prepare";
	return NULL;
}

static int go_on(const struct decision *d, struct err *e)
{
	static const char program[] = DT_HELPERS "/apply";
	const char *verb = next_verb(d);
	struct apply_count count = { 0 };
	int code;

	if (!verb)
		return 0;
	(void)execl(program, program, verb, d->domain.uuid, (char *)NULL);
	code = errno;
	(void)undo_all(&d->fs, d->domain.uuid, &count, NULL); /* the error below is the one that counts */
	return err_set(e, code, "%s: %s", program, err_name(code));
}

static int work(struct decision *d, struct err *e)
{
	enum outcome outcome = OUTCOME_NOTHING;
	int r = ledger_make_dirs(&d->fs, e);

	if (r == 0)
		r = learn(d, e);
	if (r < 0)
		return r;
	learn_cgroups(&d->fs);
	r = decide(d, &outcome, e);
	if (r < 0)
		return r;
	log_messages(d->domain.name, &d->plan.warnings);
	if (outcome == OUTCOME_CLAIMED) {
		log_decision(d);
		return go_on(d, e);
	}
	if (outcome == OUTCOME_NOTHING)
		return WORKER_EXIT_DONE;
	report("refused", d->plan.refused);
	return WORKER_EXIT_REFUSED;
}

static int run(struct decision *d)
{
	struct err e = ERR_INIT;
	const char *name;
	int r = work(d, &e);

	if (r >= 0)
		return r;
	name = d->domain.name ? d->domain.name : "?";
	if (d->strict) {
		log_warning("%s: %s: the start is refused (on-error=\"fail\")", name, e.text);
		report("refused", e.text);
		return WORKER_EXIT_REFUSED;
	}
	log_warning("%s: %s: %s", name, e.text,
		    d->adopt ? "the running guest stays as it is" : "the guest starts untuned");
	return WORKER_EXIT_FAILED;
}

static void decision_fini(struct decision *d)
{
	plan_fini(&d->plan);
	ledger_fini(&d->found);
	host_fini(&d->host);
	intent_fini(&d->intent);
	policy_fini(&d->policy);
	domain_fini(&d->domain);
	hostfs_fini(&d->fs);
}

int main(int argc, char **argv)
{
	static struct decision d = { .fs = HOSTFS_INIT };
	uint64_t daemon;
	int fd, status;

	/* Called by hand, descriptor 3 may be free: it must not become a file of ours. */
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= WORKER_REPORT_FD);
	cleanup_closep(&fd);

	(void)signal(SIGPIPE, SIG_IGN); /* nobody listens on the report pipe: the guest is tuned all the same */
	if (argc != 3 || !(streq(argv[1], "prepare") || streq(argv[1], "adopt")) ||
	    num_parse_range(argv[2], 1, INT32_MAX, &daemon) < 0) {
		(void)fputs("usage: decide prepare|adopt LIBVIRTD-PID < domain.xml (the hook calls it)\n", stderr);
		return WORKER_EXIT_FAILED;
	}
	d.adopt = streq(argv[1], "adopt");
	d.daemon = (int)daemon;
	if (hostfs_init(&d.fs, getenv("DOMTUNE_ROOT"), NULL) < 0)
		return WORKER_EXIT_FAILED;
	log_init(&d.fs, false);
	status = run(&d);
	decision_fini(&d);
	return status;
}
