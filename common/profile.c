/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Profiles by name. The name may be a tenant's: it is a plain file name or it does not exist. The administrator's
 * file hides the shipped one entirely, also when it is broken: what was meant to replace a profile must not bring
 * that profile back by a typing error.
 */
#include <limits.h>

#include "paths.h"
#include "policy.h"

#define PROFILE_DEPTH_MAX 8

/* In order of precedence, without leading "/". The last is where this build was installed, on the real root. */
#define PROFILES_ETC PATH_ETC "/profiles"
#define PROFILES_SHARE "usr/share/domtune/profiles"
#define PROFILES_INSTALLED (&DT_DATADIR "/domtune/profiles"[1])

bool profile_is_name(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t n = strlen(name);

	return n && n <= KNOB_NAME_MAX && name[0] != '.' && strspn(name, allowed) == n;
}

/* A profile's text and where it was found. -ENOENT, or why the file that is there cannot be read. */
static int read_profile(const struct hostfs *fs, const char *name, char **ret, size_t *ret_len, char *file, size_t size)
{
	struct hostfs real = HOSTFS_INIT;
	const struct {
		const struct hostfs *fs;
		const char *dir;
	} places[] = { { fs, PROFILES_ETC }, { fs, PROFILES_SHARE }, { &real, PROFILES_INSTALLED } };
	int r = -ENOENT;

	for (size_t i = 0; r == -ENOENT && i < ARRAY_SIZE(places); i++) {
		if (places[i].fs == &real && hostfs_init(&real, NULL, NULL) < 0)
			break;
		r = hostfs_read_all(places[i].fs, POLICY_XML_MAX, ret, ret_len, "%s/%s.xml", places[i].dir, name);
		(void)snprintf(file, size, "/%s/%s.xml", places[i].dir, name);
	}
	hostfs_fini(&real);
	return r;
}

static int parse_profile(const char *text, size_t len, const char *file, const char *name, struct tune *ret,
			 struct msgs *msgs, struct err *e)
{
	_cleanup_xmldoc_ xmlDoc *doc = NULL;
	struct err why = ERR_INIT;
	char source[sizeof("profile ") + KNOB_NAME_MAX], shown[KNOB_SHOW_SIZE];
	xmlNode *root;
	int r;

	doc = xml_parse(text, len, POLICY_XML_MAX, &why);
	root = doc ? xmlDocGetRootElement(doc) : NULL;
	if (root && !xml_is(root, TUNE_NS, "profile"))
		err_set(&why, EBADMSG, "is not a <profile> of %s", TUNE_NS);
	if (why.code) {
		int line = why.line, column = why.column;

		r = err_set(e, why.code == ENOMEM ? ENOMEM : EBADMSG, "profile '%s': %s: %s", name, file, why.text);
		if (e)
			e->line = line, e->column = column;
		return r;
	}
	r = tune_parse(root, file, ret, msgs);
	if (r < 0)
		return r;
	if (ret->name && !streq(ret->name, name))
		xml_warn(msgs, file, root, "calls itself '%s'", knob_show(ret->name, shown));
	free(ret->name);
	ret->name = strdup(name);
	(void)snprintf(source, sizeof(source), "profile %s", name);
	r = ret->name ? tune_set_source(ret, source) : -ENOMEM;
	if (r < 0)
		tune_fini(ret);
	return r;
}

/* Where `to` has no value it gets `from`'s, which is moved. */
static void inherit_values(struct value *to, struct value *from)
{
	for (enum knob_id id = 0; id < KNOB_ID_MAX; id++) {
		if (to[id].text)
			continue;
		to[id] = from[id];
		from[id] = (struct value){ 0 };
	}
}

static int inherit(struct tune *t, struct tune *parent)
{
	inherit_values(t->v, parent->v);
	for (size_t i = 0; i < parent->n_targets; i++) {
		struct tune_target *to = tune_add_target(t, parent->targets[i].element, parent->targets[i].target);

		if (to)
			inherit_values(to->v, parent->targets[i].v);
		else if (t->n_targets < TUNE_TARGETS_MAX)
			return -ENOMEM;
	}
	return 0;
}

static int load_one(const struct hostfs *fs, const char *name, struct tune *ret, char *file, size_t size,
		    struct msgs *msgs, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char shown[KNOB_SHOW_SIZE];
	size_t len = 0;
	int r = profile_is_name(name) ? read_profile(fs, name, &text, &len, file, size) : -ENOENT;

	if (r == -ENOENT)
		return err_set(e, ENOENT, "no profile '%s'", knob_show(name, shown));
	if (r < 0)
		return err_set(e, -r, "profile '%s': %s: %s", name, file, err_name(-r));
	r = parse_profile(text, len, file, name, ret, msgs, e);
	return r == -ENOMEM ? err_set(e, ENOMEM, "out of memory") : r;
}

