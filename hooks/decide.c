/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * decide prepare|adopt|retune|off PID < domain.xml: from domain XML to a plan and its claim. Called by the hook, which
 * supervises it (supervise.h has the protocol of descriptor 3; PID is libvirtd's), or by the tool for a domain that
 * runs (retune, off).
 *
 * What takes time (parsing, reading the host, undoing what an earlier start left, looking at domains that run
 * without us, adding huge pages) is done without the lock; under it the ledger is read, the plan made, and claim,
 * undo/UUID and plan/UUID are written (decide_claim.c). If the pools cannot give what was planned, the claim is taken
 * back and the same is done again (decide_grow.c).
 *
 * What fails is logged once, and ends with the guest starting untuned, or not starting if on-error="fail" was
 * asked for.
 */
#include <fcntl.h>
#include <signal.h>

#include "common/apply.h"
#include "common/cgroup.h"
#include "common/gate.h"
#include "common/log.h"
#include "common/num.h"
#include "common/paths.h"
#include "common/patience.h"
#include "decide.h"
#include "hook.h"
#include "supervise.h"

_Static_assert(HOOK_XML_MAX == DOMAIN_XML_MAX, "hook.h repeats the parser's limit");

/* Dead domains undone before a start; more are left to the next calls, since this start has a deadline. */
#define SWEEP_MAX 16

/* ---- reporting ---- */

/* One line for the supervisor. It has gone, or nobody listens: then nobody needs to know. */
void decide_report(const char *word, const char *text)
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
		if (l->m[i].level == MSG_ADVICE)
			continue;
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
	size_t n = plan_n_acting(p);
	char cpus[256] = "", nodes[64] = "", skipped[32] = "";

	if (!idset_is_empty(&d->cpus) && idset_format(&d->cpus, cpus, sizeof(cpus)) < 0)
		(void)snprintf(cpus, sizeof(cpus), "%u in all", idset_count(&d->cpus));
	if (d->kind == CLAIM_FOREIGN) {
		log_notice("%s %s: pinned by its own definition, CPUs %s count as occupied", p->name,
			   decide_is_running(d) ? "adopted" : "prepared", cpus);
		return;
	}
	(void)idset_format(&p->placement.nodes, nodes, sizeof(nodes)); /* "" where it is too long */
	if (p->n_skipped)
		(void)snprintf(skipped, sizeof(skipped), ", %zu skipped", p->n_skipped);
	log_notice("%s %s: profile %s%s%s%s%s%s%s, %zu setting%s %s%s", p->name, decide_is_running(d) ? "adopted" : "prepared",
		   p->profile[0] ? p->profile : "none", placed ? ", " : "",
		   placed ? place_policy_name(p->placement.policy) : "", *cpus ? ", CPUs " : "", cpus,
		   *nodes ? ", node " : "", nodes, n, n == 1 ? "" : "s",
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

/* The hook goes by the policy as of its last call; what comes after us, by our environment. */
static void tell_deadline(const struct gate *now)
{
	char text[32];

	if (!patience_learn(now->deadline_ms, now->grow_deadline_ms))
		return;
	(void)snprintf(text, sizeof(text), "%u %u", now->deadline_ms, now->grow_deadline_ms); /* fits */
	decide_report("deadline", text);
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
	now.deadline_ms = (unsigned int)d->policy.deadline_ms;
	now.grow_deadline_ms = (unsigned int)d->policy.grow_deadline_ms;
	tell_deadline(&now);
	if (!stale)
		return 0;
	log_messages("", &d->policy.msgs);
	now.idle_untouched = is_idle(&d->fs, &d->policy);
	now.observe = d->policy.mode == POLICY_OBSERVE;
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
	if (d->verb == DECIDE_OFF)
		d->domain.tune = NULL; /* the annotation is not looked at */
	r = intent_make(&d->fs, &d->policy, &d->domain, d->verb == DECIDE_OFF ? "off" : NULL, NULL, &d->intent, e);
	if (r < 0)
		return r;
	d->strict = d->intent.fail && d->policy.mode == POLICY_ENFORCE && d->verb == DECIDE_PREPARE;
	if (d->strict)
		decide_report("strict", "");
	learn_cgroups(&d->fs);
	r = host_read(&d->fs, &d->host, e);
	return r < 0 ? r : facts_learn(&d->fs, &d->domain, &d->intent, &d->host, &d->facts, e);
}

/* ---- deciding ---- */

/* Once per boot: domains that run without us, and others who have set CPUs aside. */
static int find_foreign(struct decision *d, struct err *e)
{
	struct ledger l;
	int r = ledger_read(&d->fs, &l, e);

	if (r < 0)
		return r;
	r = foreign_scan(&d->fs, &l, &d->host.online, &d->found);
	if (r >= 0)
		r = foreign_scan_busy(&d->fs, &l, &d->host.online, &d->found);
	ledger_fini(&l);
	return r < 0 ? err_set(e, -r, "running domains: %s", err_name(-r)) : 0;
}

/*
 * Undo what earlier starts left: of this domain (unless it is that one which goes on), and of dead ones. Takes the lock
 * itself, more than once.
 */
static int clear_way(struct decision *d, bool of_this, struct err *e)
{
	struct ledger l;
	struct apply_count count = { 0 };
	bool mine, foreign_read;
	int r = ledger_read_claim(&d->fs, d->domain.uuid, &l, e);

	if (r < 0)
		return r;
	mine = of_this && (ledger_find(&l, d->domain.uuid) || hostfs_exists(&d->fs, PATH_UNDO "/%s", d->domain.uuid) ||
			   hostfs_exists(&d->fs, PATH_PLAN "/%s", d->domain.uuid));
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

/* A start, or a domain that runs without us. */
static int decide_anew(struct decision *d, enum outcome *ret, struct err *e)
{
	bool again = true;
	int r = clear_way(d, true, e);

	while (r >= 0 && again) {
		again = false;
		r = decide_claim(d, ret, e);
		if (r >= 0 && *ret == OUTCOME_CLAIMED && d->grows)
			r = decide_grow(d, &again, e);
	}
	return r;
}

static int decide(struct decision *d, enum outcome *ret, struct err *e)
{
	int r;

	if (d->verb == DECIDE_PREPARE || d->verb == DECIDE_ADOPT)
		return decide_anew(d, ret, e);
	r = clear_way(d, false, e);
	if (r >= 0)
		r = decide_retune(d, ret, e);
	if (r != -ENOENT)
		return r;
	if (d->verb == DECIDE_OFF)
		return 0; /* nothing of ours is on it */
	d->verb = DECIDE_ADOPT;
	return decide_anew(d, ret, e);
}

/* ---- carrying on ---- */

/* What `apply` has to do now; NULL: nothing before the guest runs. */
static const char *next_verb(const struct decision *d)
{
	if (d->verb == DECIDE_RETUNE || d->verb == DECIDE_OFF)
		return d->next;
	if (d->verb == DECIDE_ADOPT)
		return "reconnect"; /* finds the running domain and applies what is missing, that is all */
	if (d->plan.observe)
		return NULL;
	if (d->moves)
		return "prepare"; /* shared domains give way before the guest runs */
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
	if (d->verb == DECIDE_PREPARE || d->verb == DECIDE_ADOPT)
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
	r = decide(d, &outcome, e);
	if (r < 0)
		return r;
	log_messages(d->domain.name, &d->plan.warnings);
	if (outcome == OUTCOME_CLAIMED) {
		if (!d->next)
			log_decision(d);
		return go_on(d, e);
	}
	if (outcome == OUTCOME_NOTHING)
		return WORKER_EXIT_DONE;
	decide_report("refused", d->plan.refused);
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
		decide_report("refused", e.text);
		return WORKER_EXIT_REFUSED;
	}
	log_warning("%s: %s: %s", name, e.text,
		    decide_is_running(d) ? "the running guest stays as it is" : "the guest starts untuned");
	return WORKER_EXIT_FAILED;
}

static void decision_fini(struct decision *d)
{
	plan_fini(&d->plan);
	ledger_fini(&d->found);
	host_fini(&d->host);
	facts_fini(&d->facts);
	intent_fini(&d->intent);
	policy_fini(&d->policy);
	domain_fini(&d->domain);
	hostfs_fini(&d->fs);
}

static const char *const verbs[] = {
	[DECIDE_PREPARE] = "prepare",
	[DECIDE_ADOPT] = "adopt",
	[DECIDE_RETUNE] = "retune",
	[DECIDE_OFF] = "off",
};

static int take_arguments(int argc, char **argv, struct decision *d)
{
	uint64_t daemon;

	if (argc != 3 || num_parse_range(argv[2], 1, INT32_MAX, &daemon) < 0)
		return -EINVAL;
	d->daemon = (int)daemon;
	for (unsigned int i = 0; i < ARRAY_SIZE(verbs); i++)
		if (streq(verbs[i], argv[1])) {
			d->verb = (enum decide_verb)i;
			return 0;
		}
	return -EINVAL;
}

int main(int argc, char **argv)
{
	static struct decision d = { .fs = HOSTFS_INIT };
	int fd, status;

	/* Called by hand, descriptor 3 may be free: it must not become a file of ours. */
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= WORKER_REPORT_FD);
	cleanup_closep(&fd);

	(void)signal(SIGPIPE, SIG_IGN); /* nobody listens on the report pipe: the guest is tuned all the same */
	if (take_arguments(argc, argv, &d) < 0) {
		(void)fputs("usage: decide prepare|adopt|retune|off LIBVIRTD-PID < domain.xml (the hook or domtune "
			    "calls it)\n", stderr);
		return WORKER_EXIT_FAILED;
	}
	if (hostfs_init(&d.fs, getenv("DOMTUNE_ROOT"), NULL) < 0)
		return WORKER_EXIT_FAILED;
	log_init(&d.fs, false);
	status = run(&d);
	decision_fini(&d);
	return status;
}
