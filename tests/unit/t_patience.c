/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/patience.h"
#include "tests/unit/tap.h"

static const struct {
	const char *told;
	unsigned int lock_ms;
} rows[] = {
	{NULL, 1500},	 {"2000,5000", 1500}, {"100,100", 1500}, {"2004,1", 1503},
	{"600000,600000", 450000}, {"", 1500}, {"0,0", 1500}, {"x", 1500}, {",5000", 1500},
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

TEST(is_news_once)
{
	unsetenv(PATIENCE_ENV);
	OK(patience_learn(4000, 5000));
	IS_INT(patience_lock_ms(), 3000);
	OK(!patience_learn(4000, 5000));
	OK(patience_learn(4000, 6000));
	OK(patience_learn(600000, 600000));
	IS_INT(patience_lock_ms(), 450000);
}

TAP_MAIN
