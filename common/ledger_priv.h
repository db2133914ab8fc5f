/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between ledger.c (what it says), ledger_text.c (the same as text) and ledger_file.c (where it is kept). */
#pragma once

#include "ledger.h"
#include "sbuf.h"

#define LEDGER_FORMAT "2"
/*
 * Read, never written: its claims have no floaters, so those domains do not move until they are retuned; without moves
 * and online CPUs in the head. Its claims and originals are those of domains that run through an upgrade.
 */
#define LEDGER_FORMAT_BEFORE "1"

/* Whether an open file is a regular one that only root (or the caller) can write: 0, -EPERM, -EINVAL. */
int ledger_check_file(int fd);

/* flock(2), exclusive; waits so long. 0, -ETIMEDOUT or another -errno. */
int ledger_flock(int fd, unsigned int ms);

/*
 * A set as text: "" is the empty one, anything that is no set -EINVAL; and what is in a ledger as text again, borrowed.
 * 0 or -ENOMEM.
 */
int ledger_take_set(struct ledger *l, const char *text, const struct idset **to);
const char *ledger_set_text(const struct idset *set);

/* A claim, or shared object, more, all zero. NULL: no memory. */
struct claim *ledger_new_claim(struct ledger *l);
struct shared *ledger_new_shared(struct ledger *l);
/* shared_set_claim() with a text that lives as long as the ledger. */
int shared_take_claim(struct shared *s, const char *uuid, const char *text);

/* All of it as lines of text. Returns 0 or -ENOMEM. */
int ledger_print(const struct ledger *l, struct sbuf *b);

/* The first line: whether it is a ledger of this format and boot; advances *pos. */
bool ledger_take_head(char **pos, const char *boot_id, struct ledger *l);

/*
 * The lines after it; text is modified, and must live as long as the ledger, since shared objects point into it. Bad ones are
 * counted. Returns 0 or -ENOMEM.
 */
int ledger_parse(char *text, struct ledger *l);

/* Room for so many claims in an empty ledger. Returns 0 or -ENOMEM. */
int ledger_reserve(struct ledger *l, unsigned int claims);
