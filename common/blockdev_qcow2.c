/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The header of a qcow2 image (QEMU, docs/interop/qcow2.txt): big-endian, 72 bytes in version 2, its own length in
 * version 3, then extensions {type, length, data padded to 8}, then, within the first cluster, the backing file's name.
 *
 * One read of 4 KiB takes in all of it that QEMU writes; a name that lies further on is a second read. Nothing in it is
 * believed: offsets and lengths are checked against what QEMU itself accepts.
 */
#include <endian.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "blockdev_priv.h"
#include "knob.h"

#define HEAD_SIZE            4096
#define MAGIC                0x514649fbu /* "QFI\xfb" */
#define LENGTH_V2            72
#define LENGTH_V3            104
#define CLUSTER_BITS_MIN     9 /* block/qcow2.h, MIN_CLUSTER_BITS */
#define CLUSTER_BITS_MAX     21
#define INCOMPAT_DATA_FILE   (1u << 2)
#define INCOMPAT_EXTENDED_L2 (1u << 4)
#define EXTENSION_END        0u
#define EXTENSION_FORMAT     0xe2792acau
#define EXTENSION_DATA_FILE  0x44415441u
#define EXTENSIONS_MAX       64 /* five kinds exist */

struct head {
	const unsigned char *data;
	size_t len;
};

static uint32_t be32(const struct head *h, size_t at)
{
	uint32_t v = 0;

	if (at + sizeof(v) <= h->len)
		memcpy(&v, h->data + at, sizeof(v));
	return be32toh(v);
}

static uint64_t be64(const struct head *h, size_t at)
{
	uint64_t v = 0;

	if (at + sizeof(v) <= h->len)
		memcpy(&v, h->data + at, sizeof(v));
	return be64toh(v);
}

static int bad(char why[WALK_WHY], int code, const char *text)
{
	(void)snprintf(why, WALK_WHY, "%s", text);
	return -code;
}

/* Text of an extension; cut or with a NUL inside it is nothing that QEMU would have written. */
static bool take_text(char *to, size_t size, const unsigned char *from, size_t len)
{
	if (len >= size || memchr(from, '\0', len))
		return false;
	memcpy(to, from, len);
	to[len] = '\0';
	return true;
}

/* limit: where the extensions end at the latest. */
static int extensions(const struct head *h, size_t at, size_t limit, struct qcow2 *ret, char why[WALK_WHY])
{
	for (unsigned int i = 0; i < EXTENSIONS_MAX && at + 8 <= limit; i++) {
		uint32_t type = be32(h, at), len = be32(h, at + 4);
		const unsigned char *data = h->data + at + 8;

		if (type == EXTENSION_END)
			return 0;
		if (len > limit - at - 8)
			return bad(why, EBADMSG, "its header extensions do not end");
		if (type == EXTENSION_FORMAT && !take_text(ret->format, sizeof(ret->format), data, len))
			return bad(why, EBADMSG, "its header names no format of the backing file");
		if (type == EXTENSION_DATA_FILE && !take_text(ret->data_file, sizeof(ret->data_file), data, len))
			return bad(why, EBADMSG, "its header has no name of a data file");
		at += 8 + ((size_t)len + 7) / 8 * 8;
	}
	return 0; /* without an end mark, at the end of the room there is: QEMU takes it too */
}

static int backing_name(int fd, const struct head *h, struct qcow2 *ret, char why[WALK_WHY])
{
	uint64_t offset = be64(h, 8);
	uint32_t len = be32(h, 16);
	unsigned char text[QCOW2_NAME];

	if (!offset || !len)
		return 0;
	if (offset > ret->cluster || len >= QCOW2_NAME || len > ret->cluster - offset)
		return bad(why, EBADMSG, "the backing file's name lies outside its header");
	if (pread(fd, text, len, (off_t)offset) != (ssize_t)len)
		return bad(why, EIO, "the backing file's name cannot be read");
	if (!take_text(ret->backing, sizeof(ret->backing), text, len))
		return bad(why, EBADMSG, "the backing file's name has a NUL in it");
	return 0;
}

static int geometry(const struct head *h, struct qcow2 *ret, char why[WALK_WHY])
{
	uint32_t version = be32(h, 4), bits = be32(h, 20);
	uint64_t incompatible = version > 2 ? be64(h, 72) : 0, clusters, per_table;

	if (h->len < LENGTH_V2 || be32(h, 0) != MAGIC)
		return bad(why, EBADMSG, "it is not a qcow2 image");
	if (version != 2 && (version != 3 || h->len < LENGTH_V3))
		return bad(why, EBADMSG, "it is not a qcow2 image of version 2 or 3");
	if (bits < CLUSTER_BITS_MIN || bits > CLUSTER_BITS_MAX)
		return bad(why, EBADMSG, "its header has no valid cluster size");
	ret->cluster = UINT64_C(1) << bits;
	ret->size = be64(h, 24);
	clusters = ret->size / ret->cluster + (ret->size % ret->cluster != 0);
	per_table = ret->cluster / (incompatible & INCOMPAT_EXTENDED_L2 ? 16 : 8);
	ret->l2_bytes = (clusters / per_table + (clusters % per_table != 0)) * ret->cluster; /* below 2^60 */
	return 0;
}

