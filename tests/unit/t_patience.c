/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/patience.h"
#include "tests/unit/tap.h"

static const struct {
	const char *told;
	unsigned int lock_ms;
} rows[] = {
	{NULL, 1500},	  {"2000", 1500}, {"100", 1500}, {"2004", 1503},   {"600000", 450000},
	{"", 1500},	  {"0", 1500},	  {"-1", 1500},	 {"2000x", 1500},  {"99999999999999999999", 1500},
};

TEST(follows_the_deadline)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].told)
			setenv(PATIENCE_ENV, rows[i].told, 1);
		else
			unsetenv(PATIENCE_ENV);
		IS_INT(patience_lock_ms(), rows[i].lock_ms);
		/* Who waits for systemd holds what others wait for. */
		OK(patience_bus_ms() < patience_lock_ms());
	}
}

TAP_MAIN
