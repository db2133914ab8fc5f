/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "patience.h"

bool patience_learn(unsigned int deadline_ms, unsigned int grow_ms)
{
	const char *told = getenv(PATIENCE_ENV);
	char text[32];

	(void)snprintf(text, sizeof(text), "%u,%u", deadline_ms, grow_ms); /* fits */
	if (told && streq(told, text))
		return false;
	(void)setenv(PATIENCE_ENV, text, 1); /* without memory we wait a little less */
	return true;
}

unsigned int patience_lock_ms(void)
{
	const char *text = getenv(PATIENCE_ENV);
	unsigned int deadline;

	if (!text || sscanf(text, "%6u,", &deadline) != 1 || deadline * 3 / 4 < PATIENCE_MIN_MS)
		return PATIENCE_MIN_MS;
	return deadline * 3 / 4;
}

unsigned int patience_bus_ms(void)
{
	return patience_lock_ms() - PATIENCE_LESS_MS;
}
