/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt's events of domains, by its own event loop. Loaded when the program starts, like the tool's (tool/virt.h), so
 * that nothing that is installed needs libvirt to be linked.
 */
#pragma once

#include "common/err.h"
#include "watch/queue.h"

/* A domain and what its event asks for; 0: it has ended. WANT_RETUNE alone: its annotation is another one. */
typedef void (*watch_event)(const char *uuid, unsigned int wants);

/* Load the library and make its event loop. -ENOENT: e says what is missing. */
int watch_virt_init(struct err *e);

/* Connect, and have events told. -ECONNREFUSED: e has libvirt's reason. */
int watch_virt_open(watch_event event, struct err *e);
bool watch_virt_is_open(void);
void watch_virt_close(void);

/* One round of the event loop: waits for a descriptor or a time that somebody has asked for. -EIO: it did not. */
int watch_virt_turn(void);
/* Call wake() in ms, once; again replaces that. -1: not at all. */
void watch_virt_alarm(int ms, void (*wake)(void));
/* Call readable() whenever fd is. */
int watch_virt_add_fd(int fd, void (*readable)(int fd));
