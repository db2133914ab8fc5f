/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of back end "net" share: the object, its subjects, and traffic control in the kernel's terms. */
#pragma once

#include <net/if.h>

#include "netinfo_priv.h"

/* Classes of ours, below the roots in netinfo_priv.h. Minor numbers of domains' classes are d001 to dfff. */
#define NET_TREE_LINK   0xd0700001u /* the whole link: parent of all classes */
#define NET_TREE_REST   0xd0700002u /* whatever nobody classified */
#define NET_LIMIT_CLASS 0xd0710001u
#define NET_NOQUEUE_ROOT 0xd0720000u /* of a noqueue that we have put back */
#define NET_MINOR_FIRST 0xd001u
#define NET_MINOR_LAST  0xdfffu

struct net_subject;

struct net_object {
	char dev[IFNAMSIZ];
	int ifindex;
	uint32_t minor; /* 0: the subject has none */
	const struct net_subject *subject;
};

/* One kind of object. The device has been found to be the one that the object names; -ENODEV: gone since. */
struct net_subject {
	const char *name;
	bool has_minor;
	int (*read)(const struct net_object *o, char *buf, size_t size);
	int (*write)(const struct net_object *o, const char *value);
	bool (*same)(const char *a, const char *b);
	bool (*remains)(const char *now, const char *made); /* NULL: it has no parts */
};

/*
 * What a read has found is good for one write of that object by this process, which else would ask the same again; the
 * kernel still refuses what has become wrong meanwhile (NLM_F_EXCL, handles), and what is read after a write is always
 * the kernel's. recall: true, and it is forgotten; else *data is as it was. What changes a root forgets its device.
 */
#define NET_SEEN_SIZE 192
void net_remember(const struct net_object *o, const void *data, size_t len);
bool net_recall(const struct net_object *o, void *data, size_t len);
bool net_peek(const struct net_object *o, const struct net_subject *subject, void *data, size_t len);
void net_forget(int ifindex);

extern const struct net_subject net_tree, net_class, net_flow, net_limit, net_rx_ring, net_tx_ring;

/*
 * "KEY=NUMBER KEY=NUMBER ...": just those n keys, in that order, one blank between. -EINVAL. net_print() is snprintf()
 * for read(): length, or -EFBIG.
 */
int net_parse_numbers(const char *text, const char *const keys[], size_t n, uint64_t ret[]);
int net_print(char *buf, size_t size, const char *fmt, ...) PRINTF(3, 4);

/* A class of HTB. Rates in bytes per second. */
struct net_class_state {
	bool is_there;
	uint32_t id, parent;
	uint64_t rate, ceil;
	uint32_t burst; /* bytes; 0 for net_put_class(): a tick's worth */
	uint32_t prio;
};

/* What subject "class" reads and remembers. */
struct net_tc {
	struct net_root root;
	struct net_class_state class;
};

/* Bit/s in a value <-> bytes/s in the kernel: the kernel knows no eighths. */
#define NET_BITS(rate)  ((rate)*8)
#define NET_BYTES(bits) ((bits) / 8)

/* Whether a burst read back is the one that was given: libnl and the kernel count it in time at that rate. */
bool net_same_burst(uint64_t rate, uint64_t a, uint64_t b);

/*
 * The root of a device, and n of its classes by id, in one exchange. Major number 0 means the root's own. ret_root is
 * a default one where the device has no queue at all.
 */
int net_read_tc(int ifindex, const uint32_t ids[], size_t n, struct net_root *ret_root, struct net_class_state ret[]);

/* "joined htb 1:" and "foreign prio 1:": what somebody else's root reads as. */
int net_print_foreign(const struct net_root *root, bool joined, char *buf, size_t size);

/* Messages of a batch. A class is made, or changed in place; mtu: of the device. */
void net_put_htb(struct nl_batch *b, int ifindex, uint32_t handle, uint32_t default_minor);
void net_put_class(struct nl_batch *b, int ifindex, const struct net_class_state *c, unsigned int mtu);
void net_put_delete_root(struct nl_batch *b, int ifindex, uint32_t handle);
/* -ERANGE: what the kernel could not count (net_put_class()). */
int net_check_class(const struct net_class_state *c);

/*
 * nl_exchange() of a batch whose last message makes a class, with a fair queue as its leaf, the best of those that the kernel has;
 * none is left to the kernel (a FIFO). A leaf that the class has already stays, and a leaf's failure is none of the
 * batch.
 */
int net_exchange_with_leaf(struct nl_batch *b, int ifindex, uint32_t class_id);

/* nl_exchange() of a dump, again where something changed meanwhile. make: fills the batch; reset: forgets what was
 * seen. */
int net_dump(void (*make)(struct nl_batch *b, const void *arg), const void *arg, nl_reply *reply, void *reply_arg,
	     void (*reset)(void *reply_arg));
