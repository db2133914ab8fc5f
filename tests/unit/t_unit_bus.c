/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real side of back end "unit": calls over a real message bus of our own, to a manager of our own that has one
 * scope and treats its lists as systemd does (src/core/dbus-cgroup.c): an assignment adds or replaces, an empty one
 * empties.
 */
#include "tap.h"

#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>

#include "common/be_unit_priv.h"

#define SCOPE     "machine-qemu\\x2d1\\x2dx.scope"
#define INTERFACE "org.freedesktop.systemd1.Scope"
#define PATH      "/org/freedesktop/systemd1/unit/x"
#define NODE_A    "/dev/block/8:0"
#define NODE_B    "/dev/block/259:1"

/* --- the manager ------------------------------------------------------------------------------------------------ */

static struct {
	char node[64];
	uint64_t value;
} list[16];
static unsigned int n_list, n_calls;
static uint64_t cpu_weight = UINT64_MAX;

static void assign(const char *node, uint64_t value)
{
	unsigned int i = 0;

	while (i < n_list && !streq(list[i].node, node))
		i++;
	if (i == ARRAY_SIZE(list))
		return;
	n_list += i == n_list;
	(void)snprintf(list[i].node, sizeof(list[i].node), "%s", node);
	list[i].value = value;
}

static unsigned char cpus[8];
static size_t n_cpus;

static int take_cpus(sd_bus_message *m)
{
	const void *data;

	if (sd_bus_message_enter_container(m, 'v', "ay") < 0 || sd_bus_message_read_array(m, 'y', &data, &n_cpus) < 0 ||
	    n_cpus > sizeof(cpus))
		return -EINVAL;
	if (n_cpus)
		memcpy(cpus, data, n_cpus);
	return sd_bus_message_exit_container(m);
}

static int give_cpus(sd_bus_message *m)
{
	sd_bus_message *reply = NULL;
	int r;

	if (sd_bus_message_new_method_return(m, &reply) < 0 || sd_bus_message_open_container(reply, 'v', "ay") < 0 ||
	    sd_bus_message_append_array(reply, 'y', cpus, n_cpus) < 0 || sd_bus_message_close_container(reply) < 0)
		return -ENOMEM;
	r = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	return r;
}

static int take_property(sd_bus_message *m)
{
	const char *name, *node;
	uint64_t value;
	unsigned int n = 0;

	if (sd_bus_message_read(m, "s", &name) < 0)
		return -EINVAL;
	if (streq(name, "CPUWeight"))
		return sd_bus_message_read(m, "v", "t", &cpu_weight);
	if (streq(name, "AllowedCPUs"))
		return take_cpus(m);
	if (sd_bus_message_enter_container(m, 'v', "a(st)") < 0 || sd_bus_message_enter_container(m, 'a', "(st)") < 0)
		return -EINVAL;
	for (; sd_bus_message_read(m, "(st)", &node, &value) > 0; n++)
		assign(node, value);
	if (n == 0)
		n_list = 0;
	return sd_bus_message_exit_container(m) < 0 || sd_bus_message_exit_container(m) < 0 ? -EINVAL : 0;
}

static int set_properties(sd_bus_message *m, sd_bus_error *e)
{
	const char *unit;
	int runtime;

	n_calls++;
	if (sd_bus_message_read(m, "sb", &unit, &runtime) < 0 || !streq(unit, SCOPE) || !runtime)
		return sd_bus_error_set(e, "org.freedesktop.systemd1.NoSuchUnit", "no such unit");
	if (sd_bus_message_enter_container(m, 'a', "(sv)") < 0)
		return -EINVAL;
	while (sd_bus_message_enter_container(m, 'r', "sv") > 0)
		if (take_property(m) < 0 || sd_bus_message_exit_container(m) < 0)
			return sd_bus_error_set(e, "org.freedesktop.DBus.Error.InvalidArgs", "what is that");
	return sd_bus_reply_method_return(m, NULL);
}

static int get_property(sd_bus_message *m, sd_bus_error *e)
{
	const char *interface, *name;
	sd_bus_message *reply = NULL;
	int r;

	if (sd_bus_message_read(m, "ss", &interface, &name) < 0 || !streq(interface, INTERFACE))
		return sd_bus_error_set(e, "org.freedesktop.DBus.Error.UnknownInterface", "unknown");
	if (streq(name, "Calls"))
		return sd_bus_reply_method_return(m, "v", "t", (uint64_t)n_calls);
	if (streq(name, "CPUWeight"))
		return sd_bus_reply_method_return(m, "v", "t", cpu_weight);
	if (streq(name, "ControlGroup"))
		return sd_bus_reply_method_return(m, "v", "s", "/machine.slice/" SCOPE);
	if (streq(name, "AllowedCPUs"))
		return give_cpus(m);
	if (!streq(name, "IODeviceWeight"))
		return sd_bus_error_set(e, "org.freedesktop.DBus.Error.UnknownProperty", "unknown");
	if (sd_bus_message_new_method_return(m, &reply) < 0 || sd_bus_message_open_container(reply, 'v', "a(st)") < 0 ||
	    sd_bus_message_open_container(reply, 'a', "(st)") < 0)
		return -ENOMEM;
	for (unsigned int i = 0; i < n_list; i++)
		if (sd_bus_message_append(reply, "(st)", list[i].node, list[i].value) < 0)
			return -ENOMEM;
	if (sd_bus_message_close_container(reply) < 0 || sd_bus_message_close_container(reply) < 0)
		return -ENOMEM;
	r = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	return r;
}