/* Add what an ancestor has; its own ancestor's name goes to *ret_next (NULL: the chain ends). */
static int add_ancestor(const struct hostfs *fs, struct tune *t, const char *of, const char *name, char **ret_next,
			struct msgs *msgs)
{
	struct tune parent = { 0 };
	struct err why = ERR_INIT;
	char file[PATH_MAX] = "";
	int r = load_one(fs, name, &parent, file, sizeof(file), msgs, &why);

	*ret_next = NULL;
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		msgs_add(msgs, MSG_WARNING, of, 0, 0, "inherits nothing: %s", why.text);
		return 0;
	}
	r = inherit(t, &parent);
	if (!r)
		*ret_next = steal_ptr(&parent.inherits);
	tune_fini(&parent);
	return r;
}

/* Whether a name is in the chain so far, or the chain is too long. */
static bool loops(char *const *chain, unsigned int n, const char *name)
{
	for (unsigned int i = 0; i < n; i++)
		if (streq(chain[i], name))
			return true;
	return n >= PROFILE_DEPTH_MAX;
}

static int add_ancestors(const struct hostfs *fs, struct tune *t, const char *file, struct msgs *msgs, struct err *e)
{
	char *chain[PROFILE_DEPTH_MAX] = { NULL };
	char *next = t->inherits ? strdup(t->inherits) : NULL;
	unsigned int n = 0;
	int r = t->inherits && !next ? -ENOMEM : 0;

	chain[n++] = strdup(t->name);
	if (!chain[0])
		r = -ENOMEM;
	while (!r && next) {
		if (loops(chain, n, next)) {
			r = err_set(e, ELOOP, "profile '%s' inherits itself, or from more than %d others", t->name,
				    PROFILE_DEPTH_MAX - 1);
			break;
		}
		chain[n++] = steal_ptr(&next);
		r = add_ancestor(fs, t, file, chain[n - 1], &next, msgs);
	}
	free(next);
	while (n)
		free(chain[--n]);
	return r == -ENOMEM ? err_set(e, ENOMEM, "out of memory") : r;
}

int profile_load(const struct hostfs *fs, const char *name, struct tune *ret, struct msgs *msgs, struct err *e)
{
	struct tune t = { 0 };
	char file[PATH_MAX] = "";
	int r = load_one(fs, name, &t, file, sizeof(file), msgs, e);

	if (r < 0)
		return r;
	r = add_ancestors(fs, &t, file, msgs, e);
	if (r < 0) {
		tune_fini(&t);
		return r;
	}
	*ret = t;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_name(char ***names, size_t *n, const char *file)
{
	size_t len = strlen(file);
	char name[KNOB_NAME_MAX + 1];
	char **grown;

	if (len <= 4 || len - 4 >= sizeof(name) || !streq(file + len - 4, ".xml"))
		return 0;
	memcpy(name, file, len - 4);
	name[len - 4] = '\0';
	if (!profile_is_name(name))
		return 0;
	for (size_t i = 0; i < *n; i++)
		if (streq((*names)[i], name))
			return 0;
	grown = reallocarray(*names, *n + 2, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	*names = grown;
	grown[*n] = strdup(name);
	if (!grown[*n])
		return -ENOMEM;
	grown[++*n] = NULL;
	return 0;
}

static int add_names(const struct hostfs *fs, const char *path, char ***names, size_t *n)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "%s", path);
	const struct dirent *entry;
	int r = 0;

	while (!r && dir && (entry = readdir(dir)))
		r = add_name(names, n, entry->d_name);
	return r;
}

char **profile_names(const struct hostfs *fs)
{
	struct hostfs real = HOSTFS_INIT;
	char **names = calloc(1, sizeof(*names));
	size_t n = 0;
	int r = names ? 0 : -ENOMEM;

	if (!r)
		r = add_names(fs, PROFILES_ETC, &names, &n);
	if (!r)
		r = add_names(fs, PROFILES_SHARE, &names, &n);
	if (!r && hostfs_init(&real, NULL, NULL) == 0)
		r = add_names(&real, PROFILES_INSTALLED, &names, &n);
	hostfs_fini(&real);
	if (r < 0) {
		for (size_t i = 0; i < n; i++)
			free(names[i]);
		free(names);
		return NULL;
	}
	if (n)
		qsort(names, n, sizeof(*names), compare_names);
	return names;
}
