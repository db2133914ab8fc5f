/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt keeps what it learned of an emulator in a file named after the SHA-256 of the path as it was given
 * (virFileCacheGetFileName, src/util/virfilecache.c), so a wrapper has a file of its own, which says the
 * version of the QEMU behind it. The file is not ours and its form is not promised: only the text
 * "<version>NUMBER</version>" is looked for, and anything unexpected means "not known".
 *
 * Records of replaced emulators are files of one line, named by UUID, in a directory that only root can enter.
 */
#include "qemucaps.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "num.h"
#include "paths.h"
#include "sha256.h"

#define CAPS_DIR "var/cache/libvirt/qemu/capabilities"
#define CAPS_CHUNK 32768
/* The version follows the list of flags, about 25 KiB into the file (libvirt 9.0); its CPU models come later. */
#define CAPS_LOOK_AT (1u << 20)

#define KEPT_DIR PATH_KEPT "/emulator"
#define EMULATOR_PATH_MAX 4096

/* Where distributions put emulators, beyond usr/bin and usr/libexec; colon-separated, set by the packager. */
#ifndef DT_EMULATOR_DIRS
#define DT_EMULATOR_DIRS "/usr/local/bin:/usr/lib/qemu-kvm"
#endif

/* virQEMUCapsFormatCache() prints major * 1000000 + minor * 1000 + micro, which is our scheme as well. */
#define VERSION_MIN 1000000u
#define VERSION_MAX 999999999u

static unsigned int scan_version(const char *text)
{
	static const char open_tag[] = "<version>", close_tag[] = "</version>";
	char digits[16];
	uint64_t number;

	for (const char *at = strstr(text, open_tag); at; at = strstr(at, open_tag)) {
		size_t len;

		at += sizeof(open_tag) - 1;
		len = strspn(at, "0123456789");
		if (len == 0 || len >= sizeof(digits) || !str_starts(at + len, close_tag))
			continue;
		memcpy(digits, at, len);
		digits[len] = '\0';
		if (num_parse_range(digits, VERSION_MIN, VERSION_MAX, &number) == 0)
			return (unsigned int)number;
	}
	return 0;
}

/* The file may be some 100 KiB: it is read in pieces, until the version has come. */
static unsigned int read_version(int fd)
{
	/* What may be cut at the end of a piece: an opening tag, ten digits, a closing tag. */
	enum { OVERLAP = 64 };
	char buf[CAPS_CHUNK + OVERLAP + 1];
	size_t kept = 0;

	for (size_t total = 0; total < CAPS_LOOK_AT;) {
		ssize_t n = read(fd, buf + kept, CAPS_CHUNK);
		unsigned int version;
		size_t have;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		total += (size_t)n;
		have = kept + (size_t)n;
		if (memchr(buf + kept, '\0', (size_t)n))
			return 0; /* not a text at all */
		buf[have] = '\0';
		version = scan_version(buf);
		if (version)
			return version;
		kept = have < OVERLAP ? have : OVERLAP;
		memmove(buf, buf + have - kept, kept);
	}
	return 0;
}

unsigned int qemucaps_version(const struct hostfs *fs, const char *emulator)
{
	_cleanup_close_ int fd = -1;
	char name[SHA256_HEX_SIZE];

	if (!emulator[0])
		return 0;
	sha256_hex(emulator, strlen(emulator), name);
	fd = hostfs_open(fs, O_RDONLY | O_NONBLOCK, CAPS_DIR "/%s.xml", name);
	return fd < 0 ? 0 : read_version(fd);
}

bool qemucaps_is_wrapper(const char *emulator)
{
	static const char dir[] = DT_HELPERS "/";

	return str_starts(emulator, dir) && hostfs_is_name(emulator + sizeof(dir) - 1);
}

