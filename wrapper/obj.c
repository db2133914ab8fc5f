/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Both spellings become one json-c object; only reading and writing differ. In key=value form
 *   - every value is a text; a comma in it is written twice;
 *   - a member that occurs more than once is a list (QEMU's opts visitor: host-nodes=0-1,host-nodes=4),
 *     kept as a JSON array of texts;
 *   - a word without "=" is a flag ("server"), kept as null.
 */
#include "wrapper/obj.h"

#include "common/num.h"
#include "common/sbuf.h"

#define OBJ_DEPTH 8 /* -object values are flat but for lists */

static int parse_json(const char *text, size_t len, struct json_object **ret)
{
	struct json_tokener *tok = json_tokener_new_ex(OBJ_DEPTH);
	struct json_object *o;
	bool whole;

	if (!tok)
		return -ENOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tok, text, (int)len);
	whole = json_tokener_get_error(tok) == json_tokener_success && json_tokener_get_parse_end(tok) == len;
	json_tokener_free(tok);
	if (!whole || !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return -EBADMSG;
	}
	*ret = o;
	return 0;
}

/* Add one member; takes value (NULL is JSON's null). */
static int add_member(struct json_object *o, const char *key, struct json_object *value)
{
	if (json_object_object_add(o, key, value) == 0)
		return 0;
	json_object_put(value);
	return -ENOMEM;
}

/* The same for a key=value text, where a second value makes a list. */
static int add_value(struct json_object *o, const char *key, const char *value)
{
	struct json_object *old, *list, *v = NULL;

	if (value) {
		v = json_object_new_string(value);
		if (!v)
			return -ENOMEM;
	}
	if (!json_object_object_get_ex(o, key, &old))
		return add_member(o, key, v);
	if (!v || !old) {
		json_object_put(v);
		return -EBADMSG;
	}
	if (!json_object_is_type(old, json_type_array)) {
		list = json_object_new_array();
		if (!list || json_object_array_add(list, json_object_get(old)) < 0 || add_member(o, key, list) < 0) {
			json_object_put(v);
			return -ENOMEM;
		}
		old = list;
	}
	if (json_object_array_add(old, v) == 0)
		return 0;
	json_object_put(v);
	return -ENOMEM;
}

/* Cut the next item off *pos, its doubled commas made single in place. NULL at the end. */
static char *next_item(char **pos)
{
	char *item = *pos, *to = item, *from = item;

	if (!item)
		return NULL;
	for (; *from && !(from[0] == ',' && from[1] != ','); from++) {
		if (*from == ',')
			from++;
		*to++ = *from;
	}
	*pos = *from ? from + 1 : NULL;
	*to = '\0';
	return item;
}

static bool is_key(const char *s, size_t len)
{
	return len > 0 && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") >= len;
}

static int parse_words(const char *text, const char *implied, struct json_object **ret)
{
	_cleanup_free_ char *copy = strdup(text);
	struct json_object *o = json_object_new_object();
	char *pos = copy, *item;
	int r = copy && o ? 0 : -ENOMEM;

	for (bool first = true; r == 0 && (item = next_item(&pos)); first = false) {
		char *eq = strchr(item, '=');
		size_t len = eq ? (size_t)(eq - item) : strlen(item);

		if (first && !eq && *item) {
			r = add_value(o, implied, item);
		} else if (!is_key(item, len)) {
			r = -EBADMSG;
		} else {
			if (eq)
				*eq = '\0';
			r = add_value(o, item, eq ? eq + 1 : NULL);
		}
	}
	if (r < 0) {
		json_object_put(o);
		return r;
	}
	*ret = o;
	return 0;
}

int obj_parse(const char *text, const char *implied, struct obj *ret)
{
	struct json_object *o = NULL;
	size_t len = strlen(text);
	int r;

	if (len > OBJ_TEXT_MAX)
		return -E2BIG;
	r = text[0] == '{' ? parse_json(text, len, &o) : parse_words(text, implied, &o);
	if (r < 0)
		return r;
	*ret = (struct obj){ .json = text[0] == '{', .o = o };
	return 0;
}

int obj_new(bool json, const char *type, const char *id, struct obj *ret)
{
	struct obj o = { .json = json, .o = json_object_new_object() };
	int r = o.o ? 0 : -ENOMEM;

	if (r == 0)
		r = obj_set_str(&o, "qom-type", type);
	if (r == 0)
		r = obj_set_str(&o, "id", id);
	if (r < 0) {
		obj_fini(&o);
		return r;
	}
	*ret = o;
	return 0;
}

void obj_fini(struct obj *o)
{
	json_object_put(o->o);
	*o = (struct obj){ 0 };
}

static void put_item(struct sbuf *b, const char *key, struct json_object *value)
{
	if (b->len)
		sbuf_add(b, ",");
	if (key)
		sbuf_add(b, key);
	if (!value)
		return;
	if (key)
		sbuf_add(b, "=");
	for (const char *s = json_object_get_string(value); *s; s++) {
		if (*s == ',')
			sbuf_add(b, ",");
		sbuf_addn(b, s, 1);
	}
}

static char *words_text(const struct obj *o, const char *implied)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	bool first = true;

	json_object_object_foreach(o->o, key, value) {
		const char *name = first && streq(key, implied) ? NULL : key;

		first = false;
		if (!json_object_is_type(value, json_type_array)) {
			put_item(&b, name, value);
			continue;
		}
		for (size_t i = 0; i < json_object_array_length(value); i++)
			put_item(&b, key, json_object_array_get_idx(value, i));
	}
	return sbuf_steal(&b);
}

