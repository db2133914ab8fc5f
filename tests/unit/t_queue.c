/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Queues of a real block device, a loop device of our own: what the kernel resets when its scheduler is switched, and
 * that it is as before when the last of two domains has ended. Our state is on a /run of a mount namespace of this
 * test.
 */
#include "tap.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "common/apply.h"
#include "common/backend.h"
#include "common/cgroup.h"

#define UUID_A "aaaaaaaa-2222-3333-4444-555555555555"
#define UUID_B "bbbbbbbb-2222-3333-4444-555555555555"

struct world {
	struct hostfs fs;
	int loop, image;
	char name[16];
	const char *why; /* why there is none */
};

static void world_init(struct world *w)
{
	char path[] = "/tmp/domtune-loop-XXXXXX", node[32];
	int control, number;

	*w = (struct world){.fs = HOSTFS_INIT, .loop = -1, .image = -1};
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0) {
		w->why = "no mount namespace of our own";
		return;
	}
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	if (control >= 0)
		(void)close(control);
	w->image = mkstemp(path);
	(void)unlink(path);
	(void)snprintf(node, sizeof(node), "/dev/loop%d", number);
	(void)snprintf(w->name, sizeof(w->name), "loop%d", number);
	if (number < 0 || w->image < 0 || ftruncate(w->image, 1 << 20) < 0 ||
	    (w->loop = open(node, O_RDWR | O_CLOEXEC)) < 0 || ioctl(w->loop, LOOP_SET_FD, w->image) < 0) {
		w->why = "no loop device can be had here";
		return;
	}
	IS_INT(hostfs_init(&w->fs, NULL, NULL), 0);
}

static void world_fini(struct world *w)
{
	if (w->fs.fd >= 0)
		IS_INT(ioctl(w->loop, LOOP_CLR_FD), 0);
	if (w->loop >= 0)
		(void)close(w->loop);
	if (w->image >= 0)
		(void)close(w->image);
	hostfs_fini(&w->fs);
}

/* All that we may change. */
static void state(struct world *w, char buf[512])
{
	static const char *const files[] = {"scheduler",   "nr_requests", "read_ahead_kb",
					    "rq_affinity", "nomerges",    "wbt_lat_usec"};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char object[128], value[64];

		(void)snprintf(object, sizeof(object), "sys/block/%s/queue/%s", w->name, files[i]);
		if (be_file.read(&w->fs, object, value, sizeof(value)) < 0)
			(void)snprintf(value, sizeof(value), "-");
		n += (size_t)snprintf(buf + n, 512 - n, "%s=%s ", files[i], value);
	}
}

static bool has(struct world *w, const char *file, const char *want)
{
	char object[128], value[64];

	(void)snprintf(object, sizeof(object), "sys/block/%s/queue/%s", w->name, file);
	return be_file.read(&w->fs, object, value, sizeof(value)) > 0 && streq(value, want);
}

static void put(struct world *w, const char *file, const char *value)
{
	char object[128];

	(void)snprintf(object, sizeof(object), "sys/block/%s/queue/%s", w->name, file);
	IS_INT(be_file.write(&w->fs, object, value), 0);
}

static const char *schedulers(struct world *w, char buf[256])
{
	if (hostfs_read(&w->fs, buf, 256, "sys/block/%s/queue/scheduler", w->name) < 0)
		buf[0] = '\0';
	return buf;
}

struct wish {
	const char *knob, *value;
};

/* A start of this domain, up to the end of prepare: what decide leaves, then apply's part. */
static struct apply_count start(struct world *w, const char *uuid, const struct wish *wishes, unsigned int n)
{
	struct apply_count count = {0};
	struct plan p = {.id = -1, .name = strdup("guest"), .profile = strdup("p")};
	struct ledger l = {0};
	struct steps steps;
	struct undo u;
	int lock;

