/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * systemd's manager on the system bus, through sd-bus. libsystemd is loaded at the first use: only a weight on a
 * machined host needs it, and linking it would cost each hook phase its relocations.
 *
 * All waits together are bounded. The connection is made once per process; after it failed or the time was spent,
 * nothing more is asked of the bus (neither a dead manager nor a slow one may cost its time once per setting). A timeout is
 * told as such: what a manager has not answered is there, and stays on record. Units are looked up once.
 */
#include "be_unit_priv.h"

#include <dlfcn.h>
#include <systemd/sd-bus.h>
#include <time.h>

#include "hostfs.h"
#include "patience.h"

/* For the connection and all calls of a process together: the lock of the ledger is held meanwhile. */
static uint64_t budget_us(void)
{
	return (uint64_t)patience_bus_ms() * 1000;
}

#define MANAGER           "org.freedesktop.systemd1"
#define MANAGER_PATH      "/org/freedesktop/systemd1"
#define MANAGER_INTERFACE MANAGER ".Manager"

#define FUNCTIONS(X)                                                                                                   \
	X(sd_bus_open_system)                                                                                          \
	X(sd_bus_set_method_call_timeout)                                                                              \
	X(sd_bus_is_ready)                                                                                             \
	X(sd_bus_process)                                                                                              \
	X(sd_bus_wait)                                                                                                 \
	X(sd_bus_call_method)                                                                                          \
	X(sd_bus_message_read)                                                                                         \
	X(sd_bus_message_new_method_call)                                                                              \
	X(sd_bus_message_append)                                                                                       \
	X(sd_bus_message_open_container)                                                                               \
	X(sd_bus_message_close_container)                                                                              \
	X(sd_bus_message_enter_container)                                                                              \
	X(sd_bus_message_append_array)                                                                                 \
	X(sd_bus_message_read_array)                                                                                   \
	X(sd_bus_call)                                                                                                 \
	X(sd_bus_get_property)                                                                                         \
	X(sd_bus_get_property_string)                                                                                  \
	X(sd_bus_message_unref)                                                                                        \
	X(sd_bus_get_property_trivial)                                                                                 \
	X(sd_bus_error_free)                                                                                           \
	X(sd_bus_unref)

static struct {
#define X(name) __typeof__(&name) name;
	FUNCTIONS(X)
#undef X
} lib;

static int load_library(void)
{
	static const struct {
		const char *name;
		size_t offset;
	} functions[] = {
#define X(name) {#name, offsetof(__typeof__(lib), name)},
		FUNCTIONS(X)
#undef X
	};
	void *handle = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		return -EOPNOTSUPP;
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		void *function = dlsym(handle, functions[i].name);

		if (!function)
			return -EOPNOTSUPP;
		memcpy((char *)&lib + functions[i].offset, &function, sizeof(function));
	}
	return 0;
}

static uint64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* sd_bus_open_system() only begins: authentication and Hello are waited for here, with a limit of ours. */
static int wait_ready(sd_bus *bus)
{
	uint64_t end = now_us() + budget_us();

	for (;;) {
		uint64_t now = now_us();
		int r = lib.sd_bus_is_ready(bus);

		if (r != 0)
			return r < 0 ? r : 0;
		r = lib.sd_bus_process(bus, NULL);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (now >= end)
			return -ETIMEDOUT;
		r = lib.sd_bus_wait(bus, end - now);
		if (r < 0 && r != -EINTR)
			return r;
	}
}

#define PATHS_MAX 16

static struct {
	sd_bus *bus;
	int failed;            /* negative errno for everything to come */
	uint64_t spent, began; /* microseconds of the budget, and when the call was made that is being waited for */
	struct {
		char *unit, *path;
	} paths[PATHS_MAX];
	unsigned int n_paths;
} connection;

static void spend(void)
{
	uint64_t now = now_us();

	connection.spent += now - connection.began;
	connection.began = now;
}

static int connect_bus(void)
{
	int r;

	if (connection.bus || connection.failed)
		return connection.failed;
	r = load_library();
	if (r == 0) {
		r = lib.sd_bus_open_system(&connection.bus);
		connection.began = now_us();
		if (r >= 0)
			r = wait_ready(connection.bus);
		spend();
		if (r < 0 && connection.bus) {
			lib.sd_bus_unref(connection.bus);
			connection.bus = NULL;
		}
	}
	if (r < 0)
		connection.failed = r == -ETIMEDOUT ? r : -EOPNOTSUPP;
	return connection.failed;
}

