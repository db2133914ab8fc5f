/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * domtune retune: what `prepare` and `started` decide and do, for a domain that runs. `decide` does it, with the lock
 * and the record that a hook call would use; what is here is where its XML comes from, and what nobody else does:
 * moving the memory of a guest that was started without the wrapper.
 *
 * The XML is the running domain's, with the annotation of its definition: that is the one `domtune set` writes.
 * libvirt may be another host's (a connection URI): a domain without a process here is refused.
 */
#include <sys/mman.h>

#include "common/gate.h"
#include "common/migrate.h"
#include "common/num.h"
#include "common/paths.h"
#include "hooks/supervise.h"
#include "tool/annot.h"
#include "tool/out.h"
#include "tool/site.h"
#include "tool/view.h"
#include "tool/virt.h"

/* Nobody waits but the administrator; what takes longest is reading a busy host and the writes of 1,000 moves. */
#define DECIDE_MAX_MS 120000

struct retune {
	struct tool *t;
	bool off;
	const char *name;
	char uuid[37];
	char *xml; /* with the annotation that counts */
};

/* The daemon of a claim that is new: its death means nothing once QEMU is known, which `decide` sees to. */
static int daemon_pid(const struct hostfs *fs)
{
	static const char *const files[] = { "run/libvirt/virtqemud.pid", "run/virtqemud.pid", "run/libvirtd.pid" };
	uint64_t pid;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (hostfs_read_u64(fs, &pid, "%s", files[i]) == 0 && pid > 0 && pid <= INT32_MAX)
			return (int)pid;
	return getpid();
}

static int learn(struct retune *r, struct virt_domain *d, struct err *e)
{
	_cleanup_free_ char *live = NULL, *annotation = NULL;
	int rc = virt_domain_xml(d, VIRT_XML_LIVE, &live, e);

	if (rc == 0)
		rc = virt_domain_annotation(d, &annotation, e);
	return rc < 0 ? rc : annot_splice(live, annotation, &r->xml, e);
}

static bool runs_here(const struct retune *r)
{
	uint64_t pid;

	return hostfs_is_name(r->name) &&
	       hostfs_read_u64(&r->t->fs, &pid, PATH_LIBVIRT_RUN "/%s.pid", r->name) == 0 && pid <= INT32_MAX &&
	       hostfs_exists(&r->t->fs, "proc/%d", (int)pid);
}

/* An anonymous file with the text, to be read from its start. -errno. */
static int memory_file(const char *text)
{
	_cleanup_close_ int fd = memfd_create("domain.xml", MFD_CLOEXEC);
	size_t len = strlen(text);

	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < len;) {
		ssize_t n = write(fd, text + at, len - at);

		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? (size_t)n : 0;
	}
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : steal_fd(&fd);
}

/* 0, or an exit status: what is wrong has been said then. */
static int run_decide(const struct retune *r)
{
	static const char program[] = DT_HELPERS "/decide";
	char pid[16];
	const char *const argv[] = { program, r->off ? "off" : "retune", pid, NULL };
	_cleanup_close_ int input = memory_file(r->xml);
	struct worker w = { .argv = argv, .input = input, .root = r->t->root };
	struct worker_report report = { 0 };

	if (input < 0)
		return tool_fail_err(r->name, input, NULL);
	(void)snprintf(pid, sizeof(pid), "%d", daemon_pid(&r->t->fs)); /* fits */
	supervise(&w, supervise_now() + DECIDE_MAX_MS, &report);
	switch (report.end) {
	case WORKER_DONE:
		return 0;
	case WORKER_NOT_RUN:
		return tool_fail(TOOL_CANNOT, program, "%s", err_name(report.code));
	case WORKER_LATE:
		return tool_fail(TOOL_CANNOT, r->name,
				 "not done after %d s and given up: what is recorded stays in force",
				 DECIDE_MAX_MS / 1000);
	case WORKER_REFUSED:
	case WORKER_FAILED:
		break;
	}
	return tool_fail(TOOL_CANNOT, r->name, "%s",
			 *report.refused ? report.refused : "failed, the journal says why (journalctl -t domtune)");
}

/* Bytes on a node, in words: "1.5 GiB". */
struct size_text {
	char text[32];
};

static struct size_text size_text(uint64_t bytes)
{
	struct size_text s;

	(void)out_size(bytes, s.text, sizeof(s.text));
	return s;
}

/*
 * Where the memory of a guest that is not wrapped should be; empty: it stays. What is only preferred is never moved:
 * it says where pages come from.
 */
