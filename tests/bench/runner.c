/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Run commands in rotation and print the median wall time of each as a ratio to the first: absolute times of a shared
 * machine mean nothing, ratios of one run do. vfork + execve, standard input from a file, output to /dev/null.
 *
 *   usage: runner ROUNDS TABLE        a line of TABLE: LABEL|STDIN-FILE|PROGRAM|ARGUMENT|...|=NAME=VALUE
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMANDS_MAX 64
#define WORDS_MAX 32
#define ROUNDS_MAX 1000

struct command {
	char *label, *input;
	char *argv[WORDS_MAX], *envp[3];
	double us[ROUNDS_MAX];
	long rss_kib;
};

static struct command commands[COMMANDS_MAX];
static char *inherited_path;

static int read_table(const char *path)
{
	char line[8192];
	int n = 0;
	FILE *f = fopen(path, "re");

	if (!f)
		return -1;
	while (n < COMMANDS_MAX && fgets(line, sizeof(line), f)) {
		struct command *c = &commands[n];
		int argc = 0;
		char *copy, *save = NULL, *word;

		line[strcspn(line, "\n")] = '\0';
		if (!line[0] || line[0] == '#')
			continue;
		copy = strdup(line);
		c->label = strtok_r(copy, "|", &save);
		c->input = strtok_r(NULL, "|", &save);
		c->envp[0] = inherited_path;
		while ((word = strtok_r(NULL, "|", &save)) && argc < WORDS_MAX - 1) {
			if (word[0] == '=')
				c->envp[1] = word + 1;
			else
				c->argv[argc++] = word;
		}
		n++;
	}
	fclose(f);
	return n;
}

static double run(struct command *c)
{
	struct timespec a, b;
	struct rusage usage;
	int status, in = open(c->input, O_RDONLY | O_CLOEXEC), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid;

	clock_gettime(CLOCK_MONOTONIC, &a);
	pid = vfork();
	if (pid == 0) {
		dup2(in < 0 ? null : in, 0);
		dup2(null, 1);
		dup2(null, 2);
		execve(c->argv[0], c->argv, c->envp);
		_exit(127);
	}
	wait4(pid, &status, 0, &usage);
	clock_gettime(CLOCK_MONOTONIC, &b);
	close(in);
	close(null);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
		fprintf(stderr, "runner: %s: cannot be run\n", c->argv[0]);
		exit(1);
	}
	if (usage.ru_maxrss > c->rss_kib)
		c->rss_kib = usage.ru_maxrss;
	return (double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[1]) : 0, n;
	char path[4096];

	snprintf(path, sizeof(path), "PATH=%s", getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
	inherited_path = path;
	n = argc > 2 ? read_table(argv[2]) : -1;
	if (n < 1 || rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: runner ROUNDS TABLE\n");
		return 2;
	}
	for (int i = -2; i < rounds; i++) /* two rounds to warm up */
		for (int k = 0; k < n; k++) {
			double us = run(&commands[k]);

			if (i >= 0)
				commands[k].us[i] = us;
		}
	for (int k = 0; k < n; k++)
		qsort(commands[k].us, (size_t)rounds, sizeof(double), compare);
	for (int k = 0; k < n; k++) {
		double *us = commands[k].us, median = us[rounds / 2];

		/* label, ratio, spread (quartiles) as ratios, median us, largest RSS of the direct child */
		printf("%s|%.2f|%.2f|%.2f|%.0f|%ld\n", commands[k].label, median / commands[0].us[rounds / 2],
		       us[rounds / 4] / commands[0].us[rounds / 2], us[rounds * 3 / 4] / commands[0].us[rounds / 2], median,
		       commands[k].rss_kib);
	}
	return 0;
}
