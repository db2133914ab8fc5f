/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loaded into a QEMU (LD_PRELOAD): when the file $DOMTUNE_WORKER.1 appears, a thread that is called like a vhost worker of
 * Linux 6.4 and later, and another one for $DOMTUNE_WORKER.2. There is no /dev/vhost-net on most test machines.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static void *work(void *unused)
{
	char name[16];

	(void)unused;
	snprintf(name, sizeof(name), "vhost-%d", (int)getpid());
	prctl(PR_SET_NAME, name);
	for (;;)
		pause();
}

static void *wait_for_files(void *path)
{
	for (int i = 1; i <= 2; i++) {
		pthread_t thread;
		char name[256];

		snprintf(name, sizeof(name), "%s.%d", (const char *)path, i);
		while (access(name, F_OK) < 0)
			usleep(50000);
		pthread_create(&thread, NULL, work, NULL);
	}
	return NULL;
}

__attribute__((constructor)) static void begin(void)
{
	char *path = getenv("DOMTUNE_WORKER");
	pthread_t thread;

	if (path)
		pthread_create(&thread, NULL, wait_for_files, path);
}
