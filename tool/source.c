/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tool/source.h"

#include <fnmatch.h>

#include "common/domain.h"
#include "common/paths.h"
#include "tool/out.h"

#define DEFINITIONS "etc/libvirt/qemu"

/* Below --root definitions are files; a --connect given with it wins. */
static bool by_files(const struct source *s)
{
	return s->t->root && !s->t->uri;
}

static int open_virt(struct source *s, struct err *e)
{
	return s->virt ? 0 : virt_open(s->t->uri, true, &s->virt, e);
}

void source_fini(struct source *s)
{
	virt_close(s->virt);
	s->virt = NULL;
}

static int read_definition(struct source *s, const char *name, struct source_xml *ret)
{
	int r = hostfs_is_name(name) ? 0 : -ENOENT;

	if (r == 0)
		r = hostfs_read_all(&s->t->fs, DOMAIN_XML_MAX, &ret->text, &ret->len, DEFINITIONS "/%s.xml", name);
	if (r == -ENOENT)
		return tool_fail(TOOL_CANNOT, name, "no such domain, %s has no definition of it",
				 tool_path(s->t, DEFINITIONS));
	return r < 0 ? tool_fail_err(name, r, NULL) : 0;
}

static int read_virt(struct source *s, const char *name, bool live, struct source_xml *ret)
{
	struct virt_domain *d = NULL;
	struct err e = ERR_INIT;
	int r;

	r = open_virt(s, &e);
	if (r < 0)
		return tool_fail_err("libvirt", r, &e);
	r = virt_find(s->virt, name, &d, &e);
	if (r < 0)
		return tool_fail_err(name, r, &e);
	if (live && !virt_domain_is_active(d)) {
		virt_domain_free(d);
		return tool_fail(TOOL_CANNOT, name, "--live: it is not running");
	}
	r = virt_domain_xml(d, live ? VIRT_XML_LIVE : VIRT_XML_NEXT, &ret->text, &e);
	virt_domain_free(d);
	if (r < 0)
		return tool_fail_err(name, r, &e);
	ret->len = strlen(ret->text);
	return 0;
}

int source_read(struct source *s, const char *operand, bool live, struct source_xml *ret)
{
	struct err e = ERR_INIT;
	int r;

	*ret = (struct source_xml){ .running = live };
	if (streq(operand, "-") || tool_is_file(operand)) {
		r = tool_read_input(operand, DOMAIN_XML_MAX, &ret->text, &ret->len, &e);
		return r < 0 ? tool_fail_err(streq(operand, "-") ? "stdin" : operand, r, &e) : 0;
	}
	if (by_files(s) && live)
		return tool_fail(TOOL_CANNOT, operand, "--live: nothing runs below --root");
	return by_files(s) ? read_definition(s, operand, ret) : read_virt(s, operand, live, ret);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_definitions(struct source *s, char ***ret)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(&s->t->fs, DEFINITIONS);
	char **names = NULL;
	size_t n = 0;

	if (!dir)
		return tool_fail_err(tool_path(s->t, DEFINITIONS), errno, NULL);
	for (const struct dirent *d = readdir(dir);; d = readdir(dir)) {
		char **more = reallocarray(names, n + 1, sizeof(*names));

		if (!more)
			goto fail;
		names = more;
		names[n] = NULL;
		if (!d)
			break;
		if (fnmatch("?*.xml", d->d_name, 0) != 0)
			continue;
		names[n] = strndup(d->d_name, strlen(d->d_name) - strlen(".xml"));
		if (!names[n++])
			goto fail;
	}
	qsort(names, n, sizeof(*names), by_name);
	*ret = names;
	return 0;
fail:
	virt_free_names(names);
	return tool_fail_err("names", ENOMEM, NULL);
}

int source_names(struct source *s, char ***ret)
{
	struct err e = ERR_INIT;
	int r;

	if (by_files(s))
		return list_definitions(s, ret);
	r = open_virt(s, &e);
	if (r == 0)
		r = virt_names(s->virt, ret, &e);
	return r < 0 ? tool_fail_err("libvirt", r, &e) : 0;
}

int source_knows(struct source *s, const char *name, struct err *e)
{
	struct virt_domain *d = NULL;
	int r;

	if (by_files(s))
		return hostfs_is_name(name) && (hostfs_exists(&s->t->fs, DEFINITIONS "/%s.xml", name) ||
						hostfs_exists(&s->t->fs, PATH_LIBVIRT_RUN "/%s.pid", name));
	r = open_virt(s, e);
	if (r < 0)
		return r;
	r = virt_find(s->virt, name, &d, e);
	virt_domain_free(d);
	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

int source_nothing_in_force(struct tool *t, const char *name)
{
	struct source source = { .t = t };
	struct err e = ERR_INIT;
	int r = source_knows(&source, name, &e);

	source_fini(&source);
	if (r < 0)
		return tool_fail(TOOL_CANNOT, name,
				 "nothing of it is in force, and whether it exists cannot be asked: %s", e.text);
	if (r == 0)
		return tool_fail(TOOL_CANNOT, name, "no such domain");
	if (!tool_has(t, TOOL_OPT_JSON))
		out_line(OUT_PLAIN, 0, "%s: nothing is in force for it", name);
	return TOOL_OK;
}
