/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What `verify` makes of a disk whose image is another one by now: libvirt's status file against QEMU's command line.
 */
#include "tap.h"

#include "common/paths.h"
#include "root_bytes.h"

/* The tool is one program, not part of the archive that tests are linked with. */
#include "tool/view_exec.c"

#define UUID "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
#define PID  4711
#define ARGV                                                                                                           \
	"qemu\0-device\0{\"driver\":\"virtio-blk-pci\",\"drive\":\"libvirt-2-format\",\"id\":\"virtio-disk0\"}\0"      \
	"-blockdev\0{\"node-name\":\"libvirt-2-format\",\"driver\":\"raw\",\"file\":\"libvirt-2-storage\"}\0"          \
	"-blockdev\0{\"driver\":\"file\",\"filename\":\"/i\",\"node-name\":\"libvirt-2-storage\",\"aio\":\"threads\"}"

static void put_status(struct root *t, const char *pid, const char *uuid, const char *disks)
{
	char text[2000];

	(void)snprintf(text, sizeof(text),
		       "<domstatus state='running' reason='booted' pid='%s'><domain type='kvm' id='3'><name>web1</name>"
		       "<uuid>%s</uuid><memory>1024</memory><vcpu>1</vcpu><devices>%s</devices></domain></domstatus>",
		       pid, uuid, disks);
	root_put(t, PATH_LIBVIRT_RUN "/web1.xml", text);
}

#define DISK(target, index)                                                                                            \
	"<disk type='file' device='disk'><source file='/i'" index "/><target dev='" target "' bus='virtio'/></disk>"
#define NEW                                                                                                            \
	"its image is new since the start (snapshot, copy, another disk): libvirt-7, not libvirt-2; tuned again "      \
	"at the next start"

TEST(images_that_came_later)
{
	static const struct {
		const char *pid, *uuid, *disks;
		bool ok;
		const char *effective, *why;
	} cases[] = {
		{"4711", UUID, DISK("vdb", " index='1'") DISK("vda", " index='2'"), true, "threads", NULL},
		{"4711", UUID, DISK("vda", " index='7'"), false, "", NEW},
		{"4711", UUID, DISK("vdb", " index='2'"), false, "", "the disk was detached"},
		{"4711", UUID, "", false, "", "the disk was detached"},
		/* Nothing is known of it: an index that is not there, another process, another domain, no XML. */
		{"4711", UUID, DISK("vda", ""), true, "threads", NULL},
		{"4712", UUID, DISK("vda", " index='7'"), true, "threads", NULL},
		{"4711", "00000000-1d52-d8f3-2516-782e98ab3fa0", DISK("vda", " index='7'"), true, "threads", NULL},
		{"4711", UUID, "<disk", true, "threads", NULL},
	};
	char knob[] = "disk.io", target[] = "vda", value[] = "threads", alias[] = "virtio-disk0", path[] = "/i",
	     name[] = "web1";
	struct setting setting = {.knob = knob, .target = target, .stage = STAGE_EXEC, .value = value};
	struct plan_disk disk = {target, alias, path};
	struct claim claim = {.name = name};
	struct view_setting shown;
	struct view v = {.claim = &claim,
			 .has_record = true,
			 .settings = &shown,
			 .n_settings = 1,
			 .undo = {.phase = CLAIM_STARTED,
				  .pid = PID,
				  .pid_start = 99,
				  .plan = {.settings = &setting, .n_settings = 1, .disks = &disk, .n_disks = 1}}};
	struct root t;

	root_init(&t);
	(void)snprintf(claim.uuid, sizeof(claim.uuid), "%s", UUID);
	root_put_bytes(&t, "proc/4711/cmdline", ARGV, sizeof(ARGV));
	root_put(&t, "proc/4711/environ", "LC_ALL=C");
	root_put(&t, "proc/4711/stat", "4711 (qemu) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99 0");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		shown = (struct view_setting){.setting = &setting};
		put_status(&t, cases[i].pid, cases[i].uuid, cases[i].disks);
		IS_INT(view_look(&t.fs, &v), 0);
		if (shown.ok != cases[i].ok)
			printf("# case %zu\n", i);
		IS_INT(shown.ok, cases[i].ok);
		IS_STR(shown.effective ? shown.effective : "NULL", cases[i].effective);
		IS_STR(shown.note ? shown.note : "NULL", cases[i].why ? cases[i].why : "NULL");
		free(shown.effective);
		free(shown.note);
	}
	/* Without a status file, and with another process by that number. */
	(void)hostfs_unlink(&t.fs, PATH_LIBVIRT_RUN "/web1.xml");
	shown = (struct view_setting){.setting = &setting};
	IS_INT(view_look(&t.fs, &v), 0);
	OK(shown.ok);
	free(shown.effective);
	v.undo.pid_start = 98;
	shown = (struct view_setting){.setting = &setting};
	IS_INT(view_look(&t.fs, &v), 0);
	OK(!shown.effective);
	root_fini(&t);
}

