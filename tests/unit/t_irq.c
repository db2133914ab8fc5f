/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Interrupts: whose they are, where they are put, and that all are where they were in the end. */
#include <time.h>

#include "common/log.h"
#include "balancer.h"
#include "irqhost.h"

#define IS_IRQ(r, irq, want) IS_STR(root_get(r, irq_file(irq)), want "\n")
#define IS_DEFAULT(r, want)  IS_STR(root_get(r, IRQ_DEFAULT), want "\n")

static void put_host(struct root *r)
{
	root_put(r, "sys/devices/system/cpu/online", "0-7\n");
	root_put(r, IRQ_DEFAULT, "ff\n");
	put_irq(r, 0, "0-7", "timer");
	put_irq(r, 9, "3", "acpi");
	put_irq(r, 24, "0-7", "eth0-rx-0");
	put_irq(r, 25, "0-7", "eth0-rx-1");
	put_irq(r, 30, "2", "nvme0q0");
	put_irq(r, 31, "0-3", "nvme0q1");
	put_irq(r, 32, "4-7", "nvme0q2");
	put_irq(r, 40, "6-7", "virtio1-req.0");
	put_function(r, "0000:01:00.0", 24, 2, 0, "sys/class/net/eth0");
	put_function(r, "0000:02:00.0", 30, 3, 1, "sys/class/nvme/nvme0");
}

static void is_as_it_was(struct root *r)
{
	IS_DEFAULT(r, "ff");
	IS_IRQ(r, 0, "0-7");
	IS_IRQ(r, 9, "3");
	IS_IRQ(r, 24, "0-7");
	IS_IRQ(r, 25, "0-7");
	IS_IRQ(r, 30, "2");
	IS_IRQ(r, 31, "0-3");
	IS_IRQ(r, 32, "4-7");
	IS_IRQ(r, 40, "6-7");
	OK(!strstr(root_get(r, PATH_LEDGER), IRQ_DIR));
}

static void is_list(const struct irq_set *s, const char *want)
{
	struct idset all = IDSET_EMPTY;
	_cleanup_free_ char *text = NULL;

	for (unsigned int i = 0; i < s->n; i++)
		idset_add(&all, s->irq[i]);
	text = idset_text(&all);
	IS_STR(text, want);
}

TEST(devices_have_interrupts)
{
	static const struct {
		const char *name, *irqs;
		int node;
	} cases[] = {
		{"eth0", "24-25", 0},
		{"nvme0", "30-32", 1},
		{"0000:01:00.0", "24-25", 0},
		{"sda", "50", 1},	 /* five levels below a controller without MSI */
		{"vda", "40", -1},	 /* no PCI: by the name of its handler */
		{"eth1", "60-61", -1}, /* the same for a network device */
	};
	ROOT(r);

	put_host(&r);
	put_function(&r, "0000:03:00.0", 50, 0, 1, "");
	root_mkdir(&r, "sys/bus/pci/devices/0000:03:00.0/ata1/host0/target0:0:0/0:0:0:0");
	root_mkdir(&r, "sys/block/sda");
	IS_INT(symlinkat("/sys/bus/pci/devices/0000:03:00.0/ata1/host0/target0:0:0/0:0:0:0", r.fs.fd, "sys/block/sda/device"), 0);
	root_mkdir(&r, "sys/devices/platform/virtio1");
	root_mkdir(&r, "sys/block/vda");
	IS_INT(symlinkat("../../devices/platform/virtio1", r.fs.fd, "sys/block/vda/device"), 0);
	put_irq(&r, 41, "0-7", "virtio10-req.0");
	put_irq(&r, 60, "0-7", "eth1");
	put_irq(&r, 61, "0-7", "eth1-tx-0");
	root_mkdir(&r, "sys/class/net/eth1");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct irq_device d = {0};

		IS_INT(irq_find_device(&r.fs, cases[i].name, &d), 0);
		is_list(&d.set, cases[i].irqs);
		IS_INT(d.node, cases[i].node);
		irq_device_fini(&d);
	}
	{
		struct irq_device d;

		IS_INT(irq_find_device(&r.fs, "eth7", &d), -ENOENT);
		IS_INT(irq_find_device(&r.fs, "../etc", &d), -ENOENT);
		IS_INT(irq_find_device(&r.fs, "0000:09:00.0", &d), -ENOENT);
	}
}

TEST(all_leave_and_come_back)
{
	ROOT(r);
	struct apply_count c;

	put_host(&r);
	c = START(&r, UUID_A, {"", "avoid:2-5"});
	IS_INT(c.in_force, 1);
	IS_INT(c.failed + c.skipped + c.late, 0);
	IS_DEFAULT(&r, "c3");
	IS_IRQ(&r, 0, "0-1,6-7");
	IS_IRQ(&r, 9, "0-1,6-7"); /* its only CPU is not to be had */
	IS_IRQ(&r, 30, "0-1,6-7");
	IS_IRQ(&r, 31, "0-1");
	IS_IRQ(&r, 32, "6-7");
	IS_IRQ(&r, 40, "6-7");
	OK(!strstr(root_get(&r, PATH_LEDGER), "irq/40/")); /* it does not concern us */
	c = release(&r, UUID_A, 1);
	IS_INT(c.in_force, 1);
	is_as_it_was(&r);
}

TEST(those_of_its_devices_come)
{
	ROOT(r);

	put_host(&r);
	(void)START(&r, UUID_A, {"eth0", "local:0-1"}, {"nvme0", "local:0-1"});
	IS_IRQ(&r, 24, "0"); /* one each */
	IS_IRQ(&r, 25, "1");
	IS_IRQ(&r, 30, "0-1"); /* three on two */
	IS_IRQ(&r, 31, "0-1");
	IS_IRQ(&r, 32, "0-1");
	IS_IRQ(&r, 9, "3");
	IS_DEFAULT(&r, "ff");
	/* Another one's wish is added, what he has to himself is not. */
	(void)START(&r, UUID_B, {"", "avoid:1-3"}, {"eth0", "local:6-7"});
	IS_IRQ(&r, 24, "0,6");
	IS_IRQ(&r, 25, "7");
	IS_IRQ(&r, 31, "0");
	(void)release(&r, UUID_A, 1);
	IS_IRQ(&r, 24, "6");
	IS_IRQ(&r, 31, "0");
	IS_IRQ(&r, 32, "4-7");
	(void)release(&r, UUID_B, 1);
	is_as_it_was(&r);
}

