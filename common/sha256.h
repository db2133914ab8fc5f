/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SHA-256 (FIPS 180-4) of short texts: libvirt names its capability cache by it. Not for secrets. Pure. */
#pragma once

#include "util.h"

#define SHA256_HEX_SIZE 65

/* Digest of len bytes as 64 lower-case hex digits. */
void sha256_hex(const void *data, size_t len, char ret[SHA256_HEX_SIZE]);
