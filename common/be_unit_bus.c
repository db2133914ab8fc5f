/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * systemd's manager on the system bus, through sd-bus. libsystemd is loaded at the first use: only a weight on a
 * machined host needs it, and linking it would cost each hook phase its relocations.
 *
 * Every wait is bounded. The connection is made once per process; after it failed or a call ran into its
 * timeout, nothing more is asked of the bus (a dead manager must not cost one timeout per setting).
 */
#include "be_unit_priv.h"

#include <dlfcn.h>
#include <systemd/sd-bus.h>
#include <time.h>

#include "hostfs.h"

#define CONNECT_TIMEOUT_US 500000
#define CALL_TIMEOUT_US    500000

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
	uint64_t end = now_us() + CONNECT_TIMEOUT_US;

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

static struct {
	sd_bus *bus;
	int failed; /* negative errno for everything to come */
} connection;

static int connect_bus(void)
{
	int r;

	if (connection.bus || connection.failed)
		return connection.failed;
	r = load_library();
	if (r == 0) {
		r = lib.sd_bus_open_system(&connection.bus);
		if (r >= 0)
			r = wait_ready(connection.bus);
		if (r >= 0)
			r = lib.sd_bus_set_method_call_timeout(connection.bus, CALL_TIMEOUT_US);
		if (r < 0 && connection.bus) {
			lib.sd_bus_unref(connection.bus);
			connection.bus = NULL;
		}
	}
	if (r < 0)
		connection.failed = -EOPNOTSUPP;
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
	{"org.freedesktop.DBus.Error.UnknownInterface", EOPNOTSUPP},
	{"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", EACCES},
};

static int result(int r, sd_bus_error *error)
{
	if (r >= 0)
		return 0;
	for (size_t i = 0; error->name && i < ARRAY_SIZE(error_codes); i++)
		if (streq(error->name, error_codes[i].name))
			r = -error_codes[i].code;
	lib.sd_bus_error_free(error);
	if (r == -ETIMEDOUT || r == -ENOTCONN || r == -ECONNRESET)
		connection.failed = -EOPNOTSUPP;
	return r;
}

static int system_get(const char *unit, const char *interface, const char *property, uint64_t *ret)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *reply = NULL;
	const char *path;
	int r = connect_bus();

	if (r < 0)
		return r;
	r = lib.sd_bus_call_method(connection.bus, MANAGER, MANAGER_PATH, MANAGER_INTERFACE, "GetUnit", &error, &reply,
				   "s", unit);
	if (r >= 0)
		r = lib.sd_bus_message_read(reply, "o", &path);
	if (r >= 0)
		r = lib.sd_bus_get_property_trivial(connection.bus, MANAGER, path, interface, property, &error, 't',
						    ret);
	lib.sd_bus_message_unref(reply);
	return result(r, &error);
}

static int system_set(const char *unit, const char *property, uint64_t value)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int r = connect_bus();

	if (r < 0)
		return r;
	hostfs_durable();
	/* name, runtime: kept below /run and gone with the unit or the boot, one property */
	r = lib.sd_bus_call_method(connection.bus, MANAGER, MANAGER_PATH, MANAGER_INTERFACE, "SetUnitProperties",
				   &error, NULL, "sba(sv)", unit, 1, 1, property, "t", value);
	return result(r, &error);
}

const struct unit_bus_ops unit_bus_system = {system_get, system_set};
