/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library is found by its soname and stays loaded, bound as it is called. Its own handling of answers (one sequence
 * number at a time, an acknowledgement for each message, errno squeezed into codes of its own, a buffer and a system
 * call for each) is not used: all that has come is taken at once, and an answer belongs to the message whose sequence
 * number it has, whatever else is still under way on the socket.
 */
#include "nl.h"

#include <dlfcn.h>
#include <linux/ethtool_netlink.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include "hostfs.h"
#include "log.h"

#define LIBRARY      "libnl-route-3.so.200" /* libnl-3 comes with it */
#define GENL_LIBRARY "libnl-genl-3.so.200"
#define BUFFER_SIZE  32768 /* the largest piece of a dump (netlink_dump(), net/netlink/af_netlink.c) */
#define RECEIVE_MAX  4     /* pieces at once: the answers of nearly all batches */

struct nl_functions nl;
int (*nl_stand_in)(struct nl_batch *b, nl_reply *reply, void *arg);

int nl_load(const char *library, const struct nl_function *functions, size_t n, void *into)
{
	void *handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);

	if (!handle) {
		log_debug("%s cannot be loaded: %s", library, dlerror());
		return -EOPNOTSUPP;
	}
	for (size_t i = 0; i < n; i++) {
		void *function = dlsym(handle, functions[i].name);

		if (!function) {
			log_debug("%s has no %s", library, functions[i].name);
			return -EOPNOTSUPP;
		}
		memcpy((char *)into + functions[i].offset, &function, sizeof(function));
	}
	return 0;
}

/* One exchange: which answers are waited for, and where they go. */
struct exchange {
	struct nl_batch *batch;
	nl_reply *reply;
	void *arg;
	uint32_t first; /* sequence number of the first message */
	bool is_done;   /* the last message is answered */
	bool interrupted;
};

static struct {
	struct nl_sock *route, *generic;
	char *buffers; /* RECEIVE_MAX of them */
	bool is_open;
	int failed;  /* negative errno for everything to come */
	int ethtool; /* number of its family, or likewise; 0: not asked for yet */
	uint32_t sequence;
	struct exchange *exchange;
} lib;

/* The message of the exchange under way that an answer is for; NULL: a late one of an exchange that was given up. */
static int *code_of(uint32_t sequence, unsigned int *ret_which)
{
	struct exchange *x = lib.exchange;

	if (!x || sequence - x->first >= x->batch->n)
		return NULL;
	*ret_which = sequence - x->first;
	return &x->batch->codes[*ret_which];
}

static void answered(unsigned int which)
{
	if (which + 1 == lib.exchange->batch->n)
		lib.exchange->is_done = true;
}

/* An answer that says more than a number, as the library has messages. 0 or -ENOMEM. */
static int take_answer(struct nlmsghdr *header, int protocol)
{
	unsigned int which;
	struct nl_msg *msg;

	if (!code_of(header->nlmsg_seq, &which) || !lib.exchange->reply)
		return 0;
	msg = nl.nlmsg_convert(header);
	if (!msg)
		return -ENOMEM;
	nl.nlmsg_set_proto(msg, protocol); /* nl_msg_parse() asks for it */
	lib.exchange->reply(msg, which, lib.exchange->arg);
	nl.nlmsg_free(msg);
	return 0;
}

/* What became of a message: a failure, or its acknowledgement. */
static void take_code(const struct nlmsghdr *header)
{
	const struct nlmsgerr *error = NLMSG_DATA(header);
	unsigned int which;
	int *code;

	if (header->nlmsg_len < NLMSG_LENGTH(sizeof(*error)))
		return;
	code = code_of(error->msg.nlmsg_seq, &which);
	if (!code)
		return;
	*code = error->error;
	answered(which);
}

