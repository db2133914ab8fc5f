/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What hook, decide and whoever installs them have to agree on. */
#pragma once

/* DOMAIN_XML_MAX (domain.h), which the hook does not include since it comes with libxml2's headers. */
#define HOOK_XML_MAX (4u << 20)

/* In the hook's binary, and in no other file: tells our hook from somebody else's. */
#define HOOK_MARKER "domtune libvirt hook, marker 7d1f9c52"
/* A hook larger than this is not ours and is not searched. */
#define HOOK_SIZE_MAX (4 << 20)
