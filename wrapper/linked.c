/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The dynamic section, found by the program headers as the loader does (elf(5)); section headers may be stripped. */
#include "wrapper/linked.h"

#include <fcntl.h>
#include <link.h>

#define HEADERS_MAX 128  /* QEMU has some 15 */
#define DYNAMIC_MAX 4096 /* entries; QEMU has some 100 */
#define NAME_SIZE   64   /* of a library, as far as it is compared */

struct image {
	int fd;
	ElfW(Phdr) headers[HEADERS_MAX];
	unsigned int n_headers;
	ElfW(Dyn) * dynamic;
	size_t n_dynamic;
	ElfW(Addr) names; /* virtual address of the string table */
};

static bool read_at(int fd, void *buf, size_t size, uint64_t at)
{
	return at <= INT64_MAX && pread(fd, buf, size, (off_t)at) == (ssize_t)size;
}

static bool read_headers(struct image *i)
{
	ElfW(Ehdr) h;

	if (!read_at(i->fd, &h, sizeof(h), 0) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 ||
	    h.e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) ||
	    h.e_phentsize != sizeof(i->headers[0]) || h.e_phnum == 0 || h.e_phnum > HEADERS_MAX)
		return false;
	i->n_headers = h.e_phnum;
	return read_at(i->fd, i->headers, h.e_phnum * sizeof(i->headers[0]), h.e_phoff);
}

static bool read_dynamic(struct image *i)
{
	for (unsigned int k = 0; k < i->n_headers; k++) {
		const ElfW(Phdr) *h = &i->headers[k];

		if (h->p_type != PT_DYNAMIC)
			continue;
		i->n_dynamic = h->p_filesz / sizeof(i->dynamic[0]);
		if (i->n_dynamic == 0 || i->n_dynamic > DYNAMIC_MAX)
			return false;
		i->dynamic = calloc(i->n_dynamic, sizeof(i->dynamic[0]));
		return i->dynamic && read_at(i->fd, i->dynamic, i->n_dynamic * sizeof(i->dynamic[0]), h->p_offset);
	}
	return false;
}

static bool find_names(struct image *i)
{
	for (size_t k = 0; k < i->n_dynamic && i->dynamic[k].d_tag != DT_NULL; k++)
		if (i->dynamic[k].d_tag == DT_STRTAB)
			i->names = i->dynamic[k].d_un.d_ptr;
	return i->names != 0;
}

/* The text at a virtual address, cut; "" if there is none. */
static void name_at(const struct image *i, uint64_t address, char buf[NAME_SIZE])
{
	ssize_t n = 0;

	for (unsigned int k = 0; k < i->n_headers; k++) {
		const ElfW(Phdr) *h = &i->headers[k];

		if (h->p_type == PT_LOAD && address >= h->p_vaddr && address - h->p_vaddr < h->p_filesz)
			n = pread(i->fd, buf, NAME_SIZE - 1, (off_t)(address - h->p_vaddr + h->p_offset));
	}
	buf[n > 0 ? n : 0] = '\0';
}

static bool needs(const struct image *i, const char *library)
{
	char name[NAME_SIZE];

	for (size_t k = 0; k < i->n_dynamic && i->dynamic[k].d_tag != DT_NULL; k++) {
		if (i->dynamic[k].d_tag != DT_NEEDED)
			continue;
		name_at(i, (uint64_t)i->names + i->dynamic[k].d_un.d_val, name);
		if (str_starts(name, library))
			return true;
	}
	return false;
}

int linked_with(const struct hostfs *fs, const char *program, const char *library, struct err *e)
{
	struct image i = {.fd = program[0] == '/' ? hostfs_open(fs, O_RDONLY, "%s", program + 1) : -ENOENT};
	int r = 0;

	if (i.fd < 0)
		return err_set(e, -i.fd, "%s: %s", program, err_name(-i.fd));
	if (!read_headers(&i) || !read_dynamic(&i) || !find_names(&i))
		r = err_set(e, ENOEXEC, "%s: cannot be seen whether it has %s", program, library);
	else if (!needs(&i, library))
		r = err_set(e, ENOENT, "%s was built without %s", program, library);
	free(i.dynamic);
	(void)close(i.fd); /* read only */
	return r;
}
