/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was seen of a domain, and whether anything has come since. */
#include "tap.h"

#include "common/irq.h"
#include "common/late.h"
#include "common/paths.h"
#include "common/step.h"
#include "root_state.h"

#define UUID "aaaaaaaa-2222-3333-4444-555555555555"
#define PID 4711

/* A domain with two threads, a tap and a record, all of it seen. */
static void put_world(struct root *r, struct late *l)
{
	struct plan p = {.id = -1};
	struct run run = {.pid = PID, .start = 77};
	struct run_tap tap = {.tap.name = "vnet7"};
	struct undo u;

	root_put_stat(r, PID, 77);
	root_mkdir(r, "proc/4711/task/4711");
	root_mkdir(r, "proc/4711/task/4712");
	root_mkdir(r, "proc/irq/0");
	root_put(r, "proc/irq/45/smp_affinity_list", "0\n");
	root_put(r, "sys/bus/pci/devices/0000:09:00.0/numa_node", "0\n");
	root_put(r, "sys/bus/pci/devices/0000:09:00.0/irq", "0\n");
	root_put(r, "sys/bus/pci/devices/0000:09:00.0/msi_irqs/45", "msix\n");
	root_mkdir(r, "sys/class/net/vnet7/queues/rx-0");
	root_put(r, "cg/emulator/tasks", "4711\n4712\n");
	root_mkdir(r, PATH_UNDO);
	(void)snprintf(p.uuid, sizeof(p.uuid), UUID);
	p.name = strdup("guest");
	p.profile = strdup("x");
	IS_INT(plan_add_setting(&p, "interface.steering", "52:54:00:00:00:01", STAGE_STARTED, "0", "", ""), 0);
	IS_INT(plan_add_setting(&p, "irq.policy", "", STAGE_PREPARE, "avoid", "", ""), 0);
	IS_INT(plan_add_setting(&p, "irq.policy", "0000:09:00.0", STAGE_PREPARE, "local:0", "", ""), 0);
	IS_INT(undo_create(&r->fs, &p, 12, NULL), 0);
	plan_fini(&p);
	IS_INT(undo_open(&r->fs, UUID, true, &u, NULL), 0);
	(void)snprintf(run.workers, sizeof(run.workers), "cg/emulator/tasks");
	run.taps = &tap;
	run.n_taps = 1;
	IS_INT(run_look(&r->fs, PID, run.workers, &run.tasks), 0);
	*l = (struct late){.helper = 99};
	IS_INT(irq_refresh(&r->fs, &u.plan), 0);
	late_take(&r->fs, &u, &run, l);
	late_look_around(&r->fs, l);
	undo_fini(&u);
}

TEST(a_note_comes_back_as_it_was)
{
	struct late l, back;
	ROOT(r);

	put_world(&r, &l);
	IS_INT(late_read(&r.fs, UUID, &back), -ENOENT);
	IS_INT(late_write(&r.fs, UUID, &l), 0);
	IS_INT(root_mode(&r, PATH_LATE "/" UUID), 0600);
	IS_INT(root_mode(&r, PATH_LATE), 0700);
	IS_INT(late_read(&r.fs, UUID, &back), 0);
	IS_INT(back.generation, 12);
	IS_INT(back.helper, 99);
	IS_INT(back.pid, PID);
	IS_INT(back.pid_start, 77);
	OK(back.tasks == l.tasks && back.irqs == l.irqs && back.queues == l.queues && back.watch_irqs);
	OK(back.inode == l.inode && back.size == l.size && back.size > 0);
	IS_STR(back.workers, "cg/emulator/tasks");
	IS_STR(back.taps, "vnet7 ");
	IS_STR(back.vectors, "45 ");
	OK(back.masks && back.masks == l.masks);
	root_put(&r, "proc/sys/kernel/random/boot_id", "another\n");
	IS_INT(late_read(&r.fs, UUID, &back), -ESTALE);
	root_put(&r, PATH_LATE "/" UUID, "late\t1\t2\n");
	IS_INT(late_read(&r.fs, UUID, &back), -EBADMSG);
	IS_INT(undo_remove(&r.fs, UUID), 0);
	OK(!hostfs_exists(&r.fs, PATH_LATE "/" UUID));
}