/* The CPU of an isolated emulator is kept clear of all interrupts but those of the domain's own devices. */
TEST(own_devices_may_come_where_others_may_not)
{
	ROOT(r);

	put_host(&r);
	(void)START(&r, UUID_A, {"", "avoid:2-5"}, {"eth0", "local:5"});
	IS_IRQ(&r, 24, "5");
	IS_IRQ(&r, 25, "5");
	IS_IRQ(&r, 32, "6-7");
	(void)START(&r, UUID_B, {"", "avoid:6-7"}, {"eth0", "local:7"});
	IS_IRQ(&r, 24, "5,7");
	IS_IRQ(&r, 32, "0-1");
	(void)release(&r, UUID_A, 1);
	IS_IRQ(&r, 24, "7");
	(void)release(&r, UUID_B, 1);
	is_as_it_was(&r);
}

/* Faults are of test builds. */
static bool can_fault(void)
{
	setenv("DOMTUNE_FAULT", "probe:5", 1);
	if (hostfs_fault("probe") == 0)
		return false;
	unsetenv("DOMTUNE_FAULT");
	return true;
}

TEST(what_the_kernel_keeps_is_said_once)
{
	ROOT(r);
	struct apply_count c;

	if (!can_fault())
		SKIP("not a test build");
	put_host(&r);
	put_irq(&r, 2, "0-7", ""); /* nobody's */
	setenv("DOMTUNE_FAULT", "irq/31/smp:5;irq/32/smp:5;irq/25/smp:28;irq/2/smp:5", 1);
	c = START(&r, UUID_A, {"", "avoid:2-5"});
	IS_INT(c.in_force, 1);
	IS_INT(c.failed, 0);
	IS_STR(skipped_of(&r, UUID_A, 1),
	       "irq25: (eth0-rx-1): no interrupt vector is left on the CPUs they should come to: left where they are");
	IS_STR(skipped_of(&r, UUID_A, 0),
	       "irq31-32: (nvme0q1..2): managed by the kernel, or bound to a CPU: left where they are");
	IS_STR(skipped_of(&r, UUID_A, 2), "(none)");
	IS_IRQ(&r, 24, "0-1,6-7");
	IS_IRQ(&r, 31, "0-3");
	OK(!strstr(root_get(&r, PATH_LEDGER), "irq/31/"));
	/* Never asked again, though it would work by now. */
	unsetenv("DOMTUNE_FAULT");
	c = prepare(&r, UUID_A);
	IS_INT(c.in_force, 1);
	IS_IRQ(&r, 31, "0-3");
	IS_STR(skipped_of(&r, UUID_A, 2), "(none)");
	/* Another start asks for itself. */
	(void)START(&r, UUID_B, {"", "avoid:2-3"});
	IS_IRQ(&r, 31, "0-1");
	(void)release(&r, UUID_B, 1);
	IS_IRQ(&r, 31, "0-3");
	(void)release(&r, UUID_A, 1);
	is_as_it_was(&r);
}

/* What the kernel does not take back is left, and no later release tries it. */
/* What the kernel does not let go of its own choice is said by the one who goes first, and no more. */
TEST(refused_at_release_is_said_once)
{
	ROOT(r);

	if (!can_fault())
		SKIP("not a test build");
	put_host(&r);
	(void)START(&r, UUID_A, {"", "avoid:2-3"});
	(void)START(&r, UUID_B, {"", "avoid:4-5"});
	put_irq(&r, 70, "0-1,6-7", "nvme9q1");
	setenv("DOMTUNE_FAULT", "irq/70/smp:1", 1);
	IS_INT(release(&r, UUID_A, 1).skipped, 1);
	IS_INT(release(&r, UUID_B, 1).skipped, 0);
	unsetenv("DOMTUNE_FAULT");
	IS_IRQ(&r, 70, "0-1,6-7");
	is_as_it_was(&r);
}

/* A vector that is given back between two operations comes back under its number. */
TEST(vanished_is_no_refusal)
{
	ROOT(r);

	if (!can_fault())
		SKIP("not a test build");
	put_host(&r);
	setenv("DOMTUNE_FAULT", "irq/25/smp:2", 1);
	IS_INT(START(&r, UUID_A, {"", "avoid:2-5"}).failed, 0);
	unsetenv("DOMTUNE_FAULT");
	IS_IRQ(&r, 25, "0-7");
	IS_STR(skipped_of(&r, UUID_A, 0), "(none)");
	IS_INT(prepare(&r, UUID_A).failed, 0);
	IS_IRQ(&r, 25, "0-1,6-7");
	(void)release(&r, UUID_A, 1);
	is_as_it_was(&r);
}

TEST(refused_at_release_is_left)
{
	ROOT(r);
	struct apply_count c;

	if (!can_fault())
		SKIP("not a test build");
	put_host(&r);
	(void)START(&r, UUID_A, {"", "avoid:2-5"});
	setenv("DOMTUNE_FAULT", "irq/31/smp:5;irq/32/smp:22;irq/9/smp:28", 1);
	c = release(&r, UUID_A, 1);
	unsetenv("DOMTUNE_FAULT");
	IS_INT(c.failed, 0);
	IS_INT(c.skipped, 1);
	IS_IRQ(&r, 9, "0-1,6-7");
	IS_IRQ(&r, 24, "0-7");
	OK(!strstr(root_get(&r, PATH_LEDGER), IRQ_DIR));
}

