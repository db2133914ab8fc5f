/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the host's own work is, in roots of each kind; and who else sets CPUs aside. */
#include "common/tasks.h"

#include "common/xml.h"
#include "root.h"

#define CG     "sys/fs/cgroup"
#define CPUSET CG "/cpuset"

static void put_v2(struct root *r, bool systemd)
{
	root_put(r, "proc/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n");
	root_put(r, CG "/cgroup.controllers", "cpuset cpu io memory\n");
	if (systemd)
		root_mkdir(r, "run/systemd/system");
}

static void put_v1(struct root *r)
{
	root_put(r, "proc/mounts", "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n");
}

static struct tasks_facts *facts_of(struct root *r, const char *xml)
{
	struct tasks_facts *f = calloc(1, sizeof(*f));
	struct domain d = {0};
	struct err e = ERR_INIT;

	if (!f)
		exit(2);
	if (xml)
		IS_INT(domain_parse(xml, strlen(xml), &d, &e), 0);
	IS_INT(tasks_read(&r->fs, &d, f), 0);
	domain_fini(&d);
	return f;
}

/* One of no name, "" as it were, where there is none. */
static const struct task_group *group(const struct tasks_facts *f, const char *name)
{
	static const struct task_group none;

	for (unsigned int i = 0; i < f->n_groups; i++)
		if (streq(f->groups[i].name, name))
			return &f->groups[i];
	return &none;
}

static bool has_unit(const struct tasks_facts *f, const char *name)
{
	return streq(group(f, name)->name, name) && group(f, name)->is_unit;
}

static void is_cpus(const struct idset *s, const char *want)
{
	_cleanup_free_ char *text = idset_text(s);

	IS_STR(text, want);
}

TEST(systemd)
{
	static const char custom[] = "<domain type='kvm'><name>x</name><resource><partition>/gold/a</partition></resource>"
				     "<devices/></domain>";
	struct root r;
	struct tasks_facts *f;

	root_init(&r);
	put_v2(&r, true);
	root_put(&r, CG "/system.slice/cpuset.cpus", "\n");
	root_put(&r, CG "/init.scope/cpuset.cpus", "0-2\n");
	root_mkdir(&r, CG "/machine.slice/machine-qemu\\x2d1\\x2dx.scope");
	root_mkdir(&r, CG "/gold.slice");
	root_mkdir(&r, CG "/silver.slice/silver-a.slice/machine-qemu\\x2d2\\x2dy.scope");
	root_put(&r, CG "/dev-hugepages.mount/cpuset.cpus", "\n");
	root_put(&r, CG "/docker/cpuset.cpus", "\n");
	f = facts_of(&r, NULL);
	IS_INT(f->version, 2);
	IS_STR(f->mount, CG);
	/* by name; user.slice has no group before somebody logs in */
	IS_INT(f->n_groups, 6);
	IS_STR(f->groups[0].name, "docker");
	OK(!f->groups[0].is_unit);
	OK(has_unit(f, "system.slice") && idset_is_empty(&group(f, "system.slice")->cpus));
	OK(has_unit(f, "user.slice"));
	is_cpus(&group(f, "init.scope")->cpus, "0-2");
	OK(!*group(f, "machine.slice")->name && !*group(f, "dev-hugepages.mount")->name);
	OK(!group(f, "gold.slice")->holds_guests);
	OK(group(f, "silver.slice")->holds_guests);
	OK(!f->in_root && !f->cset && !f->numad && !*f->tuned && !f->has_workqueue && !f->has_writeback);
	free(f);
	/* this guest will be in one of them */
	f = facts_of(&r, custom);
	OK(group(f, "gold.slice")->holds_guests && !group(f, "system.slice")->holds_guests);
	free(f);
	root_fini(&r);
}

