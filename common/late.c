/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "late.h"

#include <limits.h>
#include <sys/stat.h>

#include "irq.h"
#include "lines.h"
#include "num.h"
#include "paths.h"
#include "run_priv.h"

#define NOTE_MAX 8192

int late_read(const struct hostfs *fs, const char *uuid, struct late *ret)
{
	char text[NOTE_MAX], boot_id[BOOT_ID_SIZE], *pos = text;
	struct record r;
	int n = hostfs_read(fs, text, sizeof(text), PATH_LATE "/%s", uuid);
	uint64_t pid;

	if (n < 0)
		return n;
	if (record_next(&pos, &r, NULL) != 1 || !streq(r.f[0], "late"))
		return -EBADMSG;
	hostfs_boot_id(fs, boot_id);
	if (!streq(record_str(&r, 1), boot_id))
		return -ESTALE;
	pid = record_u64(&r, 4, 0);
	if (pid == 0 || pid > INT_MAX)
		return -EBADMSG;
	*ret = (struct late){
		.generation = record_u64(&r, 2, 0),
		.helper = record_u64(&r, 3, 0),
		.pid = (int)pid,
		.pid_start = record_u64(&r, 5, 0),
		.inode = record_u64(&r, 6, 0),
		.size = record_u64(&r, 7, 0),
		.tasks = record_u64(&r, 8, 0),
		.irqs = record_u64(&r, 9, 0),
		.queues = record_u64(&r, 10, 0),
		.watch_irqs = streq(record_str(&r, 11), "1"),
	};
	(void)snprintf(ret->workers, sizeof(ret->workers), "%s", record_str(&r, 12)); /* too long it is no path of ours */
	(void)snprintf(ret->taps, sizeof(ret->taps), "%s", record_str(&r, 13));
	(void)snprintf(ret->vectors, sizeof(ret->vectors), "%s", record_str(&r, 14));
	ret->masks = record_u64(&r, 15, 0);
	return 0;
}

int late_write(const struct hostfs *fs, const char *uuid, const struct late *l)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	char boot_id[BOOT_ID_SIZE];
	struct number n[10];
	int rc;

	hostfs_boot_id(fs, boot_id);
	record_add(&b, "late", boot_id, number(&n[0], l->generation), number(&n[1], l->helper),
		   number(&n[2], (uint64_t)l->pid), number(&n[3], l->pid_start), number(&n[4], l->inode),
		   number(&n[5], l->size), number(&n[6], l->tasks), number(&n[7], l->irqs), number(&n[8], l->queues),
		   l->watch_irqs ? "1" : "0", l->workers, l->taps, l->vectors, number(&n[9], l->masks), NULL);
	if (b.failed)
		return -ENOMEM;
	rc = hostfs_replace(fs, b.s, b.len, 0600, PATH_LATE "/%s", uuid);
	if (rc == -ENOENT && hostfs_mkdir(fs, 0700, PATH_LATE) == 0)
		rc = hostfs_replace(fs, b.s, b.len, 0600, PATH_LATE "/%s", uuid);
	return rc;
}

static uint64_t mix_name(const char *name, uint64_t with)
{
	for (; *name; name++)
		with = run_mix(with ^ (unsigned char)*name);
	return with;
}

/* Who is in a directory, whatever the order. */
static uint64_t look_at(const struct hostfs *fs, const char *path, uint64_t salt)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "%s", path);
	struct dirent *d;
	uint64_t sum = 0;

	while (dir && (d = readdir(dir)))
		sum += mix_name(d->d_name, salt);
	return sum;
}

/* A tap has queues when the guest's driver switches them on (drivers/net/tun.c, tun_attach()). */
static uint64_t look_at_queues(const struct hostfs *fs, const char *taps)
{
	char path[NETDEV_NAME + 64], name[NETDEV_NAME];
	uint64_t sum = 0;

	for (const char *end; (end = strchr(taps, ' ')); taps = end + 1) {
		if ((size_t)(end - taps) >= sizeof(name))
			continue;
		memcpy(name, taps, (size_t)(end - taps));
		name[end - taps] = '\0';
		if (!hostfs_is_name(name))
			continue;
		(void)snprintf(path, sizeof(path), "sys/class/net/%s/queues", name); /* fits */
		sum += look_at(fs, path, mix_name(name, 0));
	}
	return sum;
}

