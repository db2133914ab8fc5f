/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long a phase waits for others. All of a host wait alike, since one holds a lock while it waits for systemd that another
 * one waits for: three quarters of the policy's deadline, which is killed for what takes longer.
 */
#pragma once

#include "util.h"

#define PATIENCE_ENV "DOMTUNE_DEADLINE_MS" /* the policy's deadline, from the hook to its workers and theirs */
#define PATIENCE_MIN_MS 1500               /* of the default deadline, and where nobody says one (the tool) */

/* For the lock of the ledger, and of a domain's record. */
unsigned int patience_lock_ms(void);

/* For all answers of systemd's together; less than those who wait for the lock meanwhile. */
unsigned int patience_bus_ms(void);
