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

int tar_add(FILE *f, const char *name, unsigned int mode, const char *data, size_t len)
{
	static const char zeros[TAR_BLOCK];
	struct header h = { .type = '0', .magic = "ustar", .version = "00", .uname = "root", .gname = "root" };
	int r = put_name(&h, name);

	if (r < 0)
		return r;
	if (len > 077777777777)
		return -EFBIG;
	(void)snprintf(h.mode, sizeof(h.mode), "%07o", mode & 07777);
	(void)snprintf(h.uid, sizeof(h.uid), "%07o", 0);
	(void)snprintf(h.gid, sizeof(h.gid), "%07o", 0);
	(void)snprintf(h.size, sizeof(h.size), "%011llo", (unsigned long long)len);
	(void)snprintf(h.mtime, sizeof(h.mtime), "%011o", 0);
	put_checksum(&h);
	(void)fwrite(&h, 1, sizeof(h), f);
	(void)fwrite(data, 1, len, f);
	(void)fwrite(zeros, 1, (TAR_BLOCK - len % TAR_BLOCK) % TAR_BLOCK, f);
	return ferror(f) ? -EIO : 0;
}

int tar_end(FILE *f)
{
	static const char zeros[2 * TAR_BLOCK];

	(void)fwrite(zeros, 1, sizeof(zeros), f);
	return fflush(f) != 0 || ferror(f) ? -EIO : 0;
}