static int take_message(struct nlmsghdr *header, int protocol)
{
	unsigned int which;

	if (header->nlmsg_flags & NLM_F_DUMP_INTR)
		lib.exchange->interrupted = true;
	switch (header->nlmsg_type) {
	case NLMSG_ERROR:
		take_code(header);
		return 0;
	case NLMSG_DONE:
		if (code_of(header->nlmsg_seq, &which))
			answered(which);
		return 0;
	case NLMSG_NOOP:
		return 0;
	case NLMSG_OVERRUN:
		return -EIO;
	}
	return take_answer(header, protocol);
}

/*
 * All that is there, at least one piece; the kernel has answered a batch when it is sent, but for what comes after the
 * first piece of a dump. Negative: answers may be lost.
 */
static int receive(struct nl_sock *socket, int protocol)
{
	struct sockaddr_nl from[RECEIVE_MAX];
	struct mmsghdr got[RECEIVE_MAX];
	struct iovec pieces[RECEIVE_MAX];
	int n, r = 0;

	for (unsigned int i = 0; i < RECEIVE_MAX; i++) {
		pieces[i] = (struct iovec){lib.buffers + (size_t)i * BUFFER_SIZE, BUFFER_SIZE};
		got[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &from[i],
						      .msg_namelen = sizeof(from[i]),
						      .msg_iov = &pieces[i],
						      .msg_iovlen = 1}};
	}
	do
		n = recvmmsg(nl.nl_socket_get_fd(socket), got, RECEIVE_MAX, MSG_WAITFORONE, NULL);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return -EIO;
	for (int i = 0; i < n && r == 0; i++) {
		int left = (int)got[i].msg_len;

		if (got[i].msg_hdr.msg_flags & MSG_TRUNC)
			return -EIO;
		if (from[i].nl_pid != 0)
			continue; /* not the kernel */
		for (struct nlmsghdr *h = pieces[i].iov_base; r == 0 && NLMSG_OK(h, (unsigned int)left);
		     h = NLMSG_NEXT(h, left))
			r = take_message(h, protocol);
	}
	return r;
}

static struct nl_sock *open_socket(int protocol)
{
	struct nl_sock *socket = nl.nl_socket_alloc();

	if (!socket)
		return NULL;
	if (nl.nl_connect(socket, protocol) < 0) {
		log_debug("no netlink socket of protocol %d can be opened", protocol);
		nl.nl_socket_free(socket);
		return NULL;
	}
	return socket;
}

static int load_and_open(void)
{
	static const struct nl_function functions[] = {
#define X(name) {#name, offsetof(struct nl_functions, name)},
		NL_FUNCTIONS(X)
#undef X
	};

	if (nl_load(LIBRARY, functions, ARRAY_SIZE(functions), &nl) < 0)
		return -EOPNOTSUPP;
	lib.buffers = malloc((size_t)RECEIVE_MAX * BUFFER_SIZE);
	if (!lib.buffers)
		return -ENOMEM;
	lib.route = open_socket(NETLINK_ROUTE);
	return lib.route ? 0 : -EOPNOTSUPP;
}

int nl_open(void)
{
	if (!lib.is_open) {
		lib.is_open = true;
		lib.failed = load_and_open();
	}
	return lib.failed;
}

/* Before anything else is sent on that socket: libnl's own exchange wants its sequence numbers in a row. */
static int resolve_family(const char *name)
{
	static struct {
		__typeof__(&genl_ctrl_resolve) genl_ctrl_resolve;
	} genl;
	static const struct nl_function functions[] = {{"genl_ctrl_resolve", 0}};
	int r = nl_load(GENL_LIBRARY, functions, ARRAY_SIZE(functions), &genl);

	lib.generic = r == 0 ? open_socket(NETLINK_GENERIC) : NULL;
	r = lib.generic ? genl.genl_ctrl_resolve(lib.generic, name) : -EOPNOTSUPP;
	return r < 0 ? -EOPNOTSUPP : r;
}

int nl_ethtool(void)
{
	int r = nl_open();

	if (r == 0 && lib.ethtool == 0)
		lib.ethtool = resolve_family(ETHTOOL_GENL_NAME);
	return r < 0 ? r : lib.ethtool;
}