TEST(late_ones_are_found_by_the_same_steps)
{
	ROOT(r);

	put_host(&r);
	put_function(&r, "0000:09:00.0", 0, 0, 0, "");
	(void)START(&r, UUID_A, {"", "avoid:2-5"}, {"0000:09:00.0", "local:0-1"});
	IS_STR(skipped_of(&r, UUID_A, 0), "(none)");
	put_irq(&r, 70, "0-7", "vfio-msix[0](0000:09:00.0)");
	put_irq(&r, 71, "0-7", "vfio-msix[1](0000:09:00.0)");
	put_irq(&r, 72, "2-3", "usb1");
	root_put(&r, "sys/bus/pci/devices/0000:09:00.0/msi_irqs/70", "msix\n");
	root_put(&r, "sys/bus/pci/devices/0000:09:00.0/msi_irqs/71", "msix\n");
	(void)prepare(&r, UUID_A);
	IS_IRQ(&r, 70, "0");
	IS_IRQ(&r, 71, "1");
	IS_IRQ(&r, 72, "0-1,6-7");
	/* Gone with the guest's driver. */
	root_remove(&r, irq_file(71));
	(void)prepare(&r, UUID_A);
	(void)release(&r, UUID_A, 1);
	IS_IRQ(&r, 70, "0-7");
	IS_IRQ(&r, 72, "2-3");
	is_as_it_was(&r);
}

/* A driver that is loaded anew, or irqbalance: set from there, and that is where it goes back to. */
TEST(moved_by_somebody_else)
{
	ROOT(r);
	struct apply_count c;

	put_host(&r);
	(void)START(&r, UUID_A, {"", "avoid:2-5"});
	root_put(&r, irq_file(24), "0-3\n");
	root_put(&r, irq_file(25), "6\n");
	root_put(&r, irq_file(31), "1\n");
	(void)prepare(&r, UUID_A);
	IS_IRQ(&r, 24, "0-1");
	IS_IRQ(&r, 25, "6");
	root_put(&r, irq_file(9), "7\n");
	c = release(&r, UUID_A, 1);
	IS_INT(c.in_force, 1);
	IS_INT(c.skipped, 1);
	IS_IRQ(&r, 9, "7");
	IS_IRQ(&r, 24, "0-3");
	IS_IRQ(&r, 25, "6");
	IS_IRQ(&r, 31, "1");
	IS_IRQ(&r, 30, "2");
	IS_DEFAULT(&r, "ff");
}

TEST(wide_masks_keep_their_form)
{
	ROOT(r);

	root_put(&r, "sys/devices/system/cpu/online", "0-79\n");
	root_put(&r, IRQ_DEFAULT, "ffff,ffffffff,ffffffff\n");
	put_irq(&r, 5, "0-79", "x");
	(void)START(&r, UUID_A, {"", "avoid:4-7,64-79"});
	IS_DEFAULT(&r, "0000,ffffffff,ffffff0f");
	IS_IRQ(&r, 5, "0-3,8-63");
	(void)release(&r, UUID_A, 1);
	IS_DEFAULT(&r, "ffff,ffffffff,ffffffff");
	IS_IRQ(&r, 5, "0-79");
}

static void put_order(struct root *r)
{
	put_host(r);
	(void)START(r, UUID_A, {"", "avoid:2-5"});
}

static void run_release(struct root *r)
{
	struct apply_count count = {0};

	(void)undo_all(&r->fs, UUID_A, &count, NULL);
}

/* New interrupts are right before old ones are. */
TEST(default_goes_back_first)
{
	for (int n = 1; n < 60; n++) {
		ROOT(r);
		bool is_back;

		(void)killed_in(&r, put_order, 0); /* actions are counted from here */
		if (!killed_in(&r, run_release, n)) {
			if (n == 1)
				SKIP("not a test build");
			return;
		}
		is_back = streq(root_get(&r, IRQ_DEFAULT), "ff\n");
		OK(is_back || streq(root_get(&r, irq_file(0)), "0-1,6-7\n"));
		(void)killed_in(&r, run_release, 0);
		is_as_it_was(&r);
	}
}

static void put_start(struct root *r)
{
	static const struct want w[] = {{"", "avoid:2-5"}, {"eth0", "local:0-1"}};

	put_host(r);
	start_with(r, UUID_A, w, ARRAY_SIZE(w));
}

static void run_start(struct root *r)
{
	(void)prepare(r, UUID_A);
}

/* Interrupts that nobody had seen are put on record and widened by who goes. */
TEST(killed_at_each_write_of_a_release)
{
	for (int n = 1; n < 80; n++) {
		ROOT(r);

		(void)killed_in(&r, put_start, 0);
		(void)killed_in(&r, run_start, 0);
		put_irq(&r, 71, "0-1,6-7", "eth9-rx-1");
		if (!killed_in(&r, run_release, n)) {
			if (n == 1)
				SKIP("not a test build");
			return;
		}
		(void)killed_in(&r, run_release, 0);
		IS_IRQ(&r, 71, "0-7");
		is_as_it_was(&r);
	}
}

TEST(killed_at_each_write)
{
	for (int n = 1; n < 80; n++) {
		ROOT(r);

		(void)killed_in(&r, put_start, 0);
		if (!killed_in(&r, run_start, n)) {
			if (n == 1)
				SKIP("not a test build");
			return;
		}
		/* What is missing is done by the next phase, and either is undone. */
		if (n % 2)
			(void)killed_in(&r, run_start, 0);
		if (n % 2)
			IS_IRQ(&r, 25, "1");
		(void)killed_in(&r, run_release, 0);
		is_as_it_was(&r);
	}
}

#define VECTORS 1024

static void put_big_host(struct root *r)
{
	root_put(r, "sys/devices/system/cpu/online", "0-255\n");
	root_put(r, IRQ_DEFAULT, "ffffffff,ffffffff,ffffffff,ffffffff,ffffffff,ffffffff,ffffffff,ffffffff\n");
	for (unsigned int i = 0; i < VECTORS; i++) {
		char cpus[16];

		(void)snprintf(cpus, sizeof(cpus), i % 2 ? "0-255" : "%u", i % 256);
		put_irq(r, i, cpus, "");
	}
}