static void thread_comes(struct root *r) { root_mkdir(r, "proc/4711/task/4713"); }
static void thread_goes(struct root *r) { (void)unlinkat(r->fs.fd, "proc/4711/task/4712", AT_REMOVEDIR); }
static void worker_comes(struct root *r) { root_put(r, "cg/emulator/tasks", "4711\n4712\n900\n"); }
static void interrupt_comes(struct root *r) { root_mkdir(r, "proc/irq/46"); }
static void vector_is_set_again(struct root *r) { root_put(r, "proc/irq/45/smp_affinity_list", "0-7\n"); }
static void balancer_begins_anew(struct root *r) { root_put(r, "run/irqbalance/irqbalance88.sock", ""); }
static void queue_comes(struct root *r) { root_mkdir(r, "sys/class/net/vnet7/queues/rx-1"); }
static void record_grows(struct root *r)
{
	struct undo u;

	IS_INT(undo_open(&r->fs, UUID, true, &u, NULL), 0);
	IS_INT(undo_set_phase(&u, CLAIM_STARTED), 0);
	undo_fini(&u);
}
static void guest_ends(struct root *r) { root_put_stat(r, PID, 78); } /* its number is another's */
static void record_goes(struct root *r) { IS_INT(undo_remove(&r->fs, UUID), 0); }
static void other_comes(struct root *r)
{
	root_mkdir(r, "proc/4712/task/9");
	root_mkdir(r, "sys/class/net/vnet8/queues/rx-1");
}

TEST(what_is_news)
{
	static const struct {
		const char *name;
		void (*happens)(struct root *r);
		enum late_news news;
	} cases[] = {
		{"a thread comes", thread_comes, LATE_NEWS},   {"one goes", thread_goes, LATE_NEWS},
		{"a worker", worker_comes, LATE_NEWS},         {"an interrupt", interrupt_comes, LATE_NEWS},
		{"a queue", queue_comes, LATE_NEWS},           {"the record", record_grows, LATE_NEWS},
		{"a vector", vector_is_set_again, LATE_NEWS},  {"irqbalance", balancer_begins_anew, LATE_NEWS},
		{"another's", other_comes, LATE_NOTHING},      {"the guest ends", guest_ends, LATE_OVER},
		{"the record goes", record_goes, LATE_OVER},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct late l;
		ROOT(r);

		put_world(&r, &l);
		IS_INT(late_look(&r.fs, UUID, &l), LATE_NOTHING);
		cases[i].happens(&r);
		if (late_look(&r.fs, UUID, &l) != cases[i].news)
			TAP_FAIL("%s: %d", cases[i].name, late_look(&r.fs, UUID, &l));
	}
}

TEST(interrupts_are_looked_at_where_asked)
{
	struct late l;
	ROOT(r);

	put_world(&r, &l);
	l.watch_irqs = false;
	late_look_around(&r.fs, &l);
	interrupt_comes(&r);
	IS_INT(late_look(&r.fs, UUID, &l), LATE_NOTHING);
}

/* More taps than a note has room for: the first ones are looked at. */
TEST(many_taps)
{
	struct run_tap taps[200] = {0};
	struct run run = {.pid = PID, .start = 77, .taps = taps, .n_taps = ARRAY_SIZE(taps)};
	struct late l, back;
	struct undo u;
	ROOT(r);

	put_world(&r, &l);
	for (size_t i = 0; i < ARRAY_SIZE(taps); i++)
		(void)snprintf(taps[i].tap.name, sizeof(taps[i].tap.name), "macvtap%zu", i);
	IS_INT(undo_open(&r.fs, UUID, false, &u, NULL), 0);
	late_take(&r.fs, &u, &run, &l);
	undo_fini(&u);
	OK(strlen(l.taps) > 900 && l.taps[strlen(l.taps) - 1] == ' ');
	IS_INT(late_write(&r.fs, UUID, &l), 0);
	IS_INT(late_read(&r.fs, UUID, &back), 0);
	IS_STR(back.taps, l.taps);
}

TAP_MAIN
