/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One -object (or -machine, -chardev) argument as QEMU takes it, in either spelling:
 *
 *     {"qom-type":"memory-backend-ram","id":"pc.ram","size":201326592}       QEMU 6.0 and later
 *     memory-backend-ram,id=pc.ram,size=201326592,host-nodes=0-1             every version
 *
 * Members that nobody here knows are carried along in their order. Pure.
 */
#pragma once

#include <json-c/json.h>

#include "common/idset.h"

#define OBJ_TEXT_MAX 65536 /* longer arguments are not looked into */

struct obj {
	bool json;           /* the spelling it was read in and will be written in */
	struct json_object *o;
};

/*
 * implied: the member that a first word without "=" stands for ("qom-type" for -object).
 * -EBADMSG: not understood; -E2BIG; -ENOMEM.
 */
int obj_parse(const char *text, const char *implied, struct obj *ret);
int obj_new(bool json, const char *type, const char *id, struct obj *ret);
void obj_fini(struct obj *o);
#define _cleanup_obj_ _cleanup_(obj_fini)

/* As an argument; malloc'ed, NULL without memory. A first member `implied` is written without its name. */
char *obj_text(const struct obj *o, const char *implied);

/*
 * Whether obj_text() of what was parsed is `text` again, byte for byte. Where it is not (a member twice,
 * numbers beyond 64 bits, blanks, another writer's spelling), a rewritten text could say more than was meant.
 */
bool obj_is_faithful(const struct obj *o, const char *implied, const char *text);

bool obj_has(const struct obj *o, const char *key);
const char *obj_str(const struct obj *o, const char *key);                /* NULL: absent, or not one text */
int obj_bool(const struct obj *o, const char *key);                       /* 1, 0, -ENOENT, -EBADMSG */
int obj_u64(const struct obj *o, const char *key, uint64_t *ret);         /* 0, -ENOENT, -EBADMSG; plain decimal */
int obj_ids(const struct obj *o, const char *key, struct idset *ret);     /* 0, -ENOENT, -EBADMSG */

/* A member of a member, "cache":{"direct":true}. JSON only: -EBADMSG in key=value form. */
int obj_bool_in(const struct obj *o, const char *group, const char *key); /* 1, 0, -ENOENT, -EBADMSG */
int obj_set_bool_in(struct obj *o, const char *group, const char *key, bool value); /* 0, -EBADMSG, -ENOMEM */

/* Set or replace (in its place) a member. 0 or -ENOMEM. */
int obj_set_str(struct obj *o, const char *key, const char *value);
int obj_set_bool(struct obj *o, const char *key, bool value);
int obj_set_u64(struct obj *o, const char *key, uint64_t value);
int obj_set_ids(struct obj *o, const char *key, const struct idset *ids);
