/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Back end "irq": the CPUs of an interrupt, proc/irq/N/smp_affinity_list, and those that new interrupts get,
 * proc/irq/default_smp_affinity (Documentation/core-api/irq/irq-affinity.rst). The object is the file's path below the
 * root. Where an interrupt really goes is in effective_affinity_list, which is not asked here: it changes without us, and
 * for most interrupts not before the next one comes (kernel/irq/migration.c).
 *
 * Canonical value: the CPU list, as the kernel prints it. default_smp_affinity is a mask: it is written with as many digits
 * as it has, so that also a tree of plain files is as it was afterwards.
 *
 * What the kernel answers: EIO (Linux 6.1; 6.12: EPERM), it is managed (the driver has spread its queues over all CPUs),
 * per-CPU, or its controller cannot move it (write_irq_affinity(), kernel/irq/proc.c); ENOSPC, no vector is left on these
 * CPUs; EINVAL, none of them is online.
 */
#include "backend.h"
#include "irq.h"
#include "num.h"

#define MASK_SIZE (IDSET_MAX / 32 * 9 + 1) /* 8 digits and a comma each */

static bool is_default(const char *object)
{
	return streq(object, IRQ_DEFAULT);
}

/* Reading tells whether it is there. */
static int irq_probe(const struct hostfs *fs, const char *object)
{
	(void)fs;
	return str_starts(object, IRQ_DIR "/") ? 0 : -EINVAL;
}

/* Apart: a thousand others need no buffer of this size, which the compiler clears. */
__attribute__((noinline)) static int read_default(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	char text[MASK_SIZE];
	struct idset cpus;
	int r = hostfs_read(fs, text, sizeof(text), "%s", object);

	if (r < 0)
		return r;
	r = idset_parse_mask(text, &cpus);
	return r < 0 ? r : idset_format(&cpus, buf, size);
}

static int irq_read(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	return is_default(object) ? read_default(fs, object, buf, size) : hostfs_read(fs, buf, size, "%s", object);
}

/* In place: "0f,ffffffff" becomes a mask of these CPUs with as many digits. -ERANGE: they do not fit. */
static int fill_mask(const struct idset *cpus, char *text)
{
	struct idset left = *cpus;
	unsigned int id = 0;

	for (size_t i = strlen(text); i-- > 0;) {
		unsigned int digit = 0;

		if (text[i] == ',')
			continue;
		for (unsigned int bit = 0; bit < 4; bit++, id++)
			if (idset_has(cpus, id)) {
				digit |= 1u << bit;
				idset_del(&left, id);
			}
		text[i] = "0123456789abcdef"[digit];
	}
	return idset_is_empty(&left) ? 0 : -ERANGE;
}

__attribute__((noinline)) static int write_default(const struct hostfs *fs, const char *object, const char *value)
{
	char text[MASK_SIZE];
	struct idset cpus;
	int r = idset_parse(value, &cpus);

	if (r == 0)
		r = hostfs_read(fs, text, sizeof(text), "%s", object);
	if (r >= 0)
		r = fill_mask(&cpus, text);
	return r < 0 ? r : hostfs_write(fs, text, "%s", object);
}

static int irq_write(const struct hostfs *fs, const char *object, const char *value)
{
	return is_default(object) ? write_default(fs, object, value) : hostfs_write(fs, value, "%s", object);
}

static bool irq_same(const char *object, const char *a, const char *b)
{
	struct idset x, y;

	(void)object; /* all lists compare alike */
	return streq(a, b) || (idset_parse(a, &x) == 0 && idset_parse(b, &y) == 0 && idset_equal(&x, &y));
}

/*
 * What comes from now on is where it should be, before what is there already is moved; and that after all else: many drivers
 * ask for their vectors anew when a ring changes its size.
 */
static unsigned int irq_rank(const char *object)
{
	return is_default(object) ? 0 : 2;
}

const struct backend be_irq = {
	.name = "irq",
	.probe = irq_probe,
	.read = irq_read,
	.write = irq_write,
	.same = irq_same,
	.is_each_its_own = true,
	.is_many = true,
	.rank = irq_rank,
};
