/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The log: one datagram per line to /dev/log below the root, which journald and every syslogd serve
 * (RFC 3164 framing, "<PRI>domtune[PID]: text", facility daemon). A full socket drops a line below notice at
 * once and others after 20 ms, 100 ms per process at most; nothing else blocks. Never writes to stdout or
 * stderr unless told to, never fails.
 * Control characters and invalid UTF-8 of the text are shown as "?": names come from outside.
 */
#pragma once

#include "hostfs.h"

enum log_level { LOG_LVL_ERR = 3, LOG_LVL_WARNING = 4, LOG_LVL_NOTICE = 5, LOG_LVL_INFO = 6, LOG_LVL_DEBUG = 7 };

/* fs is borrowed until the process ends. to_stderr: also to stderr, for the tool (warning and above). */
void log_init(const struct hostfs *fs, bool to_stderr);
void log_msg(enum log_level level, const char *fmt, ...) PRINTF(2, 3);

#define log_warning(...) log_msg(LOG_LVL_WARNING, __VA_ARGS__)
#define log_notice(...) log_msg(LOG_LVL_NOTICE, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_LVL_DEBUG, __VA_ARGS__)
