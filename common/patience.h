/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long a phase waits for others. All of a host wait alike, since one holds a lock while it waits for systemd that another
 * one waits for: three quarters of the policy's deadline, which is killed for what takes longer.
 */
#pragma once

#include "util.h"

/* "DEADLINE,GROW-DEADLINE" of the policy in milliseconds, from one process to the next. */
#define PATIENCE_ENV "DOMTUNE_DEADLINE"

#define PATIENCE_MIN_MS 1500 /* of the default deadline, and where nobody has said one */
#define PATIENCE_LESS_MS 100 /* by so much who holds a lock is less patient than who waits for it */

/* What the policy says: ours and what we execute go by it. Whether that is news. */
bool patience_learn(unsigned int deadline_ms, unsigned int grow_ms);

/* For the lock of the ledger, and of a domain's record. */
unsigned int patience_lock_ms(void);

/* For all answers of systemd's together; less than those who wait for the lock meanwhile. */
unsigned int patience_bus_ms(void);
