/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The wrapper in and out of a definition: what `wrap`, `unwrap`, `set --wrap`, `disable` and `enable` share. */
#pragma once

#include "tool/tool.h"
#include "tool/virt.h"

/* Whether <emulator> of the next start is the wrapper: 1, 0, or -errno. */
int emulator_is_wrapped(struct virt_domain *d, struct err *e);

/* 1: changed, 0: it was so already, or -errno with the reason in e. */
int emulator_wrap(struct tool *t, struct virt *v, struct virt_domain *d, struct err *e);
int emulator_unwrap(struct tool *t, struct virt *v, struct virt_domain *d, struct err *e);