	(void)snprintf(p.uuid, sizeof(p.uuid), "%s", uuid);
	for (unsigned int i = 0; i < n; i++)
		IS_INT(plan_add_setting(&p, wishes[i].knob, w->name, STAGE_PREPARE, wishes[i].value, "x", "x"), 0);
	IS_INT(ledger_make_dirs(&w->fs, NULL), 0);
	lock = ledger_lock(&w->fs, NULL);
	IS_INT(ledger_read(&w->fs, &l, NULL), 0);
	IS_INT(undo_create(&w->fs, &p, ledger_add(&l, uuid, "guest")->generation, NULL), 0);
	IS_INT(ledger_write(&w->fs, &l, NULL), 0);
	ledger_fini(&l);
	(void)close(lock);
	plan_fini(&p);
	IS_INT(undo_open(&w->fs, uuid, true, &u, NULL), 0);
	IS_INT(steps_make(&u.plan, STAGE_PREPARE, NULL, &steps), 0);
	IS_INT(apply_steps(&w->fs, &u, &steps, &count), 0);
	steps_fini(&steps);
	undo_fini(&u);
	return count;
}
#define START(w, uuid, ...)                                                                                            \
	start(w, uuid, (struct wish[]){__VA_ARGS__}, sizeof((struct wish[]){__VA_ARGS__}) / sizeof(struct wish))

static void end(struct world *w, const char *uuid)
{
	struct apply_count count = {0};

	IS_INT(undo_all(&w->fs, uuid, &count, NULL), 1);
	IS_INT(count.failed + count.skipped, 0);
}

TEST(two_domains_on_one_queue)
{
	for (int a_first = 0; a_first <= 1; a_first++) {
		char before[512], after[512], list[256];
		struct apply_count c;
		struct world w;

		world_init(&w);
		if (w.why || !strstr(schedulers(&w, list), "bfq") || !strstr(list, "mq-deadline")) {
			const char *why = w.why ? w.why : "this kernel has no bfq or no mq-deadline";

			world_fini(&w);
			SKIP(why);
		}
		put(&w, "scheduler", "mq-deadline");
		put(&w, "nr_requests", "100"); /* what a switch would not come back to by itself */
		state(&w, before);
		c = START(&w, UUID_A, {"disk.scheduler", "bfq"}, {"disk.requests", "64"}, {"disk.read-ahead", "64"});
		IS_INT(c.in_force, 3);
		OK(has(&w, "scheduler", "bfq") && has(&w, "nr_requests", "64") && has(&w, "read_ahead_kb", "64"));
		c = START(&w, UUID_B, {"disk.scheduler", "none"}, {"disk.merges", "2"}, {"disk.affinity", "2"});
		IS_INT(c.in_force, 3);
		IS_INT(c.failed, 0);
		OK(has(&w, "scheduler", "bfq") && has(&w, "nr_requests", "64") && has(&w, "nomerges", "2") &&
		   has(&w, "rq_affinity", "2"));
		end(&w, a_first ? UUID_A : UUID_B);
		OK(has(&w, "scheduler", a_first ? "none" : "bfq") && has(&w, "nr_requests", a_first ? "100" : "64"));
		end(&w, a_first ? UUID_B : UUID_A);
		state(&w, after);
		IS_STR(after, before);
		put(&w, "scheduler", "none");
		world_fini(&w);
	}
}

/* What the device does not take: one setting fails, and with another scheduler it comes into force. */
TEST(more_requests_than_the_hardware)
{
	char before[512], after[512], list[256];
	struct apply_count c;
	struct world w;

	world_init(&w);
	if (w.why || !strstr(schedulers(&w, list), "mq-deadline")) {
		const char *why = w.why ? w.why : "this kernel has no mq-deadline";

		world_fini(&w);
		SKIP(why);
	}
	put(&w, "scheduler", "none");
	state(&w, before);
	c = START(&w, UUID_A, {"disk.requests", "1500"});
	IS_INT(c.failed, 1);
	state(&w, after);
	IS_STR(after, before);
	c = START(&w, UUID_B, {"disk.scheduler", "mq-deadline"}, {"disk.affinity", "0"});
	IS_INT(c.in_force, 2);
	OK(has(&w, "nr_requests", "1500") && has(&w, "rq_affinity", "0"));
	end(&w, UUID_B);
	OK(has(&w, "scheduler", "none") && !has(&w, "nr_requests", "1500"));
	end(&w, UUID_A);
	state(&w, after);
	IS_STR(after, before);
	world_fini(&w);
}