TEST(a_thousand_vectors)
{
	ROOT(r);

	put_big_host(&r);
	(void)START(&r, UUID_A, {"", "avoid:8-15"});
	(void)START(&r, UUID_B, {"", "avoid:16-31"});
	for (unsigned int i = 0; i < VECTORS; i++) {
		bool is_all = i % 2, is_theirs = i % 256 >= 8 && i % 256 <= 31;
		char want[32];

		(void)snprintf(want, sizeof(want), is_all || is_theirs ? "0-7,32-255\n" : "%u\n", i % 256);
		if (!streq(root_get(&r, irq_file(i)), want))
			TAP_FAIL("irq %u: %s", i, root_get(&r, irq_file(i)));
	}
	/* Who has nothing to do with an interrupt is not in its record. */
	OK(!strstr(root_get(&r, PATH_LEDGER), "irq/40/"));
	(void)release(&r, UUID_A, 1);
	(void)release(&r, UUID_B, 1);
	for (unsigned int i = 0; i < VECTORS; i++) {
		char want[32];

		(void)snprintf(want, sizeof(want), i % 2 ? "0-255\n" : "%u\n", i % 256);
		if (!streq(root_get(&r, irq_file(i)), want))
			TAP_FAIL("irq %u: %s", i, root_get(&r, irq_file(i)));
	}
	IS_DEFAULT(&r, "ffffffff,ffffffff,ffffffff,ffffffff,ffffffff,ffffffff,ffffffff,ffffffff");
}

/* Each in a process of its own, as hooks are. */
static void together(struct root *r, bool ends)
{
	static const char *const values[] = {"avoid:2", "avoid:3", "avoid:4-5", "avoid:7"};
	pid_t pids[ARRAY_SIZE(values)];
	int status;

	fflush(stdout);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			char uuid[37];
			const struct want w = {"", values[i]};

			(void)snprintf(uuid, sizeof(uuid), "%s", UUID_A);
			uuid[0] = (char)('0' + i);
			if (ends) {
				(void)release(r, uuid, 1);
			} else {
				start_with(r, uuid, &w, 1);
				(void)prepare(r, uuid);
			}
			fflush(stdout);
			_exit(tap_failed ? 1 : 0);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		while (waitpid(pids[i], &status, 0) < 0)
			;
		IS_INT(status, 0);
	}
}

TEST(started_and_ended_at_the_same_time)
{
	for (int i = 0; i < 5; i++) {
		ROOT(r);

		put_host(&r);
		together(&r, false);
		IS_DEFAULT(&r, "43");
		IS_IRQ(&r, 0, "0-1,6");
		IS_IRQ(&r, 9, "0-1,6");
		IS_IRQ(&r, 32, "6");
		together(&r, true);
		is_as_it_was(&r);
	}
}

/* --- irqbalance -------------------------------------------------------------------------------------------------- */

static unsigned int ms_since(const struct timespec *begin)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned int)((t.tv_sec - begin->tv_sec) * 1000 + (t.tv_nsec - begin->tv_nsec) / 1000000);
}

static const char *balancer_says(struct root *r, const char *object)
{
	static char buf[BACKEND_VALUE_MAX];
	int rc = be_irqbalance.read(&r->fs, object, buf, sizeof(buf));

	if (rc < 0)
		(void)snprintf(buf, sizeof(buf), "%s", strerror(-rc));
	return buf;
}

static void wait_in_vain(enum balancer how)
{
	struct timespec begin;
	pid_t daemon;
	ROOT(r);

	daemon = balancer_start(&r, how);
	(void)clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 0; i < 5; i++) {
		IS_STR(balancer_says(&r, "cpus"), strerror(ETIMEDOUT));
		IS_STR(balancer_says(&r, "irqs"), strerror(ETIMEDOUT));
		IS_INT(be_irqbalance.write(&r.fs, "irqs", "45"), -ETIMEDOUT);
	}
	OK(ms_since(&begin) >= 200 && ms_since(&begin) < 450);
	balancer_end(daemon);
}

/* Also one that sends a byte now and then has a quarter of a second for everything, once. */
TEST(one_that_hangs_costs_one_timeout)
{
	wait_in_vain(HANGS);
}

TEST(one_that_drips_costs_one_timeout)
{
	wait_in_vain(DRIPS);
}

/* Whoever may make a socket there is not asked, nor told. */
TEST(only_root_is_irqbalance)
{
	ROOT(r);
	pid_t daemon;

	if (geteuid())
		SKIP("not root");
	daemon = balancer_start_as(&r, ANSWERS, 4711);
	IS_STR(balancer_says(&r, "cpus"), BACKEND_AWAY);
	IS_INT(be_irqbalance.write(&r.fs, "irqs", "45"), 0);
	balancer_end(daemon);
	IS_STR(root_get(&r, "told-irqs"), "NONE");
	daemon = balancer_start(&r, ANSWERS);
	IS_INT(be_irqbalance.write(&r.fs, "irqs", "45"), 0);
	IS_STR(balancer_says(&r, "irqs"), "45");
	balancer_end(daemon);
}

/* A hook each has a process of its own: who has waited in vain does not ask again. */
#define IN_A_HOOK(r, ...)                                                                                              \
	do {                                                                                                           \
		pid_t hook_pid;                                                                                        \
		int hook_status;                                                                                       \
                                                                                                                       \
		fflush(stdout);                                                                                        \
		hook_pid = fork();                                                                                     \
		if (hook_pid == 0) {                                                                                   \
			__VA_ARGS__;                                                                                   \
			fflush(stdout);                                                                                \
			_exit(tap_failed ? 1 : 0);                                                                     \
		}                                                                                                      \
		while (waitpid(hook_pid, &hook_status, 0) < 0)                                                         \
			;                                                                                              \
		IS_INT(hook_status, 0);                                                                                \
	} while (0)

