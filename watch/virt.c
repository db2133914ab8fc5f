/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which event asks for what is the table at the end; everything else is plumbing. */
#include "watch/virt.h"

#include <dlfcn.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "common/log.h"
#include "common/policy.h"

/* clang-format off */
#define FUNCTIONS(F)                          \
	F(virInitialize)                      \
	F(virSetErrorFunc)                    \
	F(virGetLastError)                    \
	F(virEventRegisterDefaultImpl)        \
	F(virEventRunDefaultImpl)             \
	F(virEventAddTimeout)                 \
	F(virEventUpdateTimeout)              \
	F(virEventAddHandle)                  \
	F(virConnectOpenReadOnly)             \
	F(virConnectClose)                    \
	F(virConnectSetKeepAlive)             \
	F(virConnectRegisterCloseCallback)    \
	F(virConnectUnregisterCloseCallback)  \
	F(virConnectDomainEventRegisterAny)   \
	F(virConnectDomainEventDeregisterAny) \
	F(virDomainGetUUIDString)
/* clang-format on */

/* The daemon is taken for dead after so long without an answer. */
#define KEEPALIVE_SECONDS 10
#define KEEPALIVE_COUNT 6

static struct {
#define F(name) __typeof__(&name) name;
	FUNCTIONS(F)
#undef F
} v;

static const struct {
	const char *name;
	size_t offset;
} symbols[] = {
#define F(name) { #name, offsetof(__typeof__(v), name) },
	FUNCTIONS(F)
#undef F
};

static virConnectPtr conn;
static bool closed; /* the connection has ended by itself */
static watch_event tell;
static int alarm_timer = -1;
static void (*alarm_wake)(void);

static void print_nothing(void *data, virErrorPtr error)
{
	(void)data;
	(void)error;
}

static int last_error(int code, struct err *e)
{
	virErrorPtr error = v.virGetLastError();

	return err_set(e, code, "%s", error && error->message ? error->message : "libvirt gives no reason");
}

int watch_virt_init(struct err *e)
{
	void *library = dlopen("libvirt.so.0", RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return err_set(e, ENOENT, "libvirt.so.0 cannot be loaded, %s", dlerror());
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		void *f = dlsym(library, symbols[i].name);

		if (!f)
			return err_set(e, ENOENT, "this libvirt.so.0 has no %s", symbols[i].name);
		memcpy((char *)&v + symbols[i].offset, &f, sizeof(f));
	}
	v.virSetErrorFunc(NULL, print_nothing);
	if (v.virInitialize() < 0 || v.virEventRegisterDefaultImpl() < 0)
		return last_error(EIO, e);
	return 0;
}

/* ---- events ---- */

static void about(virDomainPtr dom, unsigned int wants)
{
	char uuid[VIR_UUID_STRING_BUFLEN];

	if (v.virDomainGetUUIDString(dom, uuid) == 0)
		tell(uuid, wants);
}

static int on_lifecycle(virConnectPtr c, virDomainPtr dom, int event, int detail, void *data)
{
	(void)c;
	(void)detail;
	(void)data;
	/* Resumed is also what a domain does that came by migration or was restored: its hook ran before. */
	if (event == VIR_DOMAIN_EVENT_STARTED || event == VIR_DOMAIN_EVENT_RESUMED)
		about(dom, WANT_LATE);
	else if (event == VIR_DOMAIN_EVENT_STOPPED || event == VIR_DOMAIN_EVENT_UNDEFINED)
		about(dom, 0);
	return 0;
}

static void on_reboot(virConnectPtr c, virDomainPtr dom, void *data)
{
	(void)c;
	(void)data;
	about(dom, WANT_LATE); /* its driver asks for interrupts and queues anew */
}

static void on_agent(virConnectPtr c, virDomainPtr dom, int state, int reason, void *data)
{
	(void)c;
	(void)reason;
	(void)data;
	if (state == VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED)
		about(dom, WANT_LATE);
}

static void on_device(virConnectPtr c, virDomainPtr dom, const char *alias, void *data)
{
	(void)c;
	(void)alias;
	(void)data;
	about(dom, WANT_LATE | WANT_RETUNE);
}

static void on_metadata(virConnectPtr c, virDomainPtr dom, int type, const char *uri, void *data)
{
	(void)c;
	(void)data;
	if (type == VIR_DOMAIN_METADATA_ELEMENT && uri && streq(uri, TUNE_NS))
		about(dom, WANT_RETUNE);
}

