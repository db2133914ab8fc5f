/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's options have one dash or two, and either no argument or exactly one, which may look like an option
 * itself (-append "-uuid x"). So the walk needs to know which have none. An option without argument that is
 * not in the table below swallows the word after it; the walk then ends at a word that is no option, or
 * misses an option: both lead to "left as it was", never to a wrong edit.
 */
#include "wrapper/argv.h"

#include <ctype.h>
#include <limits.h>

#include "common/num.h"

/* QEMU's qemu-options.hx, every DEF() without HAS_ARG from 5.2 to 10.1, all targets. Sorted. */
static const char *const flags[] = {
	"S", "alt-grab", "async-teardown", "audio-help", "ctrl-grab", "curses", "daemonize", "enable-fips",
	"enable-hax", "enable-kvm", "enable-sync-profile", "full-screen", "h", "help", "jitdump", "mem-prealloc",
	"no-acpi", "no-fd-bootchk", "no-hpet", "no-quit", "no-reboot", "no-shutdown", "no-user-config", "nodefaults",
	"nographic", "old-param", "only-migratable", "perfmap", "portrait", "preconfig", "s", "sdl", "semihosting",
	"show-cursor", "singlestep", "snapshot", "usb", "version", "win2k-hack", "xen-attach", "xen-domid-restrict",
};

static int compare_flags(const void *key, const void *row)
{
	return strcmp(key, *(const char *const *)row);
}

static bool is_flag(const char *name)
{
	return bsearch(name, flags, ARRAY_SIZE(flags), sizeof(flags[0]), compare_flags) != NULL;
}

int argv_next(int argc, char *const *argv, int *pos, struct argv_option *ret)
{
	int i = *pos;
	const char *word;

	if (i >= argc)
		return 0;
	word = argv[i];
	if (word[0] != '-' || word[1] == '\0')
		return -EBADMSG;
	word += word[1] == '-' ? 2 : 1;
	if (is_flag(word)) {
		*ret = (struct argv_option){ .name = word, .at = i };
	} else {
		if (++i >= argc)
			return -EBADMSG;
		*ret = (struct argv_option){ .name = word, .value = argv[i], .at = i };
	}
	*pos = i + 1;
	return 1;
}

bool argv_may_be_guest(int argc, char *const *argv)
{
	for (int i = 1; i < argc; i++) {
		if (streq(argv[i], "-uuid"))
			return true;
	}
	return false;
}

struct reading {
	struct argv_guest guest;
	unsigned int uuids, machines;
	bool named;   /* -name guest= */
	bool probing;
};

static int read_uuid(struct reading *r, const char *value)
{
	r->uuids++;
	if (!uuid_is_valid(value))
		return -EBADMSG;
	for (size_t i = 0; i < sizeof(r->guest.uuid); i++)
		r->guest.uuid[i] = (char)tolower((unsigned char)value[i]);
	return 0;
}

static int read_name(struct reading *r, const char *value)
{
	r->named = str_starts(value, "guest=");
	return 0;
}

static int read_machine(struct reading *r, const char *value)
{
	size_t len = strcspn(value, ",");

	r->machines++;
	if (str_starts(value, "type="))
		value += 5, len -= 5;
	if (len == 4 && strncmp(value, "none", len) == 0)
		r->probing = true;
	return 0;
}

static int read_probing(struct reading *r, const char *value)
{
	(void)value; /* these options have none */
	r->probing = true;
	return 0;
}

/*
 * The number in ".../domain-ID-NAME/FILE": libvirt's private directory of one start (virDomainDefGetShortName:
 * NAME is cut after 20 characters; ID comes first, so a NAME like "3-x" does not confuse).
 * -ENOENT: not such a path.
 */
static int read_domain_dir(const char *path, const char *file, int *ret)
{
	const char *slash = strrchr(path, '/'), *dir = slash, *p;
	uint64_t id = 0;

	if (!slash || !streq(slash + 1, file))
		return -ENOENT;
	while (dir > path && dir[-1] != '/')
		dir--;
	if (!str_starts(dir, "domain-"))
		return -ENOENT;
	p = dir + strlen("domain-");
	if (*p < '1' || *p > '9')
		return -EBADMSG;
	for (; *p >= '0' && *p <= '9'; p++) {
		id = id * 10 + (uint64_t)(*p - '0');
		if (id > INT_MAX)
			return -EBADMSG;
	}
	if (p[0] != '-' || p + 1 >= slash)
		return -EBADMSG;
	*ret = (int)id;
	return 0;
}