TEST(a_scheduler_that_the_kernel_lacks)
{
	char before[512], after[512];
	struct apply_count c;
	struct world w;

	world_init(&w);
	if (w.why) {
		const char *why = w.why;

		world_fini(&w);
		SKIP(why);
	}
	state(&w, before);
	c = START(&w, UUID_A, {"disk.scheduler", "colour"}, {"disk.merges", "1"});
	IS_INT(c.failed, 1);
	IS_INT(c.in_force, 1);
	end(&w, UUID_A);
	state(&w, after);
	IS_STR(after, before);
	world_fini(&w);
}

/* Weights and limits in a group of our own, for this device. */
TEST(lines_of_a_real_device)
{
	static const struct {
		const char *file, *value, *original;
		bool needs_bfq;
	} v1[] = {
		{"blkio.throttle.read_bps_device", "1048576", "0", false},
		{"blkio.throttle.write_iops_device", "4294967294", "0", false},
		{"blkio.bfq.weight_device", "300", "default", true},
	};
	char group[300], list[256], object[400], value[64];
	struct cgroup_layout layout;
	unsigned int major = 0, minor = 0;
	struct world w;
	struct stat st;

	world_init(&w);
	if (w.why || cgroup_layout_mounts(&w.fs, &layout) < 0 || layout.at[CGROUP_IO].version != 1 ||
	    !strstr(schedulers(&w, list), "bfq")) {
		const char *why = w.why ? w.why : "no blkio controller of cgroup v1, or no bfq";

		world_fini(&w);
		SKIP(why);
	}
	if (fstat(w.loop, &st) == 0) {
		major = (unsigned int)(st.st_rdev >> 8 & 0xfff);
		minor = (unsigned int)(st.st_rdev & 0xff);
	}
	(void)snprintf(group, sizeof(group), "/%s/domtune-test-%d", layout.at[CGROUP_IO].path, (int)getpid());
	IS_INT(mkdir(group, 0755), 0);
	for (size_t i = 0; i < ARRAY_SIZE(v1); i++) {
		(void)snprintf(object, sizeof(object), "%s/%s %u:%u", group + 1, v1[i].file, major, minor);
		IS_INT(be_cgkey.probe(&w.fs, object), 0);
		OK(be_cgkey.read(&w.fs, object, value, sizeof(value)) > 0);
		IS_STR(value, v1[i].original);
		/* A weight of bfq without bfq: the kernel says so. */
		put(&w, "scheduler", "none");
		if (v1[i].needs_bfq)
			IS_INT(be_cgkey.write(&w.fs, object, v1[i].value), -EOPNOTSUPP);
		put(&w, "scheduler", "bfq");
		IS_INT(be_cgkey.write(&w.fs, object, v1[i].value), 0);
		OK(be_cgkey.read(&w.fs, object, value, sizeof(value)) > 0);
		IS_STR(value, v1[i].value);
		IS_INT(be_cgkey.write(&w.fs, object, v1[i].original), 0);
		OK(be_cgkey.read(&w.fs, object, value, sizeof(value)) > 0);
		IS_STR(value, v1[i].original);
		(void)snprintf(object, sizeof(object), "%s/%s 4000:4000", group + 1, v1[i].file);
		IS_INT(be_cgkey.write(&w.fs, object, "100"), -ENOENT); /* a device that is not there */
	}
	put(&w, "scheduler", "none");
	IS_INT(rmdir(group), 0);
	world_fini(&w);
}

TAP_MAIN
