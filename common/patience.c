/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "patience.h"

#include "num.h"

unsigned int patience_lock_ms(void)
{
	const char *text = getenv(PATIENCE_ENV);
	uint64_t deadline;

	if (!text || num_parse_range(text, 1, UINT32_MAX, &deadline) < 0 || deadline * 3 / 4 < PATIENCE_MIN_MS)
		return PATIENCE_MIN_MS;
	return (unsigned int)(deadline * 3 / 4);
}

unsigned int patience_bus_ms(void)
{
	return patience_lock_ms() - PATIENCE_MIN_MS / 15;
}