/* What the names of D-Bus errors mean to a back end; sd-bus maps the rest to an errno. */
static const struct {
	const char *name;
	int code;
} error_codes[] = {
	{"org.freedesktop.systemd1.NoSuchUnit", ENOENT},
	{"org.freedesktop.systemd1.UnitMasked", EACCES},
	{"org.freedesktop.DBus.Error.ServiceUnknown", EOPNOTSUPP},
	{"org.freedesktop.DBus.Error.NameHasNoOwner", EOPNOTSUPP},
	{"org.freedesktop.DBus.Error.UnknownProperty", EOPNOTSUPP},
	{"org.freedesktop.DBus.Error.PropertyReadOnly", EOPNOTSUPP}, /* so it says of those that it does not know */
	{"org.freedesktop.DBus.Error.UnknownInterface", EOPNOTSUPP},
	{"org.freedesktop.DBus.Error.UnknownObject", ENOENT}, /* a unit that has been unloaded since */
	{"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", EACCES},
};

static int result(int r, sd_bus_error *error)
{
	spend();
	if (r >= 0)
		return 0;
	for (size_t i = 0; error->name && i < ARRAY_SIZE(error_codes); i++)
		if (streq(error->name, error_codes[i].name))
			r = -error_codes[i].code;
	lib.sd_bus_error_free(error);
	if (r == -ETIMEDOUT || r == -ENOTCONN || r == -ECONNRESET)
		connection.failed = r == -ETIMEDOUT ? r : -EOPNOTSUPP;
	return r;
}

/* Before each call: it may take what is left. */
static int begin(void)
{
	int r = connect_bus();

	if (r == 0 && connection.spent >= budget_us())
		r = connection.failed = -ETIMEDOUT;
	if (r == 0)
		r = lib.sd_bus_set_method_call_timeout(connection.bus, budget_us() - connection.spent);
	connection.began = now_us();
	return r < 0 ? r : 0;
}

static const char *known_path(const char *unit)
{
	for (unsigned int i = 0; i < connection.n_paths; i++)
		if (streq(connection.paths[i].unit, unit))
			return connection.paths[i].path;
	return NULL;
}

static int keep_path(const char *unit, const char *path)
{
	unsigned int at = connection.n_paths < PATHS_MAX ? connection.n_paths : PATHS_MAX - 1;
	char *name = strdup(unit), *copy = strdup(path);

	if (!name || !copy) {
		free(name);
		free(copy);
		return -ENOMEM;
	}
	if (at < connection.n_paths) {
		free(connection.paths[at].unit);
		free(connection.paths[at].path);
	}
	connection.paths[at].unit = name;
	connection.paths[at].path = copy;
	connection.n_paths = at + 1;
	return 0;
}

/*
 * The object of a unit, and all that the next call needs; method: GetUnit, or LoadUnit for one that may not be loaded. What
 * is returned is an errno; *ret lives until the next look-up.
 */
static int find_unit(const char *unit, const char *method, const char **ret)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *reply = NULL;
	const char *path;
	int r = begin();

	if (r < 0)
		return r;
	if (!known_path(unit)) {
		r = lib.sd_bus_call_method(connection.bus, MANAGER, MANAGER_PATH, MANAGER_INTERFACE, method, &error, &reply,
					   "s", unit);
		if (r >= 0)
			r = lib.sd_bus_message_read(reply, "o", &path);
		if (r >= 0)
			r = keep_path(unit, path);
		lib.sd_bus_message_unref(reply);
		r = result(r, &error);
		if (r == 0)
			r = begin();
	}
	*ret = known_path(unit);
	return r;
}

static int system_get(const char *unit, const char *interface, const char *property, uint64_t *ret)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	const char *path;
	int r = find_unit(unit, "GetUnit", &path);

	if (r < 0)
		return r;
	r = lib.sd_bus_get_property_trivial(connection.bus, MANAGER, path, interface, property, &error, 't', ret);
	return result(r, &error);
}

static int system_get_group(const char *unit, const char *interface, char *buf, size_t size)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_free_ char *group = NULL;
	const char *path;
	int r = find_unit(unit, "GetUnit", &path);

	if (r < 0)
		return r;
	r = lib.sd_bus_get_property_string(connection.bus, MANAGER, path, interface, "ControlGroup", &error, &group);
	r = result(r, &error);
	if (r == 0 && snprintf(buf, size, "%s", group) >= (int)size)
		r = -EFBIG;
	return r;
}

