/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QEMU's command line: walking it, what it says of the domain, and a copy that can be edited. Pure. */
#pragma once

#include "wrapper/obj.h"

struct argv_option {
	const char *name;  /* without its dashes */
	const char *value; /* NULL: an option without argument */
	int at;            /* index of the value (of the option, if it has none) */
};

/*
 * The next option from *pos (start with 1). 1, 0 at the end, -EBADMSG at something that is no option, or
 * an option that lacks its argument: from there on nothing is certain.
 */
int argv_next(int argc, char *const *argv, int *pos, struct argv_option *ret);

/* Cheap: can this be the start of a guest at all? It can not without a word "-uuid". */
bool argv_may_be_guest(int argc, char *const *argv);

struct argv_guest {
	char uuid[37]; /* lower case */
	int id;        /* libvirt's running number, from the directory "domain-ID-NAME" */
};

/*
 * Which guest of libvirt this starts. -ENOENT: none: libvirt's capability probe, -version, a hand-written
 * command; -EBADMSG: the words contradict each other, or cannot be walked to their end.
 */
int argv_read_guest(int argc, char *const *argv, struct argv_guest *ret);

/* A copy of a command line with changed and added words; the untouched ones are borrowed. */
struct argv_edit {
	char **v;      /* NULL-terminated */
	int n;
	char **owned;  /* the words that were made here */
	int n_owned;
};

int argv_edit_init(struct argv_edit *e, int argc, char *const *argv);
void argv_edit_fini(struct argv_edit *e);
/* Both take `value`, on failure too. insert puts two words, `option` (borrowed) and value, before index at. */
int argv_edit_replace(struct argv_edit *e, int at, char *value);
int argv_edit_insert(struct argv_edit *e, int at, const char *option, char *value);
