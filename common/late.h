/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What was seen of a running domain when its steps were last made, so that whoever looks again for what has come since
 * knows with a few reads that nothing has: /run/domtune/late/UUID, one line,
 *
 *   late    boot id, generation, helper, pid, start, undo file (inode and size), tasks, interrupts, queues, watch them?,
 *           workers, taps, vectors, their masks
 *
 * Written while undo/UUID is held by its writer (undo.h), and removed with it. It is worth no more than the work that it
 * saves: without it, or if it is wrong about something, all steps are looked at.
 */
#pragma once

#include "undo.h"

struct late {
	uint64_t generation;
	uint64_t helper;     /* who watches the domain (hooks/apply_late.c); 0 nobody */
	int pid;             /* QEMU */
	uint64_t pid_start;
	uint64_t inode, size; /* of undo/UUID: it says something new if others have written to it */
	uint64_t tasks;      /* run.tasks */
	uint64_t irqs;       /* of /proc/irq, and of who is irqbalance; 0: not seen, or not looked at */
	uint64_t queues;     /* of the domain's taps */
	bool watch_irqs;
	char workers[1024 + 32]; /* run.workers */
	char taps[1024];     /* names, each with a blank behind it; cut where there are too many */
	char vectors[1024];  /* interrupts of its devices, likewise */
	uint64_t masks;      /* where they may come */
};

enum late_news {
	LATE_NOTHING,
	LATE_NEWS,
	LATE_OVER, /* QEMU has gone, or the record has */
};

struct run;

/* 0; -ENOENT: none; -ESTALE: of another boot; -EBADMSG. */
int late_read(const struct hostfs *fs, const char *uuid, struct late *ret);
int late_write(const struct hostfs *fs, const char *uuid, const struct late *l);

/* What is there beside threads, now; to be asked before steps are made of it. The rest of *l stays. */
void late_look_around(const struct hostfs *fs, struct late *l);
/* What a run over the steps has seen, and what it has written. u is still open. helper stays. */
void late_take(const struct hostfs *fs, const struct undo *u, const struct run *run, struct late *l);

/* Whether anything is not as *l says. */
enum late_news late_look(const struct hostfs *fs, const char *uuid, const struct late *l);