static void on_block_job(virConnectPtr c, virDomainPtr dom, const char *target, int type, int status, void *data)
{
	(void)c;
	(void)target;
	(void)type;
	(void)data;
	if (status == VIR_DOMAIN_BLOCK_JOB_COMPLETED)
		about(dom, WANT_LATE | WANT_RETUNE); /* its disks may lie elsewhere now */
}

/* vCPUs that are plugged in have no event (libvirt 9.0): the caller looks at threads every now and then. */
static const struct {
	int id;
	virConnectDomainEventGenericCallback call;
} events[] = {
	{ VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle) },
	{ VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(on_reboot) },
	{ VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_agent) },
	{ VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_device) },
	{ VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_device) },
	{ VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_metadata) },
	{ VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, VIR_DOMAIN_EVENT_CALLBACK(on_block_job) },
};

/* ---- connection ---- */

static int callbacks[ARRAY_SIZE(events)]; /* of conn; -1: not registered */
static bool has_close_callback;

static void on_close(virConnectPtr c, int reason, void *data)
{
	(void)reason;
	(void)data;
	if (c == conn)
		closed = true;
}

/* Lifecycle is what the others add to; what an older daemon has no event for comes at the next look. */
static int register_events(struct err *e)
{
	struct err why = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		callbacks[i] = v.virConnectDomainEventRegisterAny(conn, NULL, events[i].id, events[i].call, NULL, NULL);
		if (callbacks[i] >= 0)
			continue;
		if (events[i].id == VIR_DOMAIN_EVENT_ID_LIFECYCLE)
			return last_error(EIO, e);
		(void)last_error(EIO, &why);
		log_debug("watch: no events of kind %d: %s", events[i].id, why.text);
	}
	return 0;
}

int watch_virt_open(watch_event event, struct err *e)
{
	int r;

	tell = event;
	closed = false;
	has_close_callback = false;
	for (size_t i = 0; i < ARRAY_SIZE(callbacks); i++)
		callbacks[i] = -1;
	conn = v.virConnectOpenReadOnly("qemu:///system");
	if (!conn)
		return last_error(ECONNREFUSED, e);
	/* Without either of them the end of the connection is seen when it is closed properly. */
	has_close_callback = v.virConnectRegisterCloseCallback(conn, on_close, NULL, NULL) == 0;
	(void)v.virConnectSetKeepAlive(conn, KEEPALIVE_SECONDS, KEEPALIVE_COUNT);
	r = register_events(e);
	if (r < 0)
		watch_virt_close();
	return r;
}

bool watch_virt_is_open(void)
{
	return conn && !closed;
}

/* A callback holds its connection: with one left it would stay open, with its descriptors, and go on telling. */
void watch_virt_close(void)
{
	virConnectPtr was = conn;

	conn = NULL;
	if (!was)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(callbacks); i++)
		if (callbacks[i] >= 0)
			(void)v.virConnectDomainEventDeregisterAny(was, callbacks[i]);
	if (has_close_callback)
		(void)v.virConnectUnregisterCloseCallback(was, on_close);
	if (v.virConnectClose(was) > 0)
		log_debug("watch: the connection to libvirt is still in use after its end");
}

/* ---- event loop ---- */

int watch_virt_turn(void)
{
	return v.virEventRunDefaultImpl() < 0 ? -EIO : 0;
}

static void on_alarm(int timer, void *data)
{
	(void)data;
	v.virEventUpdateTimeout(timer, -1);
	alarm_wake();
}

void watch_virt_alarm(int ms, void (*wake)(void))
{
	alarm_wake = wake;
	if (alarm_timer < 0)
		alarm_timer = v.virEventAddTimeout(ms, on_alarm, NULL, NULL);
	else
		v.virEventUpdateTimeout(alarm_timer, ms);
}

struct reader {
	void (*readable)(int fd);
};

static void on_readable(int watch, int fd, int what, void *data)
{
	(void)watch;
	(void)what;
	((const struct reader *)data)->readable(fd);
}

int watch_virt_add_fd(int fd, void (*readable)(int fd))
{
	struct reader *r = malloc(sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->readable = readable;
	if (v.virEventAddHandle(fd, VIR_EVENT_HANDLE_READABLE, on_readable, r, free) < 0) {
		free(r);
		return -EIO;
	}
	return 0;
}