static int parse(int fd, const struct head *h, struct qcow2 *ret, char why[WALK_WHY])
{
	uint64_t incompatible, offset;
	size_t start = LENGTH_V2, limit = h->len;
	int r = geometry(h, ret, why);

	if (r < 0)
		return r;
	incompatible = be32(h, 4) > 2 ? be64(h, 72) : 0;
	if (be32(h, 4) > 2)
		start = be32(h, 100);
	if (start < LENGTH_V2 || start > h->len)
		return bad(why, EBADMSG, "its header has no valid length");
	offset = be64(h, 8);
	if (limit > ret->cluster)
		limit = (size_t)ret->cluster;
	if (offset && offset < limit)
		limit = (size_t)offset;
	r = extensions(h, start, limit, ret, why);
	if (r == 0)
		r = backing_name(fd, h, ret, why);
	if (!(incompatible & INCOMPAT_DATA_FILE))
		ret->data_file[0] = '\0';
	return r;
}

/*
 * What it is must be known before it is opened: opening a device node or a FIFO of somebody's choice does things. What
 * comes between is caught by a second look; O_NONBLOCK keeps the open itself from waiting.
 */
static int open_image(const struct hostfs *fs, const char *path, unsigned int mode, bool follow, struct stat *st)
{
	int flags = O_RDONLY | O_NONBLOCK, fd;

	if (!mode)
		return -ENOENT;
	if (!S_ISREG(mode) && !S_ISBLK(mode))
		return -EINVAL;
	/* Logical volumes are links in /dev, and in oVirt's image directories. */
	if (!follow && S_ISREG(mode))
		flags |= O_NOFOLLOW;
	fd = hostfs_open(fs, flags, "%s", path + strspn(path, "/"));
	if (fd < 0)
		return fd;
	if (fstat(fd, st) < 0 || (st->st_mode & S_IFMT) != (mode & S_IFMT)) {
		(void)close(fd); /* nothing was written */
		return -EINVAL;
	}
	return fd;
}

int qcow2_read(const struct hostfs *fs, const char *path, unsigned int mode, bool follow, struct qcow2 *ret,
	       char why[WALK_WHY])
{
	unsigned char data[HEAD_SIZE];
	_cleanup_close_ int fd = -1;
	struct stat st;
	ssize_t n;

	*ret = (struct qcow2){0};
	/* A node in a captured tree has the number of a device of this host, whatever it was where it was captured. */
	if (S_ISBLK(mode) && !fs->real)
		return bad(why, EINVAL, "it is a device node below another root, which is not opened");
	fd = open_image(fs, path, mode, follow, &st);
	if (fd == -EINVAL)
		return bad(why, EINVAL, "it is neither a file nor a block device");
	if (fd == -ELOOP)
		return bad(why, ELOOP, "it is a symbolic link, which is not followed");
	if (fd < 0)
		return bad(why, -fd, err_name(-fd));
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	n = pread(fd, data, sizeof(data), 0);
	if (n < 0)
		return bad(why, errno, err_name(errno));
	return parse(fd, &(struct head){data, (size_t)n}, ret, why);
}

/* "nbd:..." and the like, as QEMU tells them: a colon before the first slash (util/path.c, path_has_protocol()). */
static size_t protocol_of(const char *name)
{
	size_t n = strcspn(name, ":/");

	return name[n] == ':' ? n : 0;
}

int qcow2_resolve(const char *base, const char *name, char path[WALK_PATH], char why[WALK_WHY])
{
	size_t protocol = protocol_of(name), dir = 0;
	char shown[KNOB_SHOW_SIZE];

	if (protocol) {
		char text[32];

		(void)snprintf(text, sizeof(text), "%.*s", (int)(protocol < 20 ? protocol : 20), name);
		(void)snprintf(why, WALK_WHY, "it is no file of this host (%s:)", knob_show(text, shown));
		return -ENOENT;
	}
	if (name[0] != '/' && strrchr(base, '/'))
		dir = (size_t)(strrchr(base, '/') - base) + 1;
	if (snprintf(path, WALK_PATH, "%.*s%s", (int)dir, base, name) >= WALK_PATH)
		return bad(why, ENOENT, err_name(ENAMETOOLONG));
	return 0;
}