static void add(struct nl_batch *b, struct nl_msg *msg)
{
	if (b->n == NL_BATCH_MAX) {
		nl.nlmsg_free(msg);
		b->failed = -E2BIG;
		return;
	}
	b->msgs[b->n++] = msg;
}

static void add_new(struct nl_batch *b, int type, int flags)
{
	struct nl_msg *msg;

	if (b->failed == 0)
		b->failed = nl_open();
	if (b->failed)
		return;
	msg = nl.nlmsg_alloc_simple(type, flags);
	if (msg)
		add(b, msg);
	else
		b->failed = -ENOMEM;
}

/* ECHO: qdiscs and classes are sent to who asked only then, others are listeners (qdisc_notify(), tclass_notify()). */
void nl_ask(struct nl_batch *b, int type, int flags)
{
	add_new(b, type, flags ? flags : NLM_F_ECHO);
}

void nl_change(struct nl_batch *b, int type, int flags)
{
	add_new(b, type, flags);
	b->changes = true;
}

void nl_change_built(struct nl_batch *b, int r, struct nl_msg *msg)
{
	if (r < 0 && b->failed == 0)
		b->failed =
			-ENOMEM; /* a builder fails for want of memory, or of an attribute, which would be our bug */
	if (r == 0)
		add(b, msg);
	b->changes = true;
}

static struct nl_msg *last(struct nl_batch *b)
{
	return b->failed || b->n == 0 ? NULL : b->msgs[b->n - 1];
}

void nl_append(struct nl_batch *b, const void *data, size_t len)
{
	struct nl_msg *msg = last(b);
	union {
		const void *c;
		void *p;
	} u = {.c = data}; /* nlmsg_append() only reads it */

	if (msg && nl.nlmsg_append(msg, u.p, len, NLMSG_ALIGNTO) < 0)
		b->failed = -ENOMEM;
}

void nl_put(struct nl_batch *b, int attribute, const void *data, size_t len)
{
	struct nl_msg *msg = last(b);

	if (msg && nl.nla_put(msg, attribute, (int)len, data) < 0)
		b->failed = -ENOMEM;
}

void nl_put_u32(struct nl_batch *b, int attribute, uint32_t value)
{
	nl_put(b, attribute, &value, sizeof(value));
}

void nl_put_string(struct nl_batch *b, int attribute, const char *text)
{
	nl_put(b, attribute, text, strlen(text) + 1);
}

struct nlattr *nl_nest(struct nl_batch *b, int attribute)
{
	struct nl_msg *msg = last(b);
	struct nlattr *nest = msg ? nl.nla_nest_start(msg, attribute) : NULL;

	if (msg && !nest)
		b->failed = -ENOMEM;
	return nest;
}

void nl_nest_end(struct nl_batch *b, struct nlattr *nest)
{
	struct nl_msg *msg = last(b);

	if (msg && nest && nl.nla_nest_end(msg, nest) < 0)
		b->failed = -ENOMEM;
}

/*
 * All messages in one buffer, numbered from lib.sequence on. The last is acknowledged, a question too: some are not
 * answered (RTM_GETQDISC of a built-in discipline). A dump has an end of its own.
 */