static int system_set(const char *unit, const char *property, uint64_t value)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int r = begin();

	if (r < 0)
		return r;
	hostfs_durable();
	/* name, runtime: kept below /run and gone with the unit or the boot, one property */
	r = lib.sd_bus_call_method(connection.bus, MANAGER, MANAGER_PATH, MANAGER_INTERFACE, "SetUnitProperties",
				   &error, NULL, "sba(sv)", unit, 1, 1, property, "t", value);
	return result(r, &error);
}

/* --- lists of (device node, number) ----------------------------------------------------------------------------- */

#define ENTRIES_MAX 256 /* devices of one unit */

struct entry {
	char *node;
	uint64_t value;
};

struct entries {
	struct entry e[ENTRIES_MAX];
	unsigned int n;
};

static void entries_free(struct entries **l)
{
	for (unsigned int i = 0; *l && i < (*l)->n; i++)
		free((*l)->e[i].node);
	free(*l);
}

static int read_entries(sd_bus_message *m, struct entries *ret)
{
	const char *node;
	uint64_t value;
	int r = lib.sd_bus_message_enter_container(m, 'a', "(st)");

	while (r >= 0 && (r = lib.sd_bus_message_read(m, "(st)", &node, &value)) > 0) {
		if (ret->n >= ENTRIES_MAX)
			return -E2BIG;
		ret->e[ret->n].node = strdup(node);
		ret->e[ret->n].value = value;
		if (!ret->e[ret->n].node)
			return -ENOMEM;
		ret->n++;
	}
	return r;
}

static int get_entries(const char *unit, const char *interface, const char *property, struct entries *ret)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *list = NULL;
	const char *path;
	int r = find_unit(unit, "GetUnit", &path);

	if (r < 0)
		return r;
	r = lib.sd_bus_get_property(connection.bus, MANAGER, path, interface, property, &error, &list, "a(st)");
	if (r >= 0)
		r = read_entries(list, ret);
	lib.sd_bus_message_unref(list);
	return result(r, &error);
}

static struct entry *find_entry(struct entries *l, const char *node)
{
	for (unsigned int i = 0; i < l->n; i++)
		if (streq(l->e[i].node, node))
			return &l->e[i];
	return NULL;
}

static int system_get_device(const char *unit, const char *interface, const char *property, const char *node,
			     uint64_t *ret)
{
	_cleanup_(entries_free) struct entries *list = calloc(1, sizeof(*list));
	int r = list ? get_entries(unit, interface, property, list) : -ENOMEM;
	const struct entry *e = r < 0 ? NULL : find_entry(list, node);

	if (r == 0)
		*ret = e ? e->value : UINT64_MAX;
	return r;
}

/* One "(sv)", a list of these entries but the one of `but` (NULL: of all). */
static int append_list(sd_bus_message *m, const char *property, const struct entry *e, unsigned int n, const char *but)
{
	int r = lib.sd_bus_message_open_container(m, 'r', "sv");

	if (r >= 0)
		r = lib.sd_bus_message_append(m, "s", property);
	if (r >= 0)
		r = lib.sd_bus_message_open_container(m, 'v', "a(st)");
	if (r >= 0)
		r = lib.sd_bus_message_open_container(m, 'a', "(st)");
	for (unsigned int i = 0; r >= 0 && i < n; i++)
		if (!but || !streq(e[i].node, but))
			r = lib.sd_bus_message_append(m, "(st)", e[i].node, e[i].value);
	for (int i = 0; r >= 0 && i < 3; i++)
		r = lib.sd_bus_message_close_container(m);
	return r;
}

/*
 * An assignment adds to a list, or replaces the entry of the same node; an empty one empties it
 * (systemd.resource-control(5)). So an entry is taken away by emptying the list and giving it the others again, all in
 * one call: that takes several assignments of one property, one after the other, and applies what has come of them
 * (src/core/dbus-unit.c, bus_unit_set_properties(); dbus-cgroup.c, bus_cgroup_set_property()).
 */
static int append_change(sd_bus_message *m, const char *property, struct entries *had, const char *node, uint64_t value)
{
	char copy[64];
	const struct entry one = {copy, value};
	int r;

	(void)snprintf(copy, sizeof(copy), "%s", node); /* be_unit.c's nodes fit */
	if (value != UINT64_MAX)
		return append_list(m, property, &one, 1, NULL);
	r = append_list(m, property, NULL, 0, NULL);
	if (r >= 0 && had->n > (find_entry(had, node) ? 1u : 0u))
		r = append_list(m, property, had->e, had->n, node);
	return r;
}

