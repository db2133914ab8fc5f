/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loaded into a QEMU (LD_PRELOAD): when the file $DOMTUNE_WORKER appears, a thread that is called like a vhost worker of
 * Linux 6.4 and later, and that runs on the CPU that the file names. There is no /dev/vhost-net on most test machines.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
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

static void *wait_for_file(void *path)
{
	pthread_t thread;
	cpu_set_t set;
	FILE *file;
	int cpu;

	while (!(file = fopen(path, "re")))
		usleep(50000);
	if (fscanf(file, "%d", &cpu) == 1) {
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		sched_setaffinity(0, sizeof(set), &set); /* so that it has it from the first instruction */
		pthread_create(&thread, NULL, work, NULL);
	}
	fclose(file);
	return NULL;
}

__attribute__((constructor)) static void begin(void)
{
	char *path = getenv("DOMTUNE_WORKER");
	pthread_t thread;

	if (path)
		pthread_create(&thread, NULL, wait_for_file, path);
}