/* A path that we may hand on: absolute, one line, of sane length. */
static bool path_is_usable(const char *path)
{
	size_t len = strlen(path);

	return path[0] == '/' && len > 1 && len < EMULATOR_PATH_MAX && path[len - 1] != '/' && !strpbrk(path, "\n\r");
}

int qemucaps_kept_emulator(const struct hostfs *fs, const char *uuid, char *buf, size_t size)
{
	int n;

	if (!uuid_is_valid(uuid))
		return -ENOENT;
	n = hostfs_read(fs, buf, size, KEPT_DIR "/%s", uuid);
	if (n < 0)
		return n;
	return path_is_usable(buf) ? 0 : -EBADMSG;
}

int qemucaps_keep_emulator(const struct hostfs *fs, const char *uuid, const char *path, struct err *e)
{
	char line[EMULATOR_PATH_MAX + 1];
	int r;

	if (!uuid_is_valid(uuid))
		return err_set(e, EINVAL, "'%s' is not a UUID", uuid);
	if (!path_is_usable(path))
		return err_set(e, EINVAL, "emulator '%s' is not an absolute path", path);

	r = hostfs_mkdir(fs, 0700, PATH_KEPT);
	if (r == 0)
		r = hostfs_mkdir(fs, 0700, KEPT_DIR);
	if (r < 0)
		return err_set(e, -r, "/" KEPT_DIR ": %s", err_name(-r));

	r = snprintf(line, sizeof(line), "%s\n", path);
	r = hostfs_replace(fs, line, (size_t)r, 0600, KEPT_DIR "/%s", uuid);
	if (r < 0)
		return err_set(e, -r, "/" KEPT_DIR "/%s: %s", uuid, err_name(-r));
	return 0;
}

int qemucaps_forget_emulator(const struct hostfs *fs, const char *uuid)
{
	return uuid_is_valid(uuid) ? hostfs_unlink(fs, KEPT_DIR "/%s", uuid) : -EINVAL;
}

/* Whether DIR/BASE is an executable file and not `self`; then it is copied to buf. base may be a whole path. */
static int try_emulator(const struct hostfs *fs, const struct stat *self, const char *dir, const char *base, char *buf,
			size_t size)
{
	char path[EMULATOR_PATH_MAX];
	struct stat st;
	int n = snprintf(path, sizeof(path), "%s%s%s", dir, *dir ? "/" : "", base);

	if (n < 0 || (size_t)n >= sizeof(path) || (size_t)n >= size || !path_is_usable(path))
		return -ENOENT;
	if (hostfs_stat(fs, &st, "%s", path + 1) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return -ENOENT;
	if (self && st.st_dev == self->st_dev && st.st_ino == self->st_ino)
		return -ENOENT;
	memcpy(buf, path, (size_t)n + 1);
	return 0;
}

int qemucaps_real_emulator(const struct hostfs *fs, const char *uuid, const char *wrapper, char *buf, size_t size)
{
	static const char dirs[] = "/usr/bin:/usr/libexec:" DT_EMULATOR_DIRS;
	char text[sizeof(dirs)], kept[EMULATOR_PATH_MAX];
	const char *slash = strrchr(wrapper, '/');
	const char *base = slash ? slash + 1 : wrapper;
	struct stat st;
	const struct stat *self = NULL;
	char *rest = text, *dir;

	if (!hostfs_is_name(base))
		return -ENOENT;
	if (slash && slash != wrapper && hostfs_stat(fs, &st, "%s", wrapper + strspn(wrapper, "/")) == 0)
		self = &st;
	if (qemucaps_kept_emulator(fs, uuid, kept, sizeof(kept)) == 0 && !qemucaps_is_wrapper(kept) &&
	    try_emulator(fs, self, "", kept, buf, size) == 0)
		return 0;
	memcpy(text, dirs, sizeof(dirs));
	while ((dir = strsep(&rest, ":")))
		if (*dir && try_emulator(fs, self, dir, base, buf, size) == 0)
			return 0;
	return -ENOENT;
}