/* More than the daemon reads at a time: it is told what fits, in whole numbers, and has then what it should. */
TEST(a_long_list_is_cut_between_numbers)
{
	static const char *const objects[] = {"cpus", "irqs"};

	for (unsigned int first = 0; first < 24; first += 5)
		for (size_t k = 0; k < ARRAY_SIZE(objects); k++) {
			struct idset all = IDSET_EMPTY, told;
			_cleanup_free_ char *list = NULL, *text = NULL;
			pid_t daemon;
			ROOT(r);

			/* Numbers of any width at the end of the buffer. */
			for (unsigned int id = first < 12 ? 1 + first : 1000 + first; id < 8000; id += 9 + first)
				idset_add(&all, id);
			list = idset_text(&all);
			daemon = balancer_start(&r, ANSWERS);
			IN_A_HOOK(&r, IS_INT(be_irqbalance.write(&r.fs, objects[k], list), 0));
			text = strdup(balancer_told(&r, objects[k]));
			for (char *at = text; *at; at++)
				*at = *at == ' ' && at[1] ? ',' : *at == ' ' ? '\0' : *at;
			balancer_end(daemon);
			IS_INT(idset_parse(text, &told), 0);
			OK(strlen(text) > 470 && idset_is_subset(&told, &all));
			OK(be_irqbalance.same(objects[k], list, text) && be_irqbalance.same(objects[k], text, list));
			idset_del(&told, (unsigned int)idset_first(&told));
			free(text);
			text = idset_text(&told);
			OK(!be_irqbalance.same(objects[k], list, text));
		}
}

TEST(short_lists_of_irqbalance)
{
	OK(be_irqbalance.same("irqs", "", "0"));
	OK(be_irqbalance.same("cpus", "0,1,2", "0-2"));
	OK(!be_irqbalance.same("cpus", "", "0"));
	OK(!be_irqbalance.same("cpus", "", BACKEND_AWAY));
	OK(be_irqbalance.same("cpus", BACKEND_AWAY, BACKEND_AWAY));
}

/* Slow at a start, it is told by the next phase; slow at the end, it is told then, by whoever ends next. */
TEST(slow_is_not_gone)
{
	ROOT(r);
	pid_t daemon;

	put_host(&r);
	root_put(&r, "told-irqs", "9 ");
	daemon = balancer_start(&r, ANSWERS);
	root_put(&r, BALANCER_MASK, "80");
	IN_A_HOOK(&r, (void)START(&r, UUID_A, {"", "avoid:2-5"}, {"eth0", "local:5"}));
	IS_STR(balancer_told(&r, "cpus"), "2-5,7");
	IS_STR(balancer_told(&r, "irqs"), "9 24 25 ");
	root_put(&r, BALANCER_MASK, "bc");
	IS_INT(kill(daemon, SIGSTOP), 0);
	IN_A_HOOK(&r, IS_INT(START(&r, UUID_B, {"", "avoid:1"}).failed, 0));
	/* It still has what it was told, though it was not there for B. */
	IN_A_HOOK(&r, (void)release(&r, UUID_A, 1));
	OK(strstr(root_get(&r, PATH_LEDGER), "irqbalance") != NULL);
	IN_A_HOOK(&r, (void)release(&r, UUID_B, 1));
	OK(strstr(root_get(&r, PATH_LEDGER), "irqbalance") != NULL);
	IS_INT(kill(daemon, SIGCONT), 0);
	IN_A_HOOK(&r, (void)START(&r, UUID_B, {"", "avoid:1"}));
	IS_STR(balancer_told(&r, "cpus"), "1,7");
	root_put(&r, BALANCER_MASK, "82");
	IN_A_HOOK(&r, (void)release(&r, UUID_B, 1));
	IS_STR(balancer_told(&r, "cpus"), "7");
	IS_STR(balancer_told(&r, "irqs"), "9 ");
	OK(!strstr(root_get(&r, PATH_LEDGER), "irqbalance"));
	balancer_end(daemon);
}

/* As the helper after `started` does, and the watcher: how many objects were given another value. */
static int look_for_late(struct root *r, const char *uuid)
{
	struct apply_count count = {0};
	struct run run = {0};
	struct undo u;
	int n;

	IS_INT(undo_open(&r->fs, uuid, true, &u, NULL), 0);
	n = apply_late(&r->fs, &u, &run, &count);
	IS_INT(count.failed, 0);
	run_fini(&run);
	undo_fini(&u);
	return n;
}

/* What the guest's driver brings moves, and irqbalance is told of it; once, and not of what was there already. */
TEST(late_ones_are_told)
{
	ROOT(r);
	pid_t daemon;

	put_host(&r);
	put_function(&r, "0000:09:00.0", 0, 0, 0, "");
	root_put(&r, "told-irqs", "9 ");
	daemon = balancer_start(&r, ANSWERS);
	root_put(&r, BALANCER_MASK, "80");
	IN_A_HOOK(&r, (void)START(&r, UUID_A, {"", "avoid:2-5"}, {"0000:09:00.0", "local:0-1"}));
	IS_STR(balancer_told(&r, "irqs"), "9 ");
	root_put(&r, BALANCER_MASK, "bc");
	IN_A_HOOK(&r, IS_INT(look_for_late(&r, UUID_A), 0));
	put_irq(&r, 70, "0-7", "vfio-msix[0](0000:09:00.0)");
	put_irq(&r, 71, "0-7", "vfio-msix[1](0000:09:00.0)");
	root_put(&r, "sys/bus/pci/devices/0000:09:00.0/msi_irqs/70", "msix\n");
	root_put(&r, "sys/bus/pci/devices/0000:09:00.0/msi_irqs/71", "msix\n");
	IN_A_HOOK(&r, OK(look_for_late(&r, UUID_A) >= 2));
	IS_IRQ(&r, 70, "0");
	IS_IRQ(&r, 71, "1");
	IS_STR(balancer_told(&r, "irqs"), "9 70 71 ");
	IS_STR(balancer_told(&r, "cpus"), "2-5,7");
	IN_A_HOOK(&r, IS_INT(look_for_late(&r, UUID_A), 0));
	IN_A_HOOK(&r, (void)release(&r, UUID_A, 1));
	IS_STR(balancer_told(&r, "irqs"), "9 ");
	IS_STR(balancer_told(&r, "cpus"), "7");
	IS_IRQ(&r, 70, "0-7");
	balancer_end(daemon);
}

