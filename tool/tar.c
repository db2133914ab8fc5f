/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tool/tar.h"

#define TAR_BLOCK 512

/* Text fields are NUL-terminated unless full, numbers are octal and NUL-terminated. */
struct header {
	char name[100];
	char mode[8], uid[8], gid[8];
	char size[12], mtime[12];
	char checksum[8];
	char type;
	char linkname[100];
	char magic[6], version[2];
	char uname[32], gname[32];
	char devmajor[8], devminor[8];
	char prefix[155];
	char padding[12];
};

_Static_assert(sizeof(struct header) == TAR_BLOCK, "ustar header");

/* A long name is cut at a "/": what is before it goes into prefix, what follows into name. */
static int put_name(struct header *h, const char *name)
{
	size_t len = strlen(name);
	const char *cut = name;

	while (len - (size_t)(cut - name) > sizeof(h->name)) {
		cut = strchr(cut, '/');
		if (!cut || (size_t)(cut - name) > sizeof(h->prefix))
			return -ENAMETOOLONG;
		cut++;
	}
	if (cut > name)
		memcpy(h->prefix, name, (size_t)(cut - name) - 1);
	memcpy(h->name, cut, len - (size_t)(cut - name));
	return 0;
}

static void put_checksum(struct header *h)
{
	const unsigned char *p = (const unsigned char *)h;
	unsigned int sum = 0;

	memset(h->checksum, ' ', sizeof(h->checksum)); /* it counts as blanks in its own sum */
	for (size_t i = 0; i < sizeof(*h); i++)
		sum += p[i];
	(void)snprintf(h->checksum, sizeof(h->checksum), "%06o", sum & 0777777); /* at most 512 * 255 */
}

/* What all headers share. -ENAMETOOLONG, -EFBIG. */
static int fill_header(struct header *h, char type, const char *name, unsigned int mode, size_t len)
{
	int r;

	*h = (struct header){ .type = type, .magic = "ustar", .version = "00", .uname = "root", .gname = "root" };
	r = put_name(h, name);
	if (r < 0)
		return r;
	if (len > 077777777777)
		return -EFBIG;
	(void)snprintf(h->mode, sizeof(h->mode), "%07o", mode & 07777);
	(void)snprintf(h->uid, sizeof(h->uid), "%07o", 0);
	(void)snprintf(h->gid, sizeof(h->gid), "%07o", 0);
	(void)snprintf(h->size, sizeof(h->size), "%011llo", (unsigned long long)len);
	(void)snprintf(h->mtime, sizeof(h->mtime), "%011o", 0);
	return 0;
}

static int put_entry(FILE *f, struct header *h, const char *data, size_t len)
{
	static const char zeros[TAR_BLOCK];

	put_checksum(h);
	(void)fwrite(h, 1, sizeof(*h), f);
	(void)fwrite(data, 1, len, f);
	(void)fwrite(zeros, 1, (TAR_BLOCK - len % TAR_BLOCK) % TAR_BLOCK, f);
	return ferror(f) ? -EIO : 0;
}

int tar_add(FILE *f, const char *name, unsigned int mode, const char *data, size_t len)
{
	struct header h;
	int r = fill_header(&h, '0', name, mode, len);

	return r < 0 ? r : put_entry(f, &h, data, len);
}

/* pax(1), "pax Extended Header": "LENGTH linkpath=TARGET\n", the length counting itself. */
static int put_long_target(FILE *f, const char *name, const char *target)
{
	char record[TAR_TARGET_MAX + 32];
	size_t len = strlen(" linkpath=\n") + strlen(target), digits = 1;
	struct header h;
	int r;

	while (snprintf(NULL, 0, "%zu", len + digits) > (int)digits)
		digits++;
	len += digits;
	(void)snprintf(record, sizeof(record), "%zu linkpath=%s\n", len, target); /* fits: two or three digits */
	r = fill_header(&h, 'x', name, 0644, len);
	return r < 0 ? r : put_entry(f, &h, record, len);
}

int tar_link(FILE *f, const char *name, const char *target)
{
	size_t len = strlen(target);
	struct header h;
	int r = fill_header(&h, '2', name, 0777, 0);

	if (r < 0 || len >= TAR_TARGET_MAX)
		return r < 0 ? r : -ENAMETOOLONG;
	if (len > sizeof(h.linkname)) {
		r = put_long_target(f, name, target);
		len = 0;
	}
	memcpy(h.linkname, target, len);
	return r < 0 ? r : put_entry(f, &h, "", 0);
}

int tar_end(FILE *f)
{
	static const char zeros[2 * TAR_BLOCK];

	(void)fwrite(zeros, 1, sizeof(zeros), f);
	return fflush(f) != 0 || ferror(f) ? -EIO : 0;
}
