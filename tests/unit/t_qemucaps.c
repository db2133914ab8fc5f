/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/paths.h"
#include "common/qemucaps.h"
#include "common/sha256.h"
#include "root.h"
#include "tap.h"

#define UUID "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
#define WRAPPER DT_HELPERS "/qemu-system-x86_64"
#define REAL "/usr/bin/qemu-system-x86_64"

/* ---- the version ---- */

static void put_caps(struct root *r, const char *emulator, const char *text)
{
	char name[SHA256_HEX_SIZE], path[256];

	sha256_hex(emulator, strlen(emulator), name);
	snprintf(path, sizeof(path), "var/cache/libvirt/qemu/capabilities/%s.xml", name);
	root_put(r, path, text);
}

TEST(versions)
{
	static const struct {
		const char *text;
		unsigned int want;
	} cases[] = {
		{ "<qemuCaps>\n  <emulator>" REAL "</emulator>\n  <flag name='kvm'/>\n  <version>7002022</version>\n"
		  "  <kvmVersion>0</kvmVersion>\n", 7002022 },
		{ "<version>10000000</version>", 10000000 },
		{ "<version>5002000</version>", 5002000 },
		{ "", 0 },
		{ "<qemuCaps>", 0 },
		{ "<version></version>", 0 },
		{ "<version>7002022", 0 },                 /* cut off */
		{ "<version>7002022</versio", 0 },
		{ "<version>7.2.22</version>", 0 },        /* another form */
		{ "<version> 7002022</version>", 0 },
		{ "<version>-7002022</version>", 0 },
		{ "<version>7002</version>", 0 },          /* QEMU 0.007 never was */
		{ "<version>99999999999999999999</version>", 0 },
		{ "<version>x</version><version>7002022</version>", 7002022 },
		{ "<selfvers>9000000</selfvers><version>7002022</version>", 7002022 },
	};
	struct root r;

	root_init(&r);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_caps(&r, REAL, cases[i].text);
		if (qemucaps_version(&r.fs, REAL) != cases[i].want)
			TAP_FAIL("case %zu: %u", i, qemucaps_version(&r.fs, REAL));
	}
	root_fini(&r);
}

/* Wherever the pieces of reading meet inside the element, it is found. */
TEST(version_at_any_place)
{
	static const char element[] = "<version>7002022</version>";
	size_t size = 80000;
	char *text = malloc(size + 1);
	struct root r;

	OK(text);
	root_init(&r);
	for (size_t at = 32768 - 40; text && at < 32768 + 40; at++) {
		memset(text, ' ', size);
		text[size] = '\0';
		memcpy(text + at, element, sizeof(element) - 1);
		put_caps(&r, REAL, text);
		if (qemucaps_version(&r.fs, REAL) != 7002022)
			TAP_FAIL("not found at %zu", at);
	}
	root_fini(&r);
	free(text);
}

TEST(version_is_not_looked_for_without_end)
{
	size_t size = 3u << 20;
	char *text = malloc(size + 64);
	struct root r;

	OK(text);
	if (!text)
		return;
	root_init(&r);
	memset(text, ' ', size);
	strcpy(text + size, "<version>7002022</version>");
	put_caps(&r, REAL, text);
	IS_INT(qemucaps_version(&r.fs, REAL), 0);
	root_fini(&r);
	free(text);
}

TEST(version_of_the_asked_path_only)
{
	struct root r;

	root_init(&r);
	put_caps(&r, WRAPPER, "<version>8000000</version>");
	IS_INT(qemucaps_version(&r.fs, REAL), 0);
	IS_INT(qemucaps_version(&r.fs, WRAPPER), 8000000);
	IS_INT(qemucaps_version(&r.fs, ""), 0);
	root_fini(&r);
}

/* ---- wrappers ---- */