/* The log of a root, and whether a line of it has these words. */
static int listen_to_log(struct root *r)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	root_mkdir(r, "dev");
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/dev/log", r->dir);
	IS_INT(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static bool is_logged(int fd, const char *words)
{
	char line[4096];
	ssize_t n;

	while ((n = recv(fd, line, sizeof(line) - 1, 0)) > 0) {
		line[n] = '\0';
		if (strstr(line, words))
			return true;
	}
	return false;
}

/* Two who keep off each other's only CPUs: it is neither's. */
TEST(both_want_each_others)
{
	ROOT(r);
	int said;

	put_host(&r);
	(void)START(&r, UUID_A, {"", "avoid:2-3"}, {"eth0", "local:4-5"});
	said = listen_to_log(&r);
	IN_A_HOOK(&r, log_init(&r.fs, false), (void)START(&r, UUID_B, {"", "avoid:4-5"}, {"eth0", "local:2-3"}));
	OK(is_logged(said, "irq.policy: irq 24-25 (eth0-rx-0..1): another domain keeps interrupts off the CPUs they should come to"));
	close(said);
	IS_IRQ(&r, 24, "0-1,6-7");
	IS_IRQ(&r, 25, "0-1,6-7");
	(void)release(&r, UUID_A, 1);
	IS_IRQ(&r, 24, "2");
	(void)release(&r, UUID_B, 1);
	is_as_it_was(&r);
}

/* Interrupts that come while new ones get less than they did before us go back to what they would have got. */
TEST(born_narrowed)
{
	for (int seen = 0; seen < 2; seen++) {
		ROOT(r);

		put_host(&r);
		/* It had by chance what new ones get later. */
		put_irq(&r, 60, "0-1,6-7", "usb9");
		(void)START(&r, UUID_A, {"", "avoid:2-5"});
		put_irq(&r, 70, "0-1,6-7", "eth9-rx-0");
		put_irq(&r, 71, "0-1", "eth9-rx-1");
		if (seen)
			IS_INT(look_for_late(&r, UUID_A), 0);
		(void)release(&r, UUID_A, 1);
		IS_IRQ(&r, 60, "0-1,6-7");
		IS_IRQ(&r, 70, "0-7");
		IS_IRQ(&r, 71, "0-1");
	}
}

/* The kernel takes of the default what is online, and on the device's node. */
TEST(born_on_a_node)
{
	ROOT(r);

	put_host(&r);
	root_put(&r, "sys/devices/system/node/node0/cpulist", "0-3\n");
	root_put(&r, "sys/devices/system/node/node1/cpulist", "4-7\n");
	put_irq(&r, 60, "6-7", "usb9");
	root_put(&r, IRQ_DIR "/60/node", "1\n");
	(void)START(&r, UUID_A, {"", "avoid:2-5"});
	put_irq(&r, 70, "6-7", "eth9-rx-0");
	root_put(&r, IRQ_DIR "/70/node", "1\n");
	put_irq(&r, 71, "0-1", "eth9-rx-1");
	root_put(&r, IRQ_DIR "/71/node", "0\n");
	put_irq(&r, 72, "0-1", "eth9-rx-2");
	root_put(&r, IRQ_DIR "/72/node", "-1\n");
	(void)release(&r, UUID_A, 1);
	IS_IRQ(&r, 60, "6-7");
	IS_IRQ(&r, 70, "4-7");
	IS_IRQ(&r, 71, "0-3");
	IS_IRQ(&r, 72, "0-1");
}

/* Nothing is left of one node: its own get the other's, and go back to their node. */
TEST(born_off_its_node)
{
	ROOT(r);

	put_host(&r);
	root_put(&r, "sys/devices/system/node/node0/cpulist", "0-3\n");
	root_put(&r, "sys/devices/system/node/node1/cpulist", "4-7\n");
	(void)START(&r, UUID_A, {"", "avoid:2-7"});
	put_irq(&r, 70, "0-1", "eth9-rx-0");
	root_put(&r, IRQ_DIR "/70/node", "1\n");
	put_irq(&r, 71, "0-1", "eth9-rx-1");
	root_put(&r, IRQ_DIR "/71/node", "0\n");
	(void)release(&r, UUID_A, 1);
	IS_IRQ(&r, 70, "4-7");
	IS_IRQ(&r, 71, "0-3");
}

/* A device's own under new numbers; and one that is not its own, gone and come back under its number. */
TEST(born_again)
{
	ROOT(r);

	put_host(&r);
	put_irq(&r, 60, "2-7", "usb9");
	put_function(&r, "0000:09:00.0", 0, 0, 0, "");
	(void)START(&r, UUID_A, {"", "avoid:2-5"}, {"0000:09:00.0", "local:0-1"});
	IS_IRQ(&r, 60, "6-7");
	put_irq(&r, 60, "0-1,6-7", "usb9");
	put_irq(&r, 70, "0-1,6-7", "vfio-msix[0](0000:09:00.0)");
	root_put(&r, "sys/bus/pci/devices/0000:09:00.0/msi_irqs/70", "msix\n");
	IS_INT(look_for_late(&r, UUID_A), 1);
	IS_IRQ(&r, 70, "0");
	(void)release(&r, UUID_A, 1);
	IS_IRQ(&r, 60, "0-7");
	IS_IRQ(&r, 70, "0-7");
}

/* What others' ends make of the default may be what somebody has chosen for an interrupt long before. */
TEST(a_choice_that_looks_like_new)
{
	ROOT(r);

	put_host(&r);
	put_irq(&r, 60, "0-1,6-7", "usb9");
	put_irq(&r, 61, "0-1,6-7", "usb8");
	(void)START(&r, UUID_A, {"", "avoid:2-5"});
	(void)START(&r, UUID_B, {"", "avoid:6"});
	IS_IRQ(&r, 60, "0-1,7");
	(void)release(&r, UUID_B, 1);
	IS_IRQ(&r, 60, "0-1,6-7");
	(void)release(&r, UUID_A, 1);
	IS_IRQ(&r, 60, "0-1,6-7");
	IS_IRQ(&r, 61, "0-1,6-7");
	/* The same where nobody narrows it to that at a start. */
	(void)START(&r, UUID_B, {"", "avoid:6"});
	(void)START(&r, UUID_A, {"", "avoid:2-5"});
	(void)release(&r, UUID_B, 1);
	(void)release(&r, UUID_A, 1);
	IS_IRQ(&r, 60, "0-1,6-7");
	is_as_it_was(&r);
}

TEST(born_narrowed_by_two)
{
	static const struct {
		const char *first, *last, *rest;
	} rows[] = {{UUID_A, UUID_B, "0,2-7\n"}, {UUID_B, UUID_A, "0-1,6-7\n"}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		ROOT(r);

		put_host(&r);
		(void)START(&r, UUID_A, {"", "avoid:2-5"});
		put_irq(&r, 70, "0-1,6-7", "eth9-rx-0"); /* not seen by A */
		(void)START(&r, UUID_B, {"", "avoid:1"});
		IS_IRQ(&r, 70, "0,6-7");
		put_irq(&r, 71, "0,6-7", "eth9-rx-1"); /* not seen by anybody */
		(void)release(&r, rows[i].first, 1);
		IS_STR(root_get(&r, irq_file(70)), rows[i].rest);
		IS_STR(root_get(&r, irq_file(71)), rows[i].rest);
		(void)release(&r, rows[i].last, 1);
		IS_IRQ(&r, 70, "0-7");
		IS_IRQ(&r, 71, "0-7");
		is_as_it_was(&r);
	}
}

/* A guest that boots again gives its vectors back and gets the same numbers. */
TEST(come_back_under_their_numbers)
{
	ROOT(r);

	put_host(&r);
	put_function(&r, "0000:09:00.0", 70, 2, 0, "");
	put_irq(&r, 70, "0-7", "vfio-msix[0](0000:09:00.0)");
	put_irq(&r, 71, "0-7", "vfio-msix[1](0000:09:00.0)");
	(void)START(&r, UUID_A, {"", "avoid:2-5"}, {"0000:09:00.0", "local:0-1"});
	IS_IRQ(&r, 70, "0");
	IS_IRQ(&r, 71, "1");
	IS_INT(look_for_late(&r, UUID_A), 0);
	put_irq(&r, 70, "0-1,6-7", "vfio-msix[0](0000:09:00.0)");
	put_irq(&r, 71, "0-1,6-7", "vfio-msix[1](0000:09:00.0)");
	IS_INT(look_for_late(&r, UUID_A), 2);
	IS_IRQ(&r, 70, "0");
	IS_IRQ(&r, 71, "1");
	IS_INT(look_for_late(&r, UUID_A), 0);
	(void)release(&r, UUID_A, 1);
	IS_IRQ(&r, 70, "0-7");
	IS_IRQ(&r, 71, "0-7");
}

/* Before its scan it shows what it had before it was told: a short life is told back all the same. */
TEST(ends_before_irqbalance_scans)
{
	ROOT(r);
	pid_t daemon;

	put_host(&r);
	daemon = balancer_start(&r, ANSWERS);
	root_put(&r, BALANCER_MASK, "80");
	IN_A_HOOK(&r, (void)START(&r, UUID_A, {"", "avoid:2-5"}));
	IS_STR(balancer_told(&r, "cpus"), "2-5,7");
	IN_A_HOOK(&r, (void)release(&r, UUID_A, 1));
	IS_STR(balancer_told(&r, "cpus"), "7");
	/* And one that wants what it still shows from before is told again. */
	IN_A_HOOK(&r, (void)START(&r, UUID_A, {"", "avoid:2-5"}));
	root_put(&r, BALANCER_MASK, "bc");
	IN_A_HOOK(&r, (void)START(&r, UUID_B, {"", "avoid:1"}));
	IS_STR(balancer_told(&r, "cpus"), "1-5,7");
	IN_A_HOOK(&r, (void)release(&r, UUID_B, 1));
	IS_STR(balancer_told(&r, "cpus"), "2-5,7");
	IN_A_HOOK(&r, (void)release(&r, UUID_A, 1));
	IS_STR(balancer_told(&r, "cpus"), "7");
	OK(!strstr(root_get(&r, PATH_LEDGER), "irqbalance"));
	balancer_end(daemon);
}

/* Slow all the time, it was told nothing, and nothing of it stays on record. */
TEST(slow_from_start_to_end)
{
	ROOT(r);
	pid_t daemon;

	put_host(&r);
	daemon = balancer_start(&r, HANGS);
	IN_A_HOOK(&r, IS_INT(START(&r, UUID_A, {"", "avoid:2-5"}, {"eth0", "local:5"}).failed, 0));
	IN_A_HOOK(&r, IS_INT(release(&r, UUID_A, 1).failed, 0));
	OK(!strstr(root_get(&r, PATH_LEDGER), "irqbalance"));
	balancer_end(daemon);
}

/* --- against a model -------------------------------------------------------------------------------------------- */

#define M_CPUS	  12
#define M_IRQS	  20
#define M_DOMAINS 5
#define M_DEVICES 3
#define M_OPS	  150
#define RUNS	  6

static uint64_t seed;

static unsigned int pick(unsigned int n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned int)((seed >> 11) % n);
}