/* An option whose value names a file in that directory. */
static const struct place {
	const char *type, *id, *member, *file;
} object_place = { "secret", "masterKey0", "file", "master-key.aes" },
  chardev_place = { "socket", "charmonitor", "path", "monitor.sock" };

static int read_place(struct reading *r, const char *value, const char *implied, const struct place *p)
{
	_cleanup_obj_ struct obj o = { 0 };
	const char *type, *name, *path;
	int id = 0, e;

	if (!strstr(value, p->file))
		return 0;
	e = obj_parse(value, implied, &o);
	if (e < 0)
		return e == -ENOMEM ? e : -EBADMSG;
	type = obj_str(&o, implied);
	name = obj_str(&o, "id");
	path = obj_str(&o, p->member);
	if (!type || !streq(type, p->type) || !name || !streq(name, p->id) || !path)
		return 0;
	e = read_domain_dir(path, p->file, &id);
	if (e == -ENOENT)
		return 0;
	if (e < 0 || (r->guest.id && r->guest.id != id))
		return -EBADMSG;
	r->guest.id = id;
	return 0;
}

static int read_object(struct reading *r, const char *value)
{
	return read_place(r, value, "qom-type", &object_place);
}

static int read_chardev(struct reading *r, const char *value)
{
	return read_place(r, value, "backend", &chardev_place);
}

static const struct {
	const char *name;
	int (*read)(struct reading *r, const char *value);
} options[] = {
	{ "uuid", read_uuid },         { "name", read_name },          { "machine", read_machine },
	{ "M", read_machine },         { "object", read_object },      { "chardev", read_chardev },
	{ "daemonize", read_probing }, { "version", read_probing },    { "help", read_probing },
	{ "h", read_probing },         { "audio-help", read_probing },
};

int argv_read_guest(int argc, char *const *argv, struct argv_guest *ret)
{
	struct reading r = { 0 };
	struct argv_option o;
	int pos = 1, e;

	while ((e = argv_next(argc, argv, &pos, &o)) > 0) {
		for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
			if (streq(o.name, options[i].name) && (e = options[i].read(&r, o.value)) < 0)
				return e;
		}
		if (r.probing)
			return -ENOENT;
	}
	if (e < 0)
		return e;
	if (r.uuids > 1 || r.machines > 1)
		return -EBADMSG;
	if (!r.named || !r.uuids || !r.machines || !r.guest.id)
		return -ENOENT;
	*ret = r.guest;
	return 0;
}

int argv_edit_init(struct argv_edit *e, int argc, char *const *argv)
{
	char **v = calloc((size_t)argc + 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	memcpy(v, argv, (size_t)argc * sizeof(*v));
	*e = (struct argv_edit){ .v = v, .n = argc };
	return 0;
}

void argv_edit_fini(struct argv_edit *e)
{
	for (int i = 0; i < e->n_owned; i++)
		free(e->owned[i]);
	free(e->owned);
	free(e->v);
	*e = (struct argv_edit){ 0 };
}

static int own(struct argv_edit *e, char *value)
{
	char **owned = value ? reallocarray(e->owned, (size_t)e->n_owned + 1, sizeof(*owned)) : NULL;

	if (!owned) {
		free(value);
		return -ENOMEM;
	}
	e->owned = owned;
	e->owned[e->n_owned++] = value;
	return 0;
}

int argv_edit_replace(struct argv_edit *e, int at, char *value)
{
	int r = own(e, value);

	if (r == 0)
		e->v[at] = value;
	return r;
}

int argv_edit_insert(struct argv_edit *e, int at, const char *option, char *value)
{
	char **v;
	int r = own(e, value);

	if (r < 0)
		return r;
	v = reallocarray(e->v, (size_t)e->n + 3, sizeof(*v));
	if (!v)
		return -ENOMEM;
	memmove(v + at + 2, v + at, (size_t)(e->n - at + 1) * sizeof(*v));
	v[at] = (char *)(uintptr_t)option; /* execve(2) takes char *const[], but changes no word */
	v[at + 1] = value;
	e->v = v;
	e->n += 2;
	return 0;
}