static uint64_t look_at_irqs(const struct hostfs *fs)
{
	/* irqbalance has the number of its process in the name of its socket: begun anew it has forgotten all. */
	uint64_t sum = look_at(fs, "proc/irq", 0) + look_at(fs, "run/irqbalance", 1);

	return sum ? sum : 1;
}

static uint64_t look_at_masks(const struct hostfs *fs, const char *vectors)
{
	char mask[512];
	uint64_t sum = 0;

	for (const char *end; (end = strchr(vectors, ' ')); vectors = end + 1)
		if (hostfs_read(fs, mask, sizeof(mask), IRQ_DIR "/%.*s/smp_affinity_list", (int)(end - vectors), vectors) > 0)
			sum = run_mix(sum ^ mix_name(mask, 2));
	return sum;
}

/*
 * Of the devices whose interrupts the plan has come to the domain, as they were when its steps were made. Their masks are those
 * of before: one that was set again while the steps were made is news the next time, as is all that was moved.
 */
static void take_vectors(const struct plan *p, struct late *l)
{
	char known[sizeof(l->vectors)];
	size_t len = 0;

	memcpy(known, l->vectors, sizeof(known));
	l->vectors[0] = '\0';
	for (unsigned int i = 0; p->irqs && i < p->irqs->n_devices; i++)
		for (unsigned int k = 0; k < p->irqs->devices[i].set.n; k++) {
			int n = snprintf(l->vectors + len, sizeof(l->vectors) - len, "%u ", p->irqs->devices[i].set.irq[k]);

			if (n < 0 || (size_t)n >= sizeof(l->vectors) - len) {
				l->vectors[len] = '\0';
				break;
			}
			len += (size_t)n;
		}
	if (!streq(known, l->vectors))
		l->masks = 0;
}

void late_look_around(const struct hostfs *fs, struct late *l)
{
	l->irqs = l->watch_irqs ? look_at_irqs(fs) : 0;
	l->queues = look_at_queues(fs, l->taps);
	l->masks = look_at_masks(fs, l->vectors);
}

void late_take(const struct hostfs *fs, const struct undo *u, const struct run *run, struct late *l)
{
	size_t len = 0;
	struct stat st;

	l->generation = u->generation;
	l->pid = run->pid;
	l->pid_start = run->start;
	l->tasks = run->tasks;
	l->watch_irqs = steps_watch_irqs(&u->plan);
	(void)snprintf(l->workers, sizeof(l->workers), "%s", run->workers); /* of one size */
	l->taps[0] = '\0';
	for (unsigned int i = 0; i < run->n_taps && steps_watch_queues(&u->plan); i++) {
		int n = snprintf(l->taps + len, sizeof(l->taps) - len, "%s ", run->taps[i].tap.name);

		if (n < 0 || (size_t)n >= sizeof(l->taps) - len) {
			l->taps[len] = '\0';
			break;
		}
		len += (size_t)n;
	}
	take_vectors(&u->plan, l);
	l->inode = l->size = 0;
	if (hostfs_stat(fs, &st, PATH_UNDO "/%s", u->plan.uuid) == 0) {
		l->inode = st.st_ino;
		l->size = (uint64_t)st.st_size;
	}
}

enum late_news late_look(const struct hostfs *fs, const char *uuid, const struct late *l)
{
	struct late now = *l;
	uint64_t tasks;
	struct stat st;

	if (hostfs_stat(fs, &st, PATH_UNDO "/%s", uuid) < 0 || hostfs_proc_start(fs, l->pid) != l->pid_start)
		return LATE_OVER;
	if (run_look(fs, l->pid, l->workers, &tasks) < 0)
		return LATE_OVER;
	if (st.st_ino != l->inode || (uint64_t)st.st_size != l->size || tasks != l->tasks)
		return LATE_NEWS;
	late_look_around(fs, &now);
	return now.irqs != l->irqs || now.queues != l->queues || now.masks != l->masks ? LATE_NEWS : LATE_NOTHING;
}