/* Sets are bits here, so that nothing is shared with what is tested. */
struct guest {
	bool runs, avoids;
	unsigned int own;		/* CPUs */
	unsigned int to[M_DEVICES];	/* CPUs each of its devices' interrupts come to; 0: not used */
};

static unsigned int original[M_IRQS + 1]; /* the last is the default */
static struct guest guests[M_DOMAINS];

static unsigned int device_of(unsigned int irq)
{
	return irq >= 12 ? M_DEVICES : irq / 4; /* four vectors each, the rest is nobody's */
}

static unsigned int nth(unsigned int set, unsigned int n)
{
	for (unsigned int cpu = 0; cpu < M_CPUS; cpu++)
		if (set >> cpu & 1 && n-- == 0)
			return 1u << cpu;
	return 0;
}

static unsigned int model(unsigned int irq)
{
	unsigned int to = 0, otherwise = 0, off = 0, all = (1u << M_CPUS) - 1;

	for (unsigned int g = 0; g < M_DOMAINS; g++) {
		unsigned int own = 0, d = device_of(irq);

		if (!guests[g].runs)
			continue;
		if (d < M_DEVICES && irq < M_IRQS)
			own = guests[g].to[d];
		if (own)
			to |= __builtin_popcount(own) >= 4 ? nth(own, irq % 4) : own;
		if (__builtin_popcount(own) >= 4)
			otherwise |= own;
		if (guests[g].avoids)
			off |= guests[g].own & ~own;
	}
	if (to & ~off)
		return to & ~off;
	if (otherwise & ~off)
		return otherwise & ~off;
	if (original[irq] & ~off)
		return original[irq] & ~off;
	return all & ~off;
}