static struct idset wanted_nodes(const struct site *s, const struct planned *p, const struct plan *in_force)
{
	const struct value *placement = &p->intent.v[KNOB_MEM_PLACEMENT], *nodes = &p->intent.v[KNOB_MEM_NODES];
	const unsigned int theirs = DOMAIN_HAS_NUMATUNE | DOMAIN_HAS_LAUNCH_SECURITY;
	struct idset wanted;

	if (in_force->wrapper.present || in_force->observe || (p->domain.has & theirs) || s->host.n_nodes < 2 ||
	    !placement->text || !(streq(placement->text, "strict") || streq(placement->text, "interleave")))
		return IDSET_EMPTY;
	wanted = nodes->text && !idset_is_empty(&nodes->set) ? nodes->set : in_force->placement.nodes;
	/* One without memory would make the kernel refuse them all (ENODEV). */
	for (unsigned int i = 0; i < s->host.n_nodes; i++)
		if (s->host.nodes[i].mem_total == 0)
			idset_del(&wanted, (unsigned int)s->host.nodes[i].id);
	return wanted;
}

static void report_move(const char *name, const struct idset *nodes, const char *text, const struct migrate_result *m)
{
	out_line(OUT_PLAIN, 0, "%s: memory: %s moved to %s%s, %s of %s elsewhere%s", name, size_text(m->moved).text,
		 place_node_word(nodes), text, size_text(m->elsewhere).text, size_text(m->looked_at).text,
		 m->elsewhere == 0 ? ""
		 : m->out_of_time  ? ": time was up, the next retune goes on"
		 : m->full	   ? ": the node has no more free memory to spare"
				   : ": these pages cannot be moved now (huge, or pinned)");
}

/* TOOL_OK also where there is nothing to move. */
static int move_memory(const struct retune *r, const struct view *v)
{
	const struct plan_options o = { .running = true };
	_cleanup_free_ char *text = NULL;
	struct migrate_result m = { 0 };
	struct planned p = { 0 };
	struct err e = ERR_INIT;
	struct idset nodes;
	struct site s;
	int rc = site_load(r->t, &s);

	if (rc)
		return rc;
	rc = site_plan(r->t, &s, r->name, r->xml, strlen(r->xml), &o, &p);
	if (rc == 0) {
		nodes = wanted_nodes(&s, &p, &v->undo.plan);
		planned_fini(&p);
	}
	site_fini(&s);
	if (rc || idset_is_empty(&nodes) || v->undo.pid <= 0)
		return rc;
	text = idset_text(&nodes);
	if (!text)
		return tool_fail_err(r->name, ENOMEM, NULL);
	out_line(OUT_PLAIN, 0, "%s: memory: looking for pages outside of %s%s, for %d s at most", r->name,
		 place_node_word(&nodes), text, MIGRATE_BUDGET_MS / 1000);
	(void)fflush(stdout);
	rc = migrate_pages_of(&r->t->fs, v->undo.pid, v->undo.pid_start, v->undo.plan.memory, &nodes, MIGRATE_BUDGET_MS,
			      &m, &e);
	if (rc < 0)
		return tool_fail_err(r->name, rc, &e);
	report_move(r->name, &nodes, text, &m);
	return m.elsewhere > 0 ? TOOL_NO : TOOL_OK;
}

/* What came of it, as the record and the objects say. */
static int report_settings(const struct retune *r, const struct view *v)
{
	const struct plan *p = &v->undo.plan;
	_cleanup_free_ char *cpus = site_set_text(v->claim->cpus), *nodes = site_set_text(&p->placement.nodes);
	unsigned int good = 0, bad = 0;

	for (size_t i = 0; i < v->n_settings; i++) {
		const struct view_setting *s = &v->settings[i];

		if (s->pending || s->is_part)
			continue;
		good += s->ok;
		if (s->ok)
			continue;
		bad++;
		tool_note(r->name, "%s%s%s is not %s: %s", s->setting->knob, *s->setting->target ? " " : "",
			  s->setting->target, s->setting->value, s->note ? s->note : "not in force");
	}
	if (v->claim->kind == CLAIM_FOREIGN)
		out_line(OUT_PLAIN, 0, "%s: pinned by its own definition to CPUs %s, nothing else is asked", r->name,
			 cpus ? cpus : "?");
	else
		out_line(OUT_PLAIN, 0, "%s: profile %s, %s%s, %s%s, %u setting%s %s, %zu skipped", r->name,
			 p->profile && *p->profile ? p->profile : "none",
			 idset_is_empty(v->claim->cpus) ? "no CPUs of its own" : "claims CPUs ",
			 idset_is_empty(v->claim->cpus) ? ""
			 : cpus				? cpus
							: "?",
			 place_node_word(&p->placement.nodes), nodes ? nodes : "?",
			 p->observe ? (unsigned int)plan_n_acting(p) : good, good == 1 ? "" : "s",
			 p->observe ? "would be made (observe)" : "in force", p->n_skipped);
	return bad ? TOOL_NO : TOOL_OK;
}