static int on_message(sd_bus_message *m, void *data, sd_bus_error *e)
{
	const char *unit;

	(void)data;
	if (sd_bus_message_is_method_call(m, "org.freedesktop.systemd1.Manager", "SetUnitProperties"))
		return set_properties(m, e);
	if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "Get"))
		return get_property(m, e);
	if (!sd_bus_message_is_method_call(m, "org.freedesktop.systemd1.Manager", "GetUnit") &&
	    !sd_bus_message_is_method_call(m, "org.freedesktop.systemd1.Manager", "LoadUnit"))
		return 0;
	if (sd_bus_message_read(m, "s", &unit) < 0 || !streq(unit, SCOPE))
		return sd_bus_error_set(e, "org.freedesktop.systemd1.NoSuchUnit", "no such unit");
	return sd_bus_reply_method_return(m, "o", PATH);
}

/* Until it is killed. */
static void manage(int ready)
{
	sd_bus *bus = NULL;

	if (sd_bus_open_system(&bus) < 0 || sd_bus_add_fallback(bus, NULL, "/", on_message, NULL) < 0 ||
	    sd_bus_request_name(bus, "org.freedesktop.systemd1", 0) < 0 || write(ready, "x", 1) != 1)
		_exit(1);
	for (;;) {
		int r = sd_bus_process(bus, NULL);

		if (r < 0 || (r == 0 && sd_bus_wait(bus, UINT64_MAX) < 0))
			_exit(1);
	}
}

/* --- the bus ---------------------------------------------------------------------------------------------------- */

struct bus {
	char dir[64];
	pid_t daemon, manager;
};

static const char config[] = "<busconfig><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth>"
			     "<policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>"
			     "<allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>\n";

static void stop(struct bus *b)
{
	char path[128];
	pid_t pids[] = {b->manager, b->daemon};

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		if (pids[i] > 0) {
			(void)kill(pids[i], SIGKILL);
			(void)waitpid(pids[i], NULL, 0);
		}
	(void)snprintf(path, sizeof(path), "%s/conf", b->dir);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/bus", b->dir);
	(void)unlink(path);
	(void)rmdir(b->dir);
}

/* One byte, which says that the other end has come so far; its end without one says that it has not. */
static bool wait_for(int fd)
{
	char byte;
	bool ok = read(fd, &byte, 1) == 1;

	(void)close(fd);
	return ok;
}

static bool start(struct bus *b)
{
	char conf[128], address[128];
	int ready[2];
	FILE *f;

	*b = (struct bus){.dir = "/tmp/domtune-bus-XXXXXX"};
	if (!mkdtemp(b->dir))
		return false;
	(void)snprintf(conf, sizeof(conf), "%s/conf", b->dir);
	(void)snprintf(address, sizeof(address), "unix:path=%s/bus", b->dir);
	f = fopen(conf, "we");
	if (!f || fprintf(f, config, b->dir) < 0 || fclose(f) != 0 || pipe(ready) < 0)
		return false;
	b->daemon = fork();
	if (b->daemon == 0) {
		char option[160], number[32];

		(void)close(ready[0]);
		(void)freopen("/dev/null", "w", stderr); /* it complains of limits that only root may raise */
		(void)snprintf(option, sizeof(option), "--config-file=%s", conf);
		(void)snprintf(number, sizeof(number), "--print-address=%d", ready[1]);
		(void)execlp("dbus-daemon", "dbus-daemon", option, "--nofork", "--nopidfile", number, (char *)NULL);
		_exit(127);
	}
	(void)close(ready[1]);
	if (!wait_for(ready[0]))
		return false;
	(void)setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
	if (pipe(ready) < 0)
		return false;
	b->manager = fork();
	if (b->manager == 0) {
		(void)close(ready[0]);
		manage(ready[1]);
	}
	(void)close(ready[1]);
	return wait_for(ready[0]);
}

static uint64_t weight_of(const char *node)
{
	uint64_t value = 0;

	IS_INT(unit_bus_system.get_device(SCOPE, INTERFACE, "IODeviceWeight", node, &value), 0);
	return value;
}

