/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One record in a file of its own. The hook trusts it only while everything the decision in it rests on looks
 * as it did when `decide` read it: the boot, policy.xml, and the directory of the host's own profiles, where
 * an "off.xml" that is not off may turn up. Files are told apart by device, inode, size, mtime and ctime;
 * ctime cannot be set back by touch(1), so a file that was restored with its old mtime is noticed.
 */
#include "gate.h"

#include <sys/stat.h>

#include "paths.h"
#include "record.h"

#define GATE_FILE PATH_CACHE "/gate"
#define GATE_VERSION "1"
#define GATE_SIZE 512
#define GATE_DEADLINE_MAX 600000
#define PROFILES_DIR PATH_ETC "/profiles"

/* Everything that identifies one file's content as one text; "absent" if it is not there. */
static void describe_file(const struct hostfs *fs, const char *path, char *buf, size_t size)
{
	struct stat st;

	if (hostfs_stat(fs, &st, "%s", path) < 0)
		(void)snprintf(buf, size, "absent");
	else
		(void)snprintf(buf, size, "%ju:%ju:%ju:%jd.%09ld:%jd.%09ld", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino,
			       (uintmax_t)st.st_size, (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
			       (intmax_t)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
}

void gate_stamp(const struct hostfs *fs, struct gate *g)
{
	describe_file(fs, PATH_POLICY, g->policy, sizeof(g->policy));
	describe_file(fs, PROFILES_DIR, g->profiles, sizeof(g->profiles));
}

static bool take_record(const struct record *r, const struct gate *now, const char *boot_id, struct gate *ret)
{
	uint64_t deadline = record_u64(r, 7, 0), grow = record_u64(r, 8, 0);

	if (!streq(record_str(r, 0), "gate") || !streq(record_str(r, 1), GATE_VERSION) ||
	    !streq(record_str(r, 2), boot_id) || !streq(record_str(r, 3), now->policy) ||
	    !streq(record_str(r, 4), now->profiles))
		return false;
	if (deadline < 1 || deadline > GATE_DEADLINE_MAX || grow < 1 || grow > GATE_DEADLINE_MAX)
		return false;
	ret->idle_untouched = record_u64(r, 5, 0) == 1;
	ret->observe = record_u64(r, 6, 0) == 1;
	ret->deadline_ms = (unsigned int)deadline;
	ret->grow_deadline_ms = (unsigned int)grow;
	return true;
}

int gate_load(const struct hostfs *fs, struct gate *ret)
{
	char boot_id[BOOT_ID_SIZE], text[GATE_SIZE], *pos = text;
	struct record r;

	*ret = GATE_DEFAULT;
	if (hostfs_read(fs, text, sizeof(text), GATE_FILE) <= 0)
		return -ESTALE;
	gate_stamp(fs, ret);
	hostfs_boot_id(fs, boot_id);
	return record_next(&pos, &r, NULL) == 1 && take_record(&r, ret, boot_id, ret) ? 0 : -ESTALE;
}

int gate_save(const struct hostfs *fs, const struct gate *g)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	char boot_id[BOOT_ID_SIZE], deadline[24], grow[24];
	struct gate now = *g;

	if (!now.policy[0])
		gate_stamp(fs, &now);
	hostfs_boot_id(fs, boot_id);
	(void)snprintf(deadline, sizeof(deadline), "%u", g->deadline_ms);
	(void)snprintf(grow, sizeof(grow), "%u", g->grow_deadline_ms);
	record_add(&b, "gate", GATE_VERSION, boot_id, now.policy, now.profiles, g->idle_untouched ? "1" : "0",
		   g->observe ? "1" : "0", deadline, grow, NULL);
	if (b.failed)
		return -ENOMEM;
	return hostfs_replace(fs, b.s, b.len, 0644, GATE_FILE);
}

bool gate_is_disabled(const struct hostfs *fs)
{
	return hostfs_exists(fs, PATH_DISABLED);
}