TEST(wrapper_paths)
{
	static const struct {
		const char *path;
		bool want;
	} cases[] = {
		{ WRAPPER, true },
		{ DT_HELPERS "/qemu-kvm", true },
		{ DT_HELPERS, false },
		{ DT_HELPERS "/", false },
		{ DT_HELPERS "/..", false },
		{ DT_HELPERS "/../../bin/qemu-system-x86_64", false },
		{ DT_HELPERS "x/qemu-kvm", false },
		{ REAL, false },
		{ "", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (qemucaps_is_wrapper(cases[i].path) != cases[i].want)
			TAP_FAIL("'%s'", cases[i].path);
}

/* ---- what wrap replaced ---- */

TEST(kept_emulators)
{
	char buf[4096];
	struct stat st;
	struct root r;

	root_init(&r);
	IS_INT(qemucaps_kept_emulator(&r.fs, UUID, buf, sizeof(buf)), -ENOENT);
	IS_INT(qemucaps_keep_emulator(&r.fs, UUID, "/opt/my qemu/bin/qemu-system-x86_64", NULL), 0);
	IS_INT(qemucaps_kept_emulator(&r.fs, UUID, buf, sizeof(buf)), 0);
	IS_STR(buf, "/opt/my qemu/bin/qemu-system-x86_64");
	IS_INT(qemucaps_keep_emulator(&r.fs, UUID, REAL, NULL), 0);
	IS_INT(qemucaps_kept_emulator(&r.fs, UUID, buf, sizeof(buf)), 0);
	IS_STR(buf, REAL);
	IS_INT(hostfs_stat(&r.fs, &st, PATH_KEPT), 0);
	IS_INT(st.st_mode & 07777, 0700);
	IS_INT(hostfs_stat(&r.fs, &st, PATH_KEPT "/emulator"), 0);
	IS_INT(st.st_mode & 07777, 0700);
	IS_INT(hostfs_stat(&r.fs, &st, PATH_KEPT "/emulator/" UUID), 0);
	IS_INT(st.st_mode & 07777, 0600);
	IS_INT(qemucaps_forget_emulator(&r.fs, UUID), 0);
	IS_INT(qemucaps_forget_emulator(&r.fs, UUID), 0);
	IS_INT(qemucaps_kept_emulator(&r.fs, UUID, buf, sizeof(buf)), -ENOENT);
	root_fini(&r);
}

TEST(kept_emulators_bad_input)
{
	static const char *const uuids[] = { "", "..", "../../../etc/passwd", "4dea22b3", UUID "/x" };
	static const char *const paths[] = { "", "qemu", "/", "/usr/bin/", "/a\n/b", "/a\r" };
	struct err e = ERR_INIT;
	char buf[32];
	struct root r;

	root_init(&r);
	for (size_t i = 0; i < ARRAY_SIZE(uuids); i++) {
		IS_INT(qemucaps_keep_emulator(&r.fs, uuids[i], REAL, &e), -EINVAL);
		IS_INT(qemucaps_kept_emulator(&r.fs, uuids[i], buf, sizeof(buf)), -ENOENT);
		IS_INT(qemucaps_forget_emulator(&r.fs, uuids[i]), -EINVAL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		IS_INT(qemucaps_keep_emulator(&r.fs, UUID, paths[i], &e), -EINVAL);
	OK(!hostfs_exists(&r.fs, PATH_KEPT));

	root_put(&r, PATH_KEPT "/emulator/" UUID, "relative/path\n");
	IS_INT(qemucaps_kept_emulator(&r.fs, UUID, buf, sizeof(buf)), -EBADMSG);
	root_put(&r, PATH_KEPT "/emulator/" UUID, "/a\n/b\n");
	IS_INT(qemucaps_kept_emulator(&r.fs, UUID, buf, sizeof(buf)), -EBADMSG);
	root_put(&r, PATH_KEPT "/emulator/" UUID, "/usr/bin/a-name-that-is-longer-than-the-buffer-of-the-caller\n");
	IS_INT(qemucaps_kept_emulator(&r.fs, UUID, buf, sizeof(buf)), -EFBIG);
	root_fini(&r);
}

/* ---- the real emulator ---- */

static void put_program(struct root *r, const char *path)
{
	root_put(r, path, "#!/bin/true\n");
	IS_INT(fchmodat(r->fs.fd, path, 0755, 0), 0);
}

TEST(real_emulator_is_searched_in_order)
{
	char buf[4096];
	struct root r;

	root_init(&r);
	put_program(&r, &WRAPPER[1]);
	IS_INT(qemucaps_real_emulator(&r.fs, UUID, WRAPPER, buf, sizeof(buf)), -ENOENT);

	put_program(&r, "usr/local/bin/qemu-system-x86_64");
	IS_INT(qemucaps_real_emulator(&r.fs, UUID, WRAPPER, buf, sizeof(buf)), 0);
	IS_STR(buf, "/usr/local/bin/qemu-system-x86_64");

	put_program(&r, "usr/libexec/qemu-system-x86_64");
	IS_INT(qemucaps_real_emulator(&r.fs, UUID, WRAPPER, buf, sizeof(buf)), 0);
	IS_STR(buf, "/usr/libexec/qemu-system-x86_64");

	root_put(&r, "usr/bin/qemu-system-x86_64", "not executable"); /* passed over */
	IS_INT(qemucaps_real_emulator(&r.fs, UUID, WRAPPER, buf, sizeof(buf)), 0);
	IS_STR(buf, "/usr/libexec/qemu-system-x86_64");

	IS_INT(fchmodat(r.fs.fd, "usr/bin/qemu-system-x86_64", 0755, 0), 0);
	IS_INT(qemucaps_real_emulator(&r.fs, UUID, WRAPPER, buf, sizeof(buf)), 0);
	IS_STR(buf, REAL);

	put_program(&r, "opt/qemu/bin/qemu-system-x86_64");
	IS_INT(qemucaps_keep_emulator(&r.fs, UUID, "/opt/qemu/bin/qemu-system-x86_64", NULL), 0);
	IS_INT(qemucaps_real_emulator(&r.fs, UUID, WRAPPER, buf, sizeof(buf)), 0);
	IS_STR(buf, "/opt/qemu/bin/qemu-system-x86_64");

	IS_INT(hostfs_unlink(&r.fs, "opt/qemu/bin/qemu-system-x86_64"), 0); /* uninstalled since */
	IS_INT(qemucaps_real_emulator(&r.fs, UUID, WRAPPER, buf, sizeof(buf)), 0);
	IS_STR(buf, REAL);
	root_fini(&r);
}

/* By device and inode, not by name: a hard link or a symlink to the wrapper is the wrapper. */
TEST(the_wrapper_is_never_the_real_one)
{
	char buf[4096];
	struct root r;

	root_init(&r);
	put_program(&r, &WRAPPER[1]);
	root_mkdir(&r, "usr/bin");
	root_mkdir(&r, "usr/libexec");
	IS_INT(linkat(r.fs.fd, &WRAPPER[1], r.fs.fd, "usr/bin/qemu-system-x86_64", 0), 0);
	IS_INT(symlinkat(WRAPPER, r.fs.fd, "usr/libexec/qemu-system-x86_64"), 0);
	IS_INT(qemucaps_keep_emulator(&r.fs, UUID, WRAPPER, NULL), 0);
	IS_INT(qemucaps_real_emulator(&r.fs, UUID, WRAPPER, buf, sizeof(buf)), -ENOENT);
	put_program(&r, "usr/local/bin/qemu-system-x86_64");
	IS_INT(qemucaps_real_emulator(&r.fs, UUID, WRAPPER, buf, sizeof(buf)), 0);
	IS_STR(buf, "/usr/local/bin/qemu-system-x86_64");
	root_fini(&r);
}

TEST(real_emulator_bad_input)
{
	char buf[8];
	struct root r;

	root_init(&r);
	put_program(&r, "usr/bin/qemu-system-x86_64");
	IS_INT(qemucaps_real_emulator(&r.fs, UUID, "", buf, sizeof(buf)), -ENOENT);
	IS_INT(qemucaps_real_emulator(&r.fs, UUID, "/x/..", buf, sizeof(buf)), -ENOENT);
	IS_INT(qemucaps_real_emulator(&r.fs, UUID, "/x/", buf, sizeof(buf)), -ENOENT);
	IS_INT(qemucaps_real_emulator(&r.fs, UUID, WRAPPER, buf, sizeof(buf)), -ENOENT); /* does not fit */
	root_mkdir(&r, "usr/bin/qemu-kvm"); /* a directory */
	IS_INT(qemucaps_real_emulator(&r.fs, "", DT_HELPERS "/qemu-kvm", buf, sizeof(buf)), -ENOENT);
	root_fini(&r);
}

TAP_MAIN
