/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/domain.h"
#include "common/exec_disk.h"
#include "common/exec_result.h"
#include "common/paths.h"
#include "tool/view.h"

static int take_answer(struct view_setting *v, const struct exec_result *a)
{
	char *effective = strdup(a->effective), *note = a->ok ? NULL : strdup(a->why);

	if (!effective || (!a->ok && !note)) {
		free(effective);
		free(note);
		return -ENOMEM;
	}
	free(v->effective);
	free(v->note);
	v->effective = effective;
	v->note = note;
	v->ok = a->ok;
	return 0;
}

/* The running domain as libvirt keeps it for itself. False: it cannot be read, or is of another process. */
static bool read_live(const struct hostfs *fs, const struct view *v, struct domain *ret)
{
	_cleanup_free_ char *text = NULL;
	struct err e = ERR_INIT;
	size_t len;
	int pid;

	if (!hostfs_is_name(v->claim->name) ||
	    hostfs_read_all(fs, DOMAIN_XML_MAX, &text, &len, PATH_LIBVIRT_RUN "/%s.xml", v->claim->name) < 0 ||
	    domain_parse_status(text, len, ret, &pid, &e) < 0)
		return false;
	if (pid == v->undo.pid && streq(ret->uuid, v->claim->uuid))
		return true;
	domain_fini(ret);
	return false;
}

/*
 * Nodes that libvirt makes while the guest runs have what libvirt gives them, nothing of ours. Which node is the active
 * one it says by a number: the one it had on the command line comes back when a snapshot is committed into it.
 */
static void find_new_node(const struct exec_look *q, const struct domain *live, const char *target,
			  struct exec_result *a)
{
	const struct domain_disk *k = NULL;
	unsigned int node = exec_disk_node(q, target);

	for (unsigned int i = 0; i < live->n_disks; i++)
		if (streq(live->disks[i].target, target))
			k = &live->disks[i];
	if (k && (k->index == node || !k->index || !node))
		return;
	*a = (struct exec_result){.ok = false};
	if (k)
		(void)snprintf(a->why, sizeof(a->why),
			       "its image is new since the start (snapshot, copy, another disk): libvirt-%u, not "
			       "libvirt-%u; tuned again at the next start",
			       k->index, node); /* fits */
	else
		(void)snprintf(a->why, sizeof(a->why), "the disk was detached"); /* fits */
}

/* Whether the plan says anything of this disk: it was there when it was made. */
static bool is_planned(const struct plan *p, const char *target)
{
	for (size_t i = 0; i < p->n_settings; i++)
		if (exec_disk_knows(p->settings[i].knob) && streq(p->settings[i].target, target))
			return true;
	for (size_t i = 0; i < p->n_skipped; i++)
		if (exec_disk_knows(p->skipped[i].knob) && streq(p->skipped[i].target, target))
			return true;
	return false;
}

static int add_later(struct view *v, const struct domain_disk *k)
{
	static char knob[] = "disk", all[] = "*"; /* never written to; a setting's texts are not const */
	struct view_setting *s = &v->settings[v->n_settings];
	struct setting *setting = &v->later[v->n_later];

	*setting = (struct setting){.knob = knob, .target = strdup(k->target), .stage = STAGE_EXEC, .value = all};
	if (!setting->target)
		return -ENOMEM;
	v->n_later++;
	*s = (struct view_setting){.setting = setting, .note = strdup("plugged in since the start: tuned at the next")};
	v->n_settings++;
	return s->note ? 0 : -ENOMEM;
}

/* Disks that were plugged in, where the plan is for all there are. */
static int find_new_disks(struct view *v, const struct domain *live)
{
	struct view_setting *grown;
	int r = 0;

	if (!plan_find_disk(&v->undo.plan, "*") || live->n_disks == 0)
		return 0;
	grown = reallocarray(v->settings, v->n_settings + live->n_disks, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	v->settings = grown;
	v->later = calloc(live->n_disks, sizeof(*v->later));
	if (!v->later)
		return -ENOMEM;
	for (unsigned int i = 0; i < live->n_disks && r == 0; i++) {
		const struct domain_disk *k = &live->disks[i];

		if (k->index > 0 && !(k->has & DISK_IS_REMOVABLE) && !is_planned(&v->undo.plan, k->target))
			r = add_later(v, k);
	}
	return r;
}

int view_look(const struct hostfs *fs, struct view *v)
{
	const struct undo *u = &v->undo;
	struct exec_look *q = NULL;
	struct domain live = {0};
	struct exec_result a;
	bool is_live;
	int r = 0;

	if (!v->has_record || u->plan.observe || u->phase != CLAIM_STARTED || u->pid == 0 ||
	    hostfs_proc_start(fs, u->pid) != u->pid_start)
		return 0;
	/* Gone meanwhile, or not ours to read: what is on record stays. */
	if (exec_look(fs, &u->plan, u->pid, true, &q) < 0)
		return 0;
	is_live = u->plan.n_disks > 0 && read_live(fs, v, &live);
	for (size_t i = 0; i < v->n_settings && r == 0; i++) {
		const struct setting *s = v->settings[i].setting;
		bool of_disk = exec_disk_knows(s->knob);

		/* QEMU's CPUs follow the shared pool from then on: another setting's business. */
		if (s->stage != STAGE_EXEC || !(of_disk || str_starts(s->knob, "memory.")))
			continue;
		exec_answer(q, s, &a);
		if (is_live && of_disk)
			find_new_node(q, &live, s->target, &a);
		r = take_answer(&v->settings[i], &a);
	}
	if (is_live && r == 0)
		r = find_new_disks(v, &live);
	if (is_live)
		domain_fini(&live);
	exec_look_free(q);
	return r;
}