static int system_set_device(const char *unit, const char *interface, const char *property, const char *node,
			     uint64_t value)
{
	_cleanup_(entries_free) struct entries *had = calloc(1, sizeof(*had));
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *m = NULL;
	int r = had ? get_entries(unit, interface, property, had) : -ENOMEM;

	if (r == 0)
		r = begin();
	if (r < 0)
		return r;
	hostfs_durable();
	r = lib.sd_bus_message_new_method_call(connection.bus, &m, MANAGER, MANAGER_PATH, MANAGER_INTERFACE,
					       "SetUnitProperties");
	if (r >= 0)
		r = lib.sd_bus_message_append(m, "sb", unit, 1); /* as in system_set() */
	if (r >= 0)
		r = lib.sd_bus_message_open_container(m, 'a', "(sv)");
	if (r >= 0)
		r = append_change(m, property, had, node, value);
	if (r >= 0)
		r = lib.sd_bus_message_close_container(m);
	if (r >= 0)
		r = lib.sd_bus_call(connection.bus, m, 0, &error, NULL);
	lib.sd_bus_message_unref(m);
	return result(r, &error);
}

/* --- sets of CPUs: an array of bytes, the lowest CPU in the lowest bit of the first (src/shared/cpu-set-util.c) ----- */

static int system_get_cpus(const char *unit, const char *interface, const char *property, struct idset *ret)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *array = NULL;
	struct idset cpus = IDSET_EMPTY;
	const void *data = NULL;
	const char *path;
	size_t n = 0;
	/* A slice without processes may not be loaded; what was set for it is in its drop-ins all the same. */
	int r = find_unit(unit, "LoadUnit", &path);

	if (r < 0)
		return r;
	r = lib.sd_bus_get_property(connection.bus, MANAGER, path, interface, property, &error, &array, "ay");
	if (r >= 0)
		r = lib.sd_bus_message_read_array(array, 'y', &data, &n);
	for (size_t i = 0; r >= 0 && i < n * 8; i++)
		if (((const unsigned char *)data)[i / 8] >> i % 8 & 1)
			idset_add(&cpus, (unsigned int)i);
	lib.sd_bus_message_unref(array);
	r = result(r, &error);
	if (r == 0)
		*ret = cpus;
	return r;
}

static int append_cpus(sd_bus_message *m, const char *property, const struct idset *cpus)
{
	unsigned char bytes[IDSET_MAX / 8] = {0};
	size_t n = 0;
	int r;

	IDSET_FOREACH (cpu, cpus) {
		bytes[cpu / 8] |= (unsigned char)(1 << cpu % 8);
		n = (size_t)cpu / 8 + 1;
	}
	r = lib.sd_bus_message_open_container(m, 'a', "(sv)");
	if (r >= 0)
		r = lib.sd_bus_message_open_container(m, 'r', "sv");
	if (r >= 0)
		r = lib.sd_bus_message_append(m, "s", property);
	if (r >= 0)
		r = lib.sd_bus_message_open_container(m, 'v', "ay");
	if (r >= 0)
		r = lib.sd_bus_message_append_array(m, 'y', bytes, n);
	for (int i = 0; r >= 0 && i < 3; i++)
		r = lib.sd_bus_message_close_container(m);
	return r;
}

static int system_set_cpus(const char *unit, const char *property, const struct idset *cpus)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *m = NULL;
	int r = begin();

	if (r < 0)
		return r;
	hostfs_durable();
	r = lib.sd_bus_message_new_method_call(connection.bus, &m, MANAGER, MANAGER_PATH, MANAGER_INTERFACE,
					       "SetUnitProperties");
	if (r >= 0)
		r = lib.sd_bus_message_append(m, "sb", unit, 1); /* as in system_set() */
	if (r >= 0)
		r = append_cpus(m, property, cpus);
	if (r >= 0)
		r = lib.sd_bus_call(connection.bus, m, 0, &error, NULL);
	lib.sd_bus_message_unref(m);
	return result(r, &error);
}

const struct unit_bus_ops unit_bus_system = {system_get,	 system_set,	  system_get_group, system_get_device,
					     system_set_device, system_get_cpus, system_set_cpus};
