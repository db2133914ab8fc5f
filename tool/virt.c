/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One table of the functions that are used makes the struct of pointers and the loop that fills it. The library
 * is never unloaded: it leaves atexit handlers and threads of its own behind.
 */
#include "tool/virt.h"

#include <dlfcn.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "common/num.h"
#include "common/policy.h"

#define METADATA_KEY "domtune"

/* clang-format off */
#define FUNCTIONS(F)               \
	F(virSetErrorFunc)         \
	F(virGetLastError)         \
	F(virResetLastError)       \
	F(virConnectOpen)          \
	F(virConnectOpenReadOnly)  \
	F(virConnectClose)         \
	F(virConnectListAllDomains)\
	F(virDomainLookupByName)   \
	F(virDomainLookupByUUIDString) \
	F(virDomainFree)           \
	F(virDomainGetName)        \
	F(virDomainGetUUIDString)  \
	F(virDomainIsActive)       \
	F(virDomainIsPersistent)   \
	F(virDomainHasManagedSaveImage) \
	F(virDomainGetXMLDesc)     \
	F(virDomainGetMetadata)    \
	F(virDomainSetMetadata)    \
	F(virDomainDefineXMLFlags)
/* clang-format on */

struct virt {
	void *library;
	virConnectPtr conn;
#define F(name) __typeof__(&name) name;
	FUNCTIONS(F)
#undef F
};

struct virt_domain {
	struct virt *v;
	virDomainPtr dom;
	char uuid[VIR_UUID_STRING_BUFLEN];
	bool active, persistent, managed_save;
};

static const struct {
	const char *name;
	size_t offset;
} symbols[] = {
#define F(name) { #name, offsetof(struct virt, name) },
	FUNCTIONS(F)
#undef F
};

static void print_nothing(void *data, virErrorPtr error)
{
	(void)data;
	(void)error;
}

/* libvirt's last error into e. Returns -code. */
static int last_error(struct virt *v, int code, struct err *e)
{
	virErrorPtr error = v->virGetLastError();

	return err_set(e, code, "%s", error && error->message ? error->message : "libvirt gives no reason");
}

static int load(struct virt *v, struct err *e)
{
	v->library = dlopen("libvirt.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!v->library)
		return err_set(e, ENOENT, "libvirt.so.0 cannot be loaded, %s", dlerror());
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		void *f = dlsym(v->library, symbols[i].name);

		if (!f)
			return err_set(e, ENOENT, "this libvirt.so.0 has no %s", symbols[i].name);
		memcpy((char *)v + symbols[i].offset, &f, sizeof(f));
	}
	return 0;
}

int virt_open(const char *uri, bool read_only, struct virt **ret, struct err *e)
{
	struct virt *v = calloc(1, sizeof(*v));
	const char *env = getenv("LIBVIRT_DEFAULT_URI");
	int r;

	if (!v)
		return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
	r = load(v, e);
	if (r < 0)
		goto out;
	if (!uri)
		uri = env && *env ? env : "qemu:///system";
	v->virSetErrorFunc(NULL, print_nothing);
	v->conn = read_only ? v->virConnectOpenReadOnly(uri) : v->virConnectOpen(uri);
	if (!v->conn) {
		r = last_error(v, ECONNREFUSED, e);
		goto out;
	}
	*ret = steal_ptr(&v);
out:
	free(v);
	return r;
}

