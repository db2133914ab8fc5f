/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Volumes of libvirt's storage pools: a pool whose type has a target path keeps its volumes there under their names
 * (src/storage/storage_backend_*.c); the files are libvirt's own, of running pools and of defined ones.
 */
#include "blockdev_walk.h"
#include "knob.h"
#include "xml.h"

#define POOL_MAX (64u << 10) /* of a pool's XML */

static const char *const pool_dirs[] = {"run/libvirt/storage", "etc/libvirt/storage"};

static xmlDoc *read_pool(const struct hostfs *fs, const char *pool)
{
	for (size_t i = 0; i < ARRAY_SIZE(pool_dirs); i++) {
		_cleanup_free_ char *text = NULL;
		struct err e;
		size_t len;

		if (hostfs_read_all(fs, POOL_MAX, &text, &len, "%s/%s.xml", pool_dirs[i], pool) == 0)
			return xml_parse(text, len, POOL_MAX, &e); /* NULL: as if it were not there */
	}
	return NULL;
}

/* A volume of a multipath pool is named after the device, not as in the pool's directory (storage_backend_mpath.c). */
static char *target_of(const xmlNode *pool, const char *type)
{
	if (streq(type, "mpath"))
		return strdup("/dev");
	return xml_text(xml_child(xml_child(pool, NULL, "target"), NULL, "path"));
}

int walk_volume(const struct hostfs *fs, const char *pool, const char *volume, char path[WALK_PATH], char why[WALK_WHY])
{
	_cleanup_xmldoc_ xmlDoc *doc = NULL;
	_cleanup_free_ char *type = NULL, *target = NULL;
	const xmlNode *root;
	char shown[KNOB_SHOW_SIZE];

	(void)snprintf(why, WALK_WHY, "libvirt's files have no pool '%s'", knob_show(pool, shown));
	if (!hostfs_is_name(pool))
		return -ENOENT;
	doc = read_pool(fs, pool);
	root = doc ? xmlDocGetRootElement(doc) : NULL;
	if (root && !xml_is(root, NULL, "pool")) /* a state file has it within another */
		root = xml_child(root, NULL, "pool");
	if (!root)
		return -ENOENT;
	type = xml_attr(root, "type");
	target = target_of(root, type ? type : "");
	if (!target || target[0] != '/') {
		(void)snprintf(why, WALK_WHY, "not applicable: volumes of a pool of type %s have no path",
			       knob_show(type ? type : "?", shown));
		return -ENOENT;
	}
	if (!hostfs_is_name(volume) || snprintf(path, WALK_PATH, "%s/%s", target, volume) >= WALK_PATH) {
		(void)snprintf(why, WALK_WHY, "'%s' is no name of a volume", knob_show(volume, shown));
		return -ENOENT;
	}
	return 0;
}