/* Without cpuset groups of libvirt's guests are where the daemon is. */
TEST(guests_without_groups)
{
	static const struct {
		const char *conf;
		bool stay;
	} rows[] = {
		{"#cgroup_controllers = [ \"cpu\", \"cpuset\" ]\n", false},
		{"cgroup_controllers = []\n", true},
		{"x = 1\ncgroup_controllers = [\n  \"cpu\",\n  \"devices\" ]\nother = [ \"cpuset\" ]\n", true},
		{"  cgroup_controllers = [ \"cpu\",\n  \"cpuset\" ]\n", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct tasks_facts *f;
		struct root r;

		root_init(&r);
		put_v2(&r, true);
		root_put(&r, CG "/system.slice/cpuset.cpus", "\n");
		root_put(&r, "etc/libvirt/qemu.conf", rows[i].conf);
		f = facts_of(&r, NULL);
		IS_INT(group(f, "system.slice")->holds_guests, rows[i].stay);
		OK(!group(f, "user.slice")->holds_guests);
		free(f);
		root_fini(&r);
	}
}

TEST(without_systemd)
{
	struct root r;
	struct tasks_facts *f;

	root_init(&r);
	put_v2(&r, false);
	root_put(&r, CG "/system.slice/cpuset.cpus", "\n");
	root_mkdir(&r, CG "/no-controller");
	root_put(&r, CG "/cgroup.procs", "1\n2\n300\n");
	root_put(&r, "proc/1/cmdline", "");
	root_put(&r, "proc/300/cmdline", "/sbin/getty");
	f = facts_of(&r, NULL);
	IS_INT(f->n_groups, 1);
	OK(!f->groups[0].is_unit);
	OK(f->in_root);
	free(f);
	root_fini(&r);
}

TEST(v1)
{
	struct root r;
	struct tasks_facts *f;

	root_init(&r);
	put_v1(&r);
	root_mkdir(&r, "run/systemd/system"); /* does nothing with cpusets of v1 */
	root_put(&r, CPUSET "/apps/cpuset.cpus", "0-7\n");
	root_put(&r, CPUSET "/apps/b/cpuset.cpus", "0-3\n");
	root_put(&r, CPUSET "/apps/a/c/cpuset.cpus", "6\n");
	root_put(&r, CPUSET "/apps/a/cpuset.cpus", "6-7\n");
	root_put(&r, CPUSET "/machine/cpuset.cpus", "0-7\n");
	root_put(&r, CPUSET "/user.slice/cpuset.cpus", "\n");
	f = facts_of(&r, NULL);
	IS_INT(f->version, 1);
	IS_INT(f->n_groups, 2);
	IS_STR(group(f, "apps")->child, "a");
	is_cpus(&group(f, "apps")->child_cpus, "0-3,6-7");
	OK(!group(f, "user.slice")->is_unit && !*group(f, "user.slice")->child);
	OK(!f->cset);
	free(f);
	/* cset shield makes both, one of them exclusive */
	root_put(&r, CPUSET "/user/cpuset.cpus", "4-7\n");
	root_put(&r, CPUSET "/user/cpuset.cpu_exclusive", "1\n");
	f = facts_of(&r, NULL);
	OK(!f->cset);
	free(f);
	root_put(&r, CPUSET "/system/cpuset.cpus", "0-3\n");
	root_put(&r, CPUSET "/system/cpuset.cpu_exclusive", "1\n");
	f = facts_of(&r, NULL);
	OK(f->cset);
	free(f);
	root_fini(&r);
}

TEST(no_groups)
{
	struct root r;
	struct tasks_facts *f;

	root_init(&r);
	f = facts_of(&r, NULL);
	IS_INT(f->version, 0);
	IS_INT(f->n_groups, 0);
	free(f);
	root_fini(&r);
}

TEST(rivals)
{
	static const struct {
		const char *active, *variables, *name, *cpus;
	} cases[] = {
		{"cpu-partitioning\n", "# isolated_cores=1\nisolated_cores=2-7\nno_balance_cores=3\n", "cpu-partitioning", "2-7"},
		{"cpu-partitioning\n", " isolated_cores = \"2,4\" # mine\n", "cpu-partitioning", "2,4"},
		{"balanced cpu-partitioning\n", "isolated_cores=2-7\n", "cpu-partitioning", "2-7"},
		/* as the package has it: it chooses them */
		{"cpu-partitioning\n", "isolated_cores=${f:calc_isolated_cores:1}\n", "cpu-partitioning", ""},
		{"cpu-partitioning\n", "isolated_cores=${f:calc}\nisolated_cores=3\n", "cpu-partitioning", "3"},
		{"cpu-partitioning\n", "isolated_cores=3\nisolated_cores=x\n", "", ""},
		{"cpu-partitioning\n", "isolated_cores=\n", "", ""},
		{"virtual-host\n", "isolated_cores=2-7\n", "", ""}, /* chosen for another profile */
		{"../cpu-partitioning\n", "isolated_cores=2-7\n", "", ""},
		{"", "isolated_cores=2-7\n", "", ""},
	};
	struct root r;
	struct tasks_facts *f;

	root_init(&r);
	root_put(&r, "run/tuned/tuned.pid", "76\n");
	root_put(&r, "proc/76/comm", "tuned\n");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		root_put(&r, "etc/tuned/active_profile", cases[i].active);
		root_put(&r, "etc/tuned/cpu-partitioning-variables.conf", cases[i].variables);
		f = facts_of(&r, NULL);
		IS_STR(f->tuned, cases[i].name);
		is_cpus(&f->tuned_cpus, cases[i].cpus);
		free(f);
	}
	/* stopped, it has put back what it did */
	root_put(&r, "etc/tuned/active_profile", "cpu-partitioning\n");
	root_put(&r, "etc/tuned/cpu-partitioning-variables.conf", "isolated_cores=2-7\n");
	root_put(&r, "proc/76/comm", "sleep\n");
	f = facts_of(&r, NULL);
	IS_STR(f->tuned, "");
	free(f);
	root_put(&r, "run/numad.pid", "77\n");
	root_put(&r, "proc/77/comm", "nginx\n"); /* its number, given to another */
	root_put(&r, "sys/devices/virtual/workqueue/cpumask", "ff\n");
	root_put(&r, "sys/devices/virtual/workqueue/writeback/cpumask", "00000001,0000000f\n");
	f = facts_of(&r, NULL);
	OK(!f->numad && f->has_workqueue && f->has_writeback);
	is_cpus(&f->workqueue, "0-7");
	is_cpus(&f->writeback, "0-3,32");
	free(f);
	root_put(&r, "proc/77/comm", "numad\n");
	f = facts_of(&r, NULL);
	OK(f->numad);
	free(f);
	root_fini(&r);
}

TAP_MAIN