void virt_close(struct virt *v)
{
	if (!v)
		return;
	(void)v->virConnectClose(v->conn);
	free(v);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void virt_free_names(char **names)
{
	for (char **n = names; n && *n; n++)
		free(*n);
	free(names);
}

int virt_names(struct virt *v, char ***ret, struct err *e)
{
	virDomainPtr *list = NULL;
	char **names = NULL;
	int n, got = 0;

	n = v->virConnectListAllDomains(v->conn, &list, 0);
	if (n < 0)
		return last_error(v, EIO, e);
	names = calloc((size_t)n + 1, sizeof(*names));
	for (int i = 0; i < n; i++) {
		if (names && got == i) {
			names[got] = strdup(v->virDomainGetName(list[i]));
			got += names[got] != NULL;
		}
		(void)v->virDomainFree(list[i]);
	}
	free(list);
	if (!names || got < n) {
		virt_free_names(names);
		return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
	}
	qsort(names, (size_t)n, sizeof(*names), by_name);
	*ret = names;
	return 0;
}

int virt_find(struct virt *v, const char *name, struct virt_domain **ret, struct err *e)
{
	struct virt_domain *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
	d->v = v;
	d->dom = v->virDomainLookupByName(v->conn, name);
	if (!d->dom && uuid_is_valid(name))
		d->dom = v->virDomainLookupByUUIDString(v->conn, name);
	if (!d->dom) {
		virErrorPtr error = v->virGetLastError();

		if (!error || error->code == VIR_ERR_NO_DOMAIN)
			r = err_set(e, ENOENT, "no such domain");
		else
			r = last_error(v, EIO, e);
		free(d);
		return r;
	}
	d->active = v->virDomainIsActive(d->dom) == 1;
	d->persistent = v->virDomainIsPersistent(d->dom) == 1;
	d->managed_save = v->virDomainHasManagedSaveImage(d->dom, 0) == 1;
	if (v->virDomainGetUUIDString(d->dom, d->uuid) < 0)
		d->uuid[0] = '\0';
	*ret = d;
	return 0;
}

void virt_domain_free(struct virt_domain *d)
{
	if (!d)
		return;
	(void)d->v->virDomainFree(d->dom);
	free(d);
}

const char *virt_domain_name(const struct virt_domain *d)
{
	return d->v->virDomainGetName(d->dom);
}

const char *virt_domain_uuid(const struct virt_domain *d)
{
	return d->uuid;
}

bool virt_domain_is_active(const struct virt_domain *d)
{
	return d->active;
}

bool virt_domain_is_persistent(const struct virt_domain *d)
{
	return d->persistent;
}

bool virt_domain_has_managed_save(const struct virt_domain *d)
{
	return d->managed_save;
}

int virt_domain_xml(struct virt_domain *d, enum virt_xml what, char **ret, struct err *e)
{
	static const unsigned int flags[] = {
		[VIRT_XML_NEXT] = VIR_DOMAIN_XML_INACTIVE,
		[VIRT_XML_LIVE] = 0,
		[VIRT_XML_DEFINITION] = VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE,
	};

	*ret = d->v->virDomainGetXMLDesc(d->dom, flags[what]);
	return *ret ? 0 : last_error(d->v, EIO, e);
}

/* A transient domain has no other configuration than the live one. */
static unsigned int affected(const struct virt_domain *d)
{
	return d->persistent ? VIR_DOMAIN_AFFECT_CONFIG : VIR_DOMAIN_AFFECT_LIVE;
}

int virt_domain_annotation(struct virt_domain *d, char **ret, struct err *e)
{
	struct virt *v = d->v;

	*ret = v->virDomainGetMetadata(d->dom, VIR_DOMAIN_METADATA_ELEMENT, TUNE_NS, affected(d));
	if (!*ret) {
		virErrorPtr error = v->virGetLastError();

		if (!error || error->code != VIR_ERR_NO_DOMAIN_METADATA)
			return last_error(v, EIO, e);
		v->virResetLastError();
	}
	return 0;
}

int virt_domain_annotate(struct virt_domain *d, const char *xml, struct err *e)
{
	if (d->v->virDomainSetMetadata(d->dom, VIR_DOMAIN_METADATA_ELEMENT, xml, xml ? METADATA_KEY : NULL, TUNE_NS,
				       affected(d)) < 0)
		return last_error(d->v, EIO, e);
	return 0;
}

int virt_define(struct virt *v, const char *xml, struct err *e)
{
	virDomainPtr dom = v->virDomainDefineXMLFlags(v->conn, xml, 0);

	if (!dom)
		return last_error(v, EIO, e);
	(void)v->virDomainFree(dom);
	return 0;
}