char *obj_text(const struct obj *o, const char *implied)
{
	const char *s;

	if (!o->json)
		return words_text(o, implied);
	s = json_object_to_json_string_ext(o->o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	return s ? strdup(s) : NULL;
}

bool obj_is_faithful(const struct obj *o, const char *implied, const char *text)
{
	_cleanup_free_ char *again = obj_text(o, implied);

	return again && streq(again, text);
}

static struct json_object *member(const struct obj *o, const char *key)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(o->o, key, &v) ? v : NULL;
}

bool obj_has(const struct obj *o, const char *key)
{
	return json_object_object_get_ex(o->o, key, NULL);
}

const char *obj_str(const struct obj *o, const char *key)
{
	struct json_object *v = member(o, key);

	return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : NULL;
}

int obj_bool(const struct obj *o, const char *key)
{
	struct json_object *v = member(o, key);
	const char *s;

	if (!obj_has(o, key))
		return -ENOENT;
	if (o->json)
		return json_object_is_type(v, json_type_boolean) ? json_object_get_boolean(v) : -EBADMSG;
	s = obj_str(o, key);
	if (s && streq(s, "on"))
		return 1;
	return s && streq(s, "off") ? 0 : -EBADMSG;
}

int obj_u64(const struct obj *o, const char *key, uint64_t *ret)
{
	struct json_object *v = member(o, key);

	if (!obj_has(o, key))
		return -ENOENT;
	if (!v || !json_object_is_type(v, o->json ? json_type_int : json_type_string))
		return -EBADMSG;
	/* Printed and read again: json-c's getters turn what does not fit into something that does. */
	return num_parse_u64(json_object_get_string(v), ret) < 0 ? -EBADMSG : 0;
}

static int add_ids(struct json_object *v, struct idset *s)
{
	struct idset one;
	uint64_t n;

	if (json_object_is_type(v, json_type_int)) {
		if (num_parse_range(json_object_get_string(v), 0, IDSET_MAX - 1, &n) < 0)
			return -EBADMSG;
		idset_add(s, (unsigned int)n);
		return 0;
	}
	if (!json_object_is_type(v, json_type_string) || idset_parse(json_object_get_string(v), &one) < 0)
		return -EBADMSG;
	idset_or(s, &one);
	return 0;
}

int obj_ids(const struct obj *o, const char *key, struct idset *ret)
{
	struct json_object *v = member(o, key);
	struct idset s = IDSET_EMPTY;

	if (!obj_has(o, key))
		return -ENOENT;
	if (!json_object_is_type(v, json_type_array)) {
		if (add_ids(v, &s) < 0)
			return -EBADMSG;
		*ret = s;
		return 0;
	}
	for (size_t i = 0; i < json_object_array_length(v); i++) {
		if (add_ids(json_object_array_get_idx(v, i), &s) < 0)
			return -EBADMSG;
	}
	*ret = s;
	return 0;
}

static int set_member(struct obj *o, const char *key, struct json_object *value)
{
	return value ? add_member(o->o, key, value) : -ENOMEM;
}

int obj_set_str(struct obj *o, const char *key, const char *value)
{
	return set_member(o, key, json_object_new_string(value));
}

int obj_set_bool(struct obj *o, const char *key, bool value)
{
	if (!o->json)
		return obj_set_str(o, key, value ? "on" : "off");
	return set_member(o, key, json_object_new_boolean(value));
}

int obj_set_u64(struct obj *o, const char *key, uint64_t value)
{
	char text[24];

	if (o->json)
		return set_member(o, key, json_object_new_uint64(value));
	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return obj_set_str(o, key, text);
}

/* JSON: one number per element. key=value: one item per range, as the opts visitor takes them. */
int obj_set_ids(struct obj *o, const char *key, const struct idset *ids)
{
	struct json_object *list = json_object_new_array();
	int r = list ? 0 : -ENOMEM;

	for (int id = idset_first(ids), last; r == 0 && id >= 0; id = idset_next(ids, last)) {
		struct json_object *v;
		char text[32];

		last = id;
		while (!o->json && idset_next(ids, last) == last + 1)
			last++;
		(void)snprintf(text, sizeof(text), last > id ? "%d-%d" : "%d", id, last);
		v = o->json ? json_object_new_int(id) : json_object_new_string(text);
		if (!v || json_object_array_add(list, v) < 0) {
			json_object_put(v);
			r = -ENOMEM;
		}
	}
	if (r < 0) {
		json_object_put(list);
		return r;
	}
	return set_member(o, key, list);
}

int obj_bool_in(const struct obj *o, const char *group, const char *key)
{
	struct json_object *g = member(o, group), *v;

	if (!o->json)
		return -EBADMSG;
	if (!obj_has(o, group))
		return -ENOENT;
	if (!json_object_is_type(g, json_type_object))
		return -EBADMSG;
	if (!json_object_object_get_ex(g, key, &v))
		return -ENOENT;
	return json_object_is_type(v, json_type_boolean) ? json_object_get_boolean(v) : -EBADMSG;
}

int obj_set_bool_in(struct obj *o, const char *group, const char *key, bool value)
{
	struct json_object *g = member(o, group), *v;

	if (!o->json || (obj_has(o, group) && !json_object_is_type(g, json_type_object)))
		return -EBADMSG;
	if (!g) {
		g = json_object_new_object();
		if (!g || add_member(o->o, group, g) < 0)
			return -ENOMEM;
	}
	v = json_object_new_boolean(value);
	return v ? add_member(g, key, v) : -ENOMEM;
}
