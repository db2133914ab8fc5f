/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* domtune wrap and unwrap: the wrapper in or out of <emulator>. */
#include "tool/emulator.h"
#include "tool/out.h"

static const struct action {
	int (*change)(struct tool *t, struct virt *v, struct virt_domain *d, struct err *e);
	const char *done, *already;
} wrap = { emulator_wrap, "wrapped", "is wrapped already" },
  unwrap = { emulator_unwrap, "unwrapped", "is not wrapped" };

static int change_one(struct tool *t, struct virt *v, const char *name, const struct action *a)
{
	struct virt_domain *d = NULL;
	struct err e = ERR_INIT;
	int r;

	r = virt_find(v, name, &d, &e);
	if (r < 0)
		return tool_fail_err(name, r, &e);
	r = a->change(t, v, d, &e);
	if (r < 0)
		(void)tool_fail_err(name, r, &e);
	else if (r == 0)
		out_line(OUT_PLAIN, 0, "%s: %s", virt_domain_name(d), a->already);
	else if (virt_domain_has_managed_save(d))
		out_line(OUT_PLAIN, 0,
			 "%s: %s; its saved state names the emulator as it was, so this takes effect at the first "
			 "start after that one",
			 virt_domain_name(d), a->done);
	else
		out_line(OUT_PLAIN, 0, "%s: %s%s", virt_domain_name(d), a->done,
			 virt_domain_is_active(d) ? "; takes effect at the next start" : "");
	virt_domain_free(d);
	return r < 0 ? TOOL_CANNOT : TOOL_OK;
}

static int change_all(struct tool *t, const struct action *a)
{
	struct virt *v = NULL;
	char **names = NULL;
	struct err e = ERR_INIT;
	int r, worst = TOOL_OK;

	r = virt_open(t->uri, false, &v, &e);
	if (r < 0)
		return tool_fail_err("libvirt", r, &e);
	if (tool_has(t, TOOL_OPT_ALL)) {
		r = virt_names(v, &names, &e);
		if (r < 0)
			worst = tool_fail_err("libvirt", r, &e);
	}
	for (char **n = tool_has(t, TOOL_OPT_ALL) ? names : t->args; n && *n; n++)
		worst = tool_worse(worst, change_one(t, v, *n, a));
	virt_free_names(names);
	virt_close(v);
	return worst;
}

int cmd_wrap(struct tool *t)
{
	return change_all(t, &wrap);
}

int cmd_unwrap(struct tool *t)
{
	return change_all(t, &unwrap);
}
