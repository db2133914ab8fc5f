/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * <emulator> is replaced in the definition as libvirt prints it, secrets included, and handed back: libvirt
 * probes the wrapper then, so a wrapper that may not be run (AppArmor, a missing file) fails here and the old
 * definition stays. What is replaced is recorded first: without the record the wrapper finds the emulator by its
 * name, and only emulators for which that gives the same file are wrapped at all. So no definition depends on
 * the record.
 */
#include "tool/emulator.h"

#include <libxml/tree.h>
#include <sys/stat.h>

#include "common/domain.h"
#include "common/paths.h"
#include "common/policy.h"
#include "common/qemucaps.h"

#define XS(text) ((const xmlChar *)(text))

struct definition {
	xmlDoc *doc;
	xmlNode *emulator;
	char *path; /* its text */
};

static void definition_fini(struct definition *def)
{
	free(def->path);
	xmlFreeDoc(def->doc);
}

static xmlNode *child(xmlNode *of, const char *name)
{
	for (xmlNode *n = of ? of->children : NULL; n; n = n->next)
		if (n->type == XML_ELEMENT_NODE && xmlStrEqual(n->name, XS(name)))
			return n;
	return NULL;
}

static int read_definition(struct virt_domain *d, enum virt_xml what, struct definition *ret, struct err *e)
{
	struct definition def = { 0 };
	_cleanup_free_ char *xml = NULL;
	xmlChar *text;
	int r;

	r = virt_domain_xml(d, what, &xml, e);
	if (r < 0)
		return r;
	def.doc = xml_parse(xml, strlen(xml), DOMAIN_XML_MAX, e);
	if (!def.doc)
		return -EBADMSG;
	def.emulator = child(child(xmlDocGetRootElement(def.doc), "devices"), "emulator");
	text = def.emulator ? xmlNodeGetContent(def.emulator) : NULL;
	if (text)
		def.path = strdup((const char *)text);
	xmlFree(text);
	if (!def.path) {
		definition_fini(&def);
		return err_set(e, ENOENT, "the definition names no <emulator>");
	}
	*ret = def;
	return 0;
}

/* Put another emulator in and define the domain again. */
static int redefine(struct virt *v, struct definition *def, const char *path, struct err *e)
{
	xmlChar *text = NULL;
	int size, r;

	xmlNodeSetContent(def->emulator, XS("")); /* sets markup; the text is added as text */
	xmlNodeAddContent(def->emulator, XS(path));
	xmlDocDumpMemoryEnc(def->doc, &text, &size, "UTF-8");
	r = text ? virt_define(v, (const char *)text, e) : err_set(e, ENOMEM, "%s", err_name(ENOMEM));
	xmlFree(text);
	return r;
}

int emulator_is_wrapped(struct virt_domain *d, struct err *e)
{
	struct definition def;
	int r = read_definition(d, VIRT_XML_NEXT, &def, e);

	if (r < 0)
		return r;
	r = qemucaps_is_wrapper(def.path);
	definition_fini(&def);
	return r;
}

/* The wrapper for an emulator, into buf. */
static int choose_wrapper(const struct hostfs *fs, const char *emulator, char *buf, size_t size, struct err *e)
{
	const char *base = strrchr(emulator, '/');
	struct stat own, found;
	char by_name[4096];

	if (!base || !hostfs_is_name(base + 1))
		return err_set(e, EINVAL, "its emulator '%s' is not an absolute path", emulator);
	if ((size_t)snprintf(buf, size, "%s%s", DT_HELPERS, base) >= size)
		return err_set(e, ENAMETOOLONG, "its emulator's name is too long");
	if (qemucaps_real_emulator(fs, "", buf, by_name, sizeof(by_name)) < 0 ||
	    hostfs_stat(fs, &own, "%s", emulator + 1) < 0 || hostfs_stat(fs, &found, "%s", by_name + 1) < 0 ||
	    own.st_dev != found.st_dev || own.st_ino != found.st_ino)
		return err_set(e, EOPNOTSUPP,
			       "its emulator %s is not one that the wrapper would find again by its name; CPUs, "
			       "cgroups and everything else that the hook does work without the wrapper, memory.pages, "
			       "prealloc and the memory policy of the first pages do not",
			       emulator);
	if (!hostfs_exists(fs, "%s", buf + 1))
		return err_set(e, ENOENT, "there is no wrapper for its emulator %s, %s is missing", emulator, buf);
	return 0;
}

static int refuse_transient(const struct virt_domain *d, struct err *e)
{
	if (virt_domain_is_persistent(d))
		return 0;
	return err_set(e, EOPNOTSUPP,
		       "transient, it has no definition to change; <emulator> has to be in the XML it is "
		       "created from");
}

int emulator_wrap(struct tool *t, struct virt *v, struct virt_domain *d, struct err *e)
{
	struct definition def;
	char wrapper[4096];
	int r;

	r = refuse_transient(d, e);
	if (r == 0)
		r = read_definition(d, VIRT_XML_DEFINITION, &def, e);
	if (r < 0)
		return r;
	if (qemucaps_is_wrapper(def.path)) {
		definition_fini(&def);
		return 0;
	}
	r = choose_wrapper(&t->fs, def.path, wrapper, sizeof(wrapper), e);
	if (r == 0)
		r = qemucaps_keep_emulator(&t->fs, virt_domain_uuid(d), def.path, e);
	if (r == 0) {
		r = redefine(v, &def, wrapper, e);
		if (r < 0)
			(void)qemucaps_forget_emulator(&t->fs, virt_domain_uuid(d)); /* harmless if it stays */
	}
	definition_fini(&def);
	return r < 0 ? r : 1;
}

int emulator_unwrap(struct tool *t, struct virt *v, struct virt_domain *d, struct err *e)
{
	struct definition def;
	char real[4096];
	int r;

	r = refuse_transient(d, e);
	if (r == 0)
		r = read_definition(d, VIRT_XML_DEFINITION, &def, e);
	if (r < 0)
		return r;
	if (!qemucaps_is_wrapper(def.path)) {
		definition_fini(&def);
		return 0;
	}
	r = qemucaps_real_emulator(&t->fs, virt_domain_uuid(d), def.path, real, sizeof(real));
	if (r < 0)
		r = err_set(e, -r, "the emulator behind %s cannot be found", def.path);
	else
		r = redefine(v, &def, real, e);
	definition_fini(&def);
	if (r < 0)
		return r;
	(void)qemucaps_forget_emulator(&t->fs, virt_domain_uuid(d)); /* nobody asks for it any more */
	return 1;
}