TEST(numbers_and_lists)
{
	char group[sizeof("/machine.slice/" SCOPE)];
	uint64_t value = 0;
	struct bus b;

	if (!start(&b)) {
		stop(&b);
		SKIP("no message bus can be started (dbus-daemon)");
	}
	IS_INT(unit_bus_system.set(SCOPE, "CPUWeight", 300), 0);
	IS_INT(unit_bus_system.get(SCOPE, INTERFACE, "CPUWeight", &value), 0);
	IS_INT(value, 300);
	IS_INT(unit_bus_system.get_group(SCOPE, INTERFACE, group, sizeof(group)), 0);
	IS_STR(group, "/machine.slice/" SCOPE);
	IS_INT(unit_bus_system.get_group(SCOPE, INTERFACE, group, sizeof(group) - 1), -EFBIG);
	IS_INT(unit_bus_system.get_group("other.scope", INTERFACE, group, sizeof(group)), -ENOENT);
	OK(weight_of(NODE_A) == UINT64_MAX);
	IS_INT(unit_bus_system.set_device(SCOPE, INTERFACE, "IODeviceWeight", NODE_A, 200), 0);
	IS_INT(unit_bus_system.set_device(SCOPE, INTERFACE, "IODeviceWeight", NODE_B, 300), 0);
	IS_INT(unit_bus_system.set_device(SCOPE, INTERFACE, "IODeviceWeight", NODE_A, 250), 0);
	IS_INT(weight_of(NODE_A), 250);
	IS_INT(weight_of(NODE_B), 300);
	/* one goes in one call, the other stays; the last one goes too */
	IS_INT(unit_bus_system.get(SCOPE, INTERFACE, "Calls", &value), 0);
	IS_INT(value, 4);
	IS_INT(unit_bus_system.set_device(SCOPE, INTERFACE, "IODeviceWeight", NODE_A, UINT64_MAX), 0);
	IS_INT(unit_bus_system.get(SCOPE, INTERFACE, "Calls", &value), 0);
	IS_INT(value, 5);
	OK(weight_of(NODE_A) == UINT64_MAX);
	IS_INT(weight_of(NODE_B), 300);
	IS_INT(unit_bus_system.set_device(SCOPE, INTERFACE, "IODeviceWeight", NODE_A, UINT64_MAX), 0);
	IS_INT(weight_of(NODE_B), 300);
	IS_INT(unit_bus_system.set_device(SCOPE, INTERFACE, "IODeviceWeight", NODE_B, UINT64_MAX), 0);
	OK(weight_of(NODE_B) == UINT64_MAX);

	IS_INT(unit_bus_system.get_device("other.scope", INTERFACE, "IODeviceWeight", NODE_A, &value), -ENOENT);
	IS_INT(unit_bus_system.set_device("other.scope", INTERFACE, "IODeviceWeight", NODE_A, 1), -ENOENT);
	IS_INT(unit_bus_system.get_device(SCOPE, INTERFACE, "Colours", NODE_A, &value), -EOPNOTSUPP);
	IS_INT(unit_bus_system.set_device(SCOPE, INTERFACE, "Colours", NODE_A, 1), -EOPNOTSUPP);
	stop(&b);
}

static void is_cpus(const char *want)
{
	struct idset got = IDSET_EMPTY;
	char *text;

	IS_INT(unit_bus_system.get_cpus(SCOPE, INTERFACE, "AllowedCPUs", &got), 0);
	text = idset_text(&got);
	IS_STR(text, want);
	free(text);
}

TEST(sets_of_cpus)
{
	static const char *const sets[] = {"0", "0-3,8", "7-8,63", ""};
	struct idset s = IDSET_EMPTY;
	struct bus b;

	if (!start(&b)) {
		stop(&b);
		SKIP("no message bus can be started (dbus-daemon)");
	}
	is_cpus("");
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		s = IDSET_EMPTY;
		if (*sets[i])
			IS_INT(idset_parse(sets[i], &s), 0);
		IS_INT(unit_bus_system.set_cpus(SCOPE, "AllowedCPUs", &s), 0);
		is_cpus(sets[i]);
	}
	IS_INT(unit_bus_system.get_cpus("other.scope", INTERFACE, "AllowedCPUs", &s), -ENOENT);
	IS_INT(unit_bus_system.get_cpus(SCOPE, INTERFACE, "Colours", &s), -EOPNOTSUPP);
	IS_INT(unit_bus_system.set_cpus("other.scope", "AllowedCPUs", &s), -ENOENT);
	idset_add(&s, 100); /* more than this manager takes: what it refuses is an error */
	OK(unit_bus_system.set_cpus(SCOPE, "AllowedCPUs", &s) < 0);
	stop(&b);
}

TAP_MAIN