/* Disks that were plugged in, where something is asked for all: not those that the plan knows, nor removable ones. */
TEST(disks_that_came_later)
{
	char knob[] = "disk.io", weight[] = "disk.weight", vdc[] = "vdc", vda[] = "vda", vdb[] = "vdb", all[] = "*",
	     value[] = "threads", alias[] = "virtio-disk0", empty[] = "", name[] = "web1";
	struct setting setting = {.knob = knob, .target = vda, .stage = STAGE_EXEC, .value = value};
	/* Of a weight one learns nothing: its target may as well be a device of the host. */
	struct skipped skipped[] = {{.knob = knob, .target = vdb, .why = empty},
				    {.knob = weight, .target = vdc, .why = empty}};
	struct plan_disk disks[] = {{vda, alias, empty}, {all, empty, empty}};
	struct claim claim = {.name = name};
	struct root t;

	root_init(&t);
	(void)snprintf(claim.uuid, sizeof(claim.uuid), "%s", UUID);
	root_put_bytes(&t, "proc/4711/cmdline", ARGV, sizeof(ARGV));
	root_put(&t, "proc/4711/environ", "LC_ALL=C");
	root_put(&t, "proc/4711/stat", "4711 (qemu) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99 0");
	put_status(&t, "4711", UUID,
		   DISK("vda", " index='2'") DISK("vdb", " index='1'") DISK("vdc", " index='9'")
			   DISK("vdd", "") "<disk type='file' device='cdrom'><source file='/c' index='3'/><target "
					   "dev='sda'/></disk>");
	for (unsigned int n_disks = 1; n_disks <= 2; n_disks++) {
		struct view v = {.claim = &claim,
				 .has_record = true,
				 .settings = calloc(1, sizeof(*v.settings)),
				 .n_settings = 1,
				 .undo = {.phase = CLAIM_STARTED,
					  .pid = PID,
					  .pid_start = 99,
					  .plan = {.settings = &setting,
						   .n_settings = 1,
						   .skipped = skipped,
						   .n_skipped = ARRAY_SIZE(skipped),
						   .disks = disks,
						   .n_disks = n_disks}}};

		if (!v.settings)
			exit(2);
		v.settings[0].setting = &setting;
		IS_INT(view_look(&t.fs, &v), 0);
		IS_INT(v.n_settings, n_disks); /* one more where "*" is said */
		OK(v.settings[0].ok);
		if (v.n_settings == 2) {
			IS_STR(v.settings[1].setting->target, "vdc");
			IS_STR(v.settings[1].note, "plugged in since the start: tuned at the next");
			OK(!v.settings[1].ok);
		}
		for (size_t i = 0; i < v.n_settings; i++) {
			free(v.settings[i].effective);
			free(v.settings[i].note);
		}
		for (size_t i = 0; i < v.n_later; i++)
			free(v.later[i].target);
		free(v.later);
		free(v.settings);
	}
	root_fini(&t);
}

TAP_MAIN