static unsigned char *join(struct nl_batch *b, size_t *ret_len)
{
	size_t len = 0;
	unsigned char *buffer;

	for (unsigned int i = 0; i < b->n; i++) {
		struct nlmsghdr *header = nl.nlmsg_hdr(b->msgs[i]);

		header->nlmsg_seq = lib.sequence + i;
		header->nlmsg_flags |= NLM_F_REQUEST; /* libnl's builders leave it to libnl's sender */
		if (i + 1 == b->n && (header->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
			header->nlmsg_flags |= NLM_F_ACK;
		len += NLMSG_ALIGN(header->nlmsg_len);
	}
	buffer = calloc(1, len);
	if (!buffer)
		return NULL;
	*ret_len = len;
	len = 0;
	for (unsigned int i = 0; i < b->n; i++) {
		const struct nlmsghdr *header = nl.nlmsg_hdr(b->msgs[i]);

		memcpy(buffer + len, header, header->nlmsg_len);
		len += NLMSG_ALIGN(header->nlmsg_len);
	}
	return buffer;
}

static int exchange(struct nl_batch *b, nl_reply *reply, void *arg)
{
	struct exchange x = {.batch = b, .reply = reply, .arg = arg, .first = lib.sequence};
	_cleanup_free_ unsigned char *buffer = NULL;
	struct nl_sock *socket = b->is_generic ? lib.generic : lib.route;
	size_t len;
	int r = 0;

	buffer = join(b, &len);
	if (!buffer)
		return -ENOMEM;
	if (b->changes)
		hostfs_durable();
	lib.exchange = &x;
	if (nl.nl_sendto(socket, buffer, len) < 0)
		r = -EIO;
	while (r == 0 && !x.is_done)
		r = receive(socket, b->is_generic ? NETLINK_GENERIC : NETLINK_ROUTE);
	lib.exchange = NULL;
	lib.sequence += b->n;
	return r == 0 && x.interrupted ? -EAGAIN : r;
}

int nl_exchange(struct nl_batch *b, nl_reply *reply, void *arg)
{
	int r = b->failed;

	if (r == 0 && b->n > 0)
		r = nl_stand_in ? nl_stand_in(b, reply, arg) : exchange(b, reply, arg);
	for (unsigned int i = 0; i < b->n; i++) {
		if (r < 0)
			b->codes[i] = r;
		nl.nlmsg_free(b->msgs[i]);
	}
	return r;
}

int nl_first_failure(const struct nl_batch *b, int except)
{
	for (unsigned int i = 0; i < b->n; i++)
		if (b->codes[i] < 0 && b->codes[i] != -except)
			return b->codes[i];
	return 0;
}

static int device_ioctl(unsigned long request, struct ifreq *ifr)
{
	int r = nl_open();

	if (r < 0)
		return r;
	if (ioctl(nl.nl_socket_get_fd(lib.route), request, ifr) < 0)
		return errno == ENXIO ? -ENODEV : -errno;
	return 0;
}

static int named_ioctl(unsigned long request, const char *name, struct ifreq *ifr)
{
	size_t len = strlen(name);

	if (len >= sizeof(ifr->ifr_name))
		return -ENODEV;
	memcpy(ifr->ifr_name, name, len + 1);
	return device_ioctl(request, ifr);
}

int nl_device_name(int ifindex, char name[16])
{
	struct ifreq ifr = {.ifr_ifindex = ifindex};
	int r = device_ioctl(SIOCGIFNAME, &ifr);

	_Static_assert(IFNAMSIZ == 16, "the size of a device's name");
	if (r == 0)
		memcpy(name, ifr.ifr_name, IFNAMSIZ);
	return r;
}

int nl_check_device(int ifindex, const char *name)
{
	char now[IFNAMSIZ];
	int r = nl_device_name(ifindex, now);

	return r == 0 && !streq(now, name) ? -ENODEV : r;
}

int nl_device_index(const char *name)
{
	struct ifreq ifr = {0};
	int r = named_ioctl(SIOCGIFINDEX, name, &ifr);

	return r < 0 ? r : ifr.ifr_ifindex;
}

int nl_device_mtu(const char *name)
{
	struct ifreq ifr = {0};
	int r = named_ioctl(SIOCGIFMTU, name, &ifr);

	return r < 0 ? r : ifr.ifr_mtu;
}

uint32_t nl_get_u32(struct nlattr *attr)
{
	uint32_t value = 0;

	if (attr && nl.nla_len(attr) == (int)sizeof(value))
		memcpy(&value, nl.nla_data(attr), sizeof(value));
	return value;
}

const char *nl_get_string(struct nlattr *attr)
{
	int len = attr ? nl.nla_len(attr) : 0;
	const char *text = len > 0 ? nl.nla_data(attr) : "";

	return len > 0 && text[len - 1] == '\0' ? text : "";
}