static const char *list_text(unsigned int set)
{
	static char text[128];
	struct idset s = IDSET_EMPTY;

	for (unsigned int cpu = 0; cpu < M_CPUS; cpu++)
		if (set >> cpu & 1)
			idset_add(&s, cpu);
	(void)idset_format(&s, text, sizeof(text));
	return text;
}

static void is_model(struct root *r, unsigned int op)
{
	char want[256];

	for (unsigned int i = 0; i <= M_IRQS; i++) {
		const char *is = root_get(r, i < M_IRQS ? irq_file(100 + i) : IRQ_DEFAULT);

		if (i < M_IRQS)
			(void)snprintf(want, sizeof(want), "%s\n", list_text(model(i)));
		else
			(void)snprintf(want, sizeof(want), "%03x\n", model(i));
		if (!streq(is, want))
			TAP_FAIL("op %u, irq %u: %.*s, not %s", op, i, (int)strlen(is) - 1, is, want);
	}
}

static void model_start(struct root *r, unsigned int g)
{
	char uuid[37], values[M_DEVICES + 1][160];
	struct want w[M_DEVICES + 1];
	unsigned int taken = 3, n = 0; /* CPUs 0 and 1 stay the host's */

	for (unsigned int k = 0; k < M_DOMAINS; k++)
		taken |= guests[k].runs ? guests[k].own : 0;
	(void)snprintf(uuid, sizeof(uuid), "%s", UUID_A);
	uuid[0] = (char)('0' + g);
	guests[g] = (struct guest){.runs = true, .avoids = pick(3) != 0};
	for (unsigned int cpu = 0; cpu < M_CPUS; cpu++)
		if (!(taken >> cpu & 1) && pick(3) == 0)
			guests[g].own |= 1u << cpu;
	guests[g].avoids &= guests[g].own != 0;
	if (guests[g].avoids) {
		(void)snprintf(values[n], sizeof(values[0]), "avoid:%s", list_text(guests[g].own));
		w[n] = (struct want){"", values[n]};
		n++;
	}
	for (unsigned int d = 0; d < M_DEVICES; d++) {
		static const char *const names[M_DEVICES] = {"eth0", "eth1", "eth2"};

		if (pick(2))
			continue;
		/* Anything: CPUs that are somebody else's by now, and its own. */
		guests[g].to[d] = 1u + pick((1u << M_CPUS) - 1);
		(void)snprintf(values[n], sizeof(values[0]), "local:%s", list_text(guests[g].to[d]));
		w[n] = (struct want){names[d], values[n]};
		n++;
	}
	start_with(r, uuid, w, n);
	(void)prepare(r, uuid);
}

static void play(unsigned int run)
{
	ROOT(r);

	seed = 88172645463325252u + run * 7919;
	memset(guests, 0, sizeof(guests));
	root_put(&r, "sys/devices/system/cpu/online", "0-11\n");
	for (unsigned int i = 0; i < M_IRQS; i++) {
		original[i] = pick(2) ? (1u << M_CPUS) - 1 : pick(2) ? 1u << pick(M_CPUS) : 1u + pick((1u << M_CPUS) - 1);
		put_irq(&r, 100 + i, list_text(original[i]), "x");
	}
	original[M_IRQS] = (1u << M_CPUS) - 1;
	root_put(&r, IRQ_DEFAULT, "fff\n");
	put_function(&r, "0000:01:00.0", 100, 4, 0, "sys/class/net/eth0");
	put_function(&r, "0000:01:00.1", 104, 4, 0, "sys/class/net/eth1");
	put_function(&r, "0000:01:00.2", 108, 4, 0, "sys/class/net/eth2");
	for (unsigned int op = 0; op < M_OPS && !tap_failed; op++) {
		unsigned int g = pick(M_DOMAINS);
		char uuid[37];

		(void)snprintf(uuid, sizeof(uuid), "%s", UUID_A);
		uuid[0] = (char)('0' + g);
		if (!guests[g].runs) {
			model_start(&r, g);
		} else {
			guests[g].runs = false;
			(void)release(&r, uuid, 1);
		}
		is_model(&r, op);
	}
	for (unsigned int g = 0; g < M_DOMAINS; g++) {
		char uuid[37];

		(void)snprintf(uuid, sizeof(uuid), "%s", UUID_A);
		uuid[0] = (char)('0' + g);
		if (guests[g].runs)
			(void)release(&r, uuid, 1);
		guests[g].runs = false;
	}
	is_model(&r, M_OPS);
	OK(!strstr(root_get(&r, PATH_LEDGER), "shared"));
}

TEST(any_order_of_starts_and_ends_is_as_the_model_says)
{
	const char *more = getenv("DT_RUNS"); /* 900 starts and ends as it is; hundreds of thousands were played */
	unsigned int runs = more ? (unsigned int)atoi(more) : RUNS;

	if (more)
		alarm(0);
	for (unsigned int run = 0; run < runs && !tap_failed; run++)
		play(run);
}

TAP_MAIN
