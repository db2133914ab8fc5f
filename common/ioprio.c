/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Class above bit 13, level in the lowest three bits, hints in between since Linux 6.5 (include/uapi/linux/ioprio.h). A
 * thread that was never given one has class none; some kernels answer a level with it (4, before 5.18), and all refuse
 * one (block/ioprio.c, ioprio_check_cap()). The level of class idle has no meaning (ioprio_set(2)). glibc has no calls.
 */
#include "ioprio.h"

#include <sys/syscall.h>

#include "num.h"

#define CLASS_SHIFT 13
#define CLASS_MASK  7
#define LEVEL_MASK  7
#define WHO_PROCESS 1

static const struct {
	const char *word;
	bool has_level;
} classes[] = {{"none", false}, {"rt", true}, {"be", true}, {"idle", false}};

int ioprio_parse(const char *word)
{
	size_t n = strcspn(word, ":");
	uint64_t level = 0;

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		if (strlen(classes[i].word) != n || strncmp(classes[i].word, word, n) != 0)
			continue;
		if (classes[i].has_level != (word[n] == ':') ||
		    (word[n] && num_parse_range(word + n + 1, 0, LEVEL_MASK, &level) < 0))
			return -EINVAL;
		return (int)i << CLASS_SHIFT | (int)level;
	}
	return -EINVAL;
}

int ioprio_format(int value, char *buf, size_t size)
{
	size_t class = (size_t)value >> CLASS_SHIFT & CLASS_MASK;
	int n;

	if (value < 0 || class >= ARRAY_SIZE(classes))
		return -EINVAL;
	n = classes[class].has_level ? snprintf(buf, size, "%s:%d", classes[class].word, value & LEVEL_MASK)
				     : snprintf(buf, size, "%s", classes[class].word);
	return n < 0 || (size_t)n >= size ? -EFBIG : n;
}

int ioprio_of_thread(int tid)
{
	long v = syscall(SYS_ioprio_get, WHO_PROCESS, tid);

	return v < 0 ? -errno : (int)v;
}

int ioprio_set_thread(int tid, int value)
{
	return syscall(SYS_ioprio_set, WHO_PROCESS, tid, value) < 0 ? -errno : 0;
}
