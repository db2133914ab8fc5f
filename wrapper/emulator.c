/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The domain's <emulator>: changes what the plan of this very start says, then becomes QEMU. It runs where
 * libvirt starts QEMU (same process, uid, label, cgroups, namespace), so what it tries holds for QEMU, too.
 *
 * Anything that is not libvirt's start of a guest (capability probes above all) goes to the real emulator at
 * once. So does a start without plan; a plan of another start: another boot, another number of libvirt's; one
 * that somebody else could have written; and whatever is not understood to the last word. It takes nothing
 * from its environment, closes and moves no descriptor (the monitor's, the taps' and the pid file's are
 * passed by number), and always ends in execve(2), or with 126 or 127 and one line.
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "common/paths.h"
#include "common/qemucaps.h"
#include "common/wplan.h"
#include "wrapper/argv.h"
#include "wrapper/attr.h"
#include "wrapper/blk.h"
#include "wrapper/guard.h"
#include "wrapper/mem.h"

struct wrapper {
	int argc;
	struct guard to;        /* emulator, original command line, environment without DOMTUNE_KEPT */
	char by_name[PATH_MAX];
	struct hostfs fs;
	struct kept kept;
};

/* A copy of the environment that lacks an inherited DOMTUNE_KEPT. */
static int copy_environment(struct guard *to)
{
	size_t n = 0;

	while (environ[n])
		n++;
	to->env = calloc(n + 2, sizeof(*to->env));
	if (!to->env)
		return -ENOMEM;
	to->env_end = to->env;
	for (size_t i = 0; i < n; i++) {
		if (!str_starts(environ[i], KEPT_NAME "="))
			*to->env_end++ = environ[i];
	}
	return 0;
}

/* The path that this was executed under: the kernel's word for it, not argv[0]. */
static const char *own_path(void)
{
	const char *path = (const char *)(uintptr_t)getauxval(AT_EXECFN);

	return path ? path : "";
}

/* The words we made are tried first; should the kernel find them too long, the original ones do. */
static _Noreturn void become(struct wrapper *w, char *const *argv)
{
	const char *path = w->to.emulator;
	int code;

	guard_off();
	if (!path) {
		(void)fprintf(stderr, "domtune: %s: real emulator not found in /usr/bin, /usr/libexec and the like\n",
			      own_path());
		_exit(127);
	}
	if (w->kept.len)
		*w->to.env_end = w->kept.text;
	(void)execve(path, argv, w->to.env); /* returns only if it failed */
	if (argv != w->to.argv)
		(void)execve(path, w->to.argv, w->to.env);
	code = errno;
	(void)fprintf(stderr, "domtune: %s: cannot be executed: %s\n", path, err_name(code));
	_exit(126);
}

/* An executable file that is not this program (one file under several names). */
static bool is_emulator(const char *path)
{
	struct stat st, self;

	return path[0] == '/' && stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0 &&
	       stat("/proc/self/exe", &self) == 0 && (self.st_dev != st.st_dev || self.st_ino != st.st_ino);
}

static void find_by_name(struct wrapper *w)
{
	if (qemucaps_real_emulator(&w->fs, "", own_path(), w->by_name, sizeof(w->by_name)) == 0)
		w->to.emulator = w->by_name;
}

/* Also where nobody can tell. */
static bool is_switched_off(const struct hostfs *fs)
{
	struct stat st;
	int r = hostfs_stat(fs, &st, PATH_DISABLED);

	return r != -ENOENT && r != -ENOTDIR;
}

/* A plan is root's word: a regular file that nobody else can write. -ENOENT: there is none. */
static int check_plan_file(const struct hostfs *fs, const char *uuid)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	fd = hostfs_open(fs, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, PATH_PLAN "/%s", uuid);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) && st.st_uid == 0 && !(st.st_mode & (S_IWGRP | S_IWOTH)) ? 0 : -EPERM;
}

/* Why this plan is not to be used for this start; NULL: it is. */
static const char *why_not(const struct wrapper *w, const struct wplan *plan, const struct argv_guest *guest)
{
	char boot_id[BOOT_ID_SIZE];

	hostfs_boot_id(&w->fs, boot_id);
	if (!streq(plan->boot_id, boot_id))
		return "the plan is of another boot";
	if (!streq(plan->uuid, guest->uuid) || plan->id != guest->id)
		return "the plan is of another start";
	if (is_switched_off(&w->fs))
		return "switched off";
	return NULL;
}

/* The plan of this start: true if there is one to be followed; one that is not to be is a reason kept. */
static bool load_plan(struct wrapper *w, struct wplan *ret)
{
	struct argv_guest guest;
	const char *why;
	int r = argv_read_guest(w->argc, w->to.argv, &guest);

	if (r == 0)
		r = check_plan_file(&w->fs, guest.uuid);
	if (r == -ENOENT)
		return false;
	if (r == 0)
		r = wplan_load(&w->fs, guest.uuid, ret);
	if (r < 0) {
		kept_add(&w->kept, "wrapper", "%s", r == -EPERM ? "the plan is not root's alone" : err_name(-r));
		return false;
	}
	why = why_not(w, ret, &guest);
	if (!why)
		return true;
	kept_add(&w->kept, "wrapper", "%s", why);
	wplan_fini(ret);
	return false;
}

/* What the plan says, as far as it can be had. Returns the command line to use: changed, or the original. */
static char *const *follow_plan(struct wrapper *w, const struct wplan *plan, struct argv_edit *edit)
{
	unsigned int qemu = plan->qemu;
	char *const *argv = w->to.argv;
	struct kept kept = w->kept;

	if (is_emulator(plan->emulator)) {
		w->to.emulator = plan->emulator;
	} else if (plan->emulator[0]) {
		kept_add(&kept, "wrapper", "%s is not there any more", plan->emulator);
		qemu = 0; /* that was its version */
	}
	w->kept = kept;
	if (wplan_edits(plan)) {
		if (argv_edit_init(edit, w->argc, w->to.argv) == 0 &&
		    mem_rewrite(&w->fs, plan, qemu, &tryout_kernel, edit, &kept) == 0 &&
		    blk_rewrite(&w->fs, plan, w->to.emulator, &tryout_kernel, edit, &kept) == 0) {
			w->kept = kept;
			argv = edit->v;
		} else {
			kept_add(&w->kept, "wrapper", "out of memory");
		}
	}
	attr_apply(plan->attrs, plan->n_attrs, &w->kept);
	return argv;
}

int main(int argc, char **argv)
{
	struct wrapper w = { .argc = argc, .to.argv = argv, .fs = HOSTFS_INIT };
	struct argv_edit edit = { 0 };
	struct wplan plan = { 0 };
	bool whole = copy_environment(&w.to) == 0 && hostfs_init(&w.fs, NULL, NULL) == 0;

	if (!w.to.env)
		w.to.env = environ;
	find_by_name(&w);
	if (!whole || !argv_may_be_guest(argc, argv))
		become(&w, argv);

	guard_on(&w.to);
	if (!load_plan(&w, &plan))
		become(&w, argv);
	become(&w, follow_plan(&w, &plan, &edit));
}