static int report_retuned(const struct retune *r, struct ledger *l, const struct claim *c)
{
	struct err e = ERR_INIT;
	struct view v;
	int rc, status;

	if (!c) {
		out_line(OUT_PLAIN, 0, "%s: nothing is asked for it, nothing is in force", r->name);
		return TOOL_OK;
	}
	rc = view_make(&r->t->fs, l, c, &v, &e);
	if (rc < 0)
		return tool_fail_err(r->name, rc, &e);
	status = report_settings(r, &v);
	if (v.has_record)
		status = tool_worse(status, move_memory(r, &v));
	view_fini(&v);
	return status;
}

static int report_off(const struct retune *r, const struct claim *c)
{
	uint64_t pages = 0;

	for (unsigned int i = 0; c && i < c->n_pages; i++)
		pages += c->pages[i].size ? c->pages[i].count : 0;
	if (!c)
		out_line(OUT_PLAIN, 0, "%s: put back, nothing is in force", r->name);
	else if (c->kind == CLAIM_FOREIGN)
		out_line(OUT_PLAIN, 0, "%s: put back; it is pinned by its own definition, its CPUs count as occupied",
			 r->name);
	else
		out_line(OUT_PLAIN, 0, "%s: put back, but for %llu huge pages that it uses until it stops", r->name,
			 (unsigned long long)pages);
	return TOOL_OK;
}

static int report(const struct retune *r)
{
	struct err e = ERR_INIT;
	struct ledger l;
	const struct claim *c;
	int rc = ledger_read(&r->t->fs, &l, &e);

	if (rc < 0)
		return tool_fail_err(tool_path(r->t, PATH_LEDGER), rc, &e);
	c = ledger_find(&l, r->uuid);
	rc = r->off ? report_off(r, c) : report_retuned(r, &l, c);
	ledger_fini(&l);
	return rc;
}

/* quiet: of --all, where domains that do not run are none of its business. */
static int retune_found(struct retune *r, struct virt_domain *d, bool quiet)
{
	struct err e = ERR_INIT;
	int rc;

	r->name = virt_domain_name(d);
	(void)snprintf(r->uuid, sizeof(r->uuid), "%s", virt_domain_uuid(d)); /* fits */
	if (!virt_domain_is_active(d))
		return quiet ? TOOL_OK
			     : tool_fail(TOOL_CANNOT, r->name,
					 "it is not running (what dead domains left: domtune recover)");
	if (!runs_here(r))
		return tool_fail(TOOL_CANNOT, r->name,
				 "it has no process on this host: is the connection to its libvirtd?");
	rc = learn(r, d, &e);
	if (rc < 0)
		return tool_fail_err(r->name, rc, &e);
	rc = run_decide(r);
	return rc ? rc : report(r);
}

static int retune_one(struct tool *t, struct virt *v, const char *name, bool quiet)
{
	struct retune r = { .t = t, .off = tool_has(t, TOOL_OPT_OFF) };
	struct virt_domain *d = NULL;
	struct err e = ERR_INIT;
	int rc = virt_find(v, name, &d, &e);

	if (rc < 0)
		return quiet && rc == -ENOENT ? TOOL_OK : tool_fail_err(name, rc, &e);
	rc = retune_found(&r, d, quiet);
	free(r.xml);
	virt_domain_free(d);
	return rc;
}

int cmd_retune(struct tool *t)
{
	bool all = tool_has(t, TOOL_OPT_ALL);
	struct virt *v = NULL;
	char **names = NULL;
	struct err e = ERR_INIT;
	int r, worst = TOOL_OK;

	if (geteuid() != 0)
		return tool_fail(TOOL_CANNOT, "retune", "only root can change running domains");
	if (t->root && !t->uri)
		return tool_fail(TOOL_CANNOT, "retune", "nothing runs below --root");
	if (gate_is_disabled(&t->fs) && !tool_has(t, TOOL_OPT_OFF))
		return tool_fail(TOOL_CANNOT, tool_path(t, PATH_DISABLED),
				 "exists, nothing new is tuned: domtune enable");
	r = virt_open(t->uri, false, &v, &e);
	if (r < 0)
		return tool_fail_err("libvirt", r, &e);
	if (all) {
		r = virt_names(v, &names, &e);
		if (r < 0)
			worst = tool_fail_err("libvirt", r, &e);
	}
	for (char **n = all ? names : t->args; n && *n; n++)
		worst = tool_worse(worst, retune_one(t, v, *n, all));
	virt_free_names(names);
	virt_close(v);
	return worst;
}
