/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For the placement bench: fleets of guests that come and go, and what different packers make of them.
 *
 * A fleet is made for one host and one seed: the same numbers give the same fleet. Its guests never want more CPUs or
 * memory in all than the host has, so that everybody finds a place; whether that is one node is the packer's doing.
 */
#pragma once

#include "common/host.h"
#include "common/place.h"

struct guest {
	unsigned int vcpus;
	unsigned int need;           /* CPUs taken from the others: with idle siblings; 0: shared */
	unsigned int need_least;     /* the same where cores are smallest (asymmetric SMT) */
	enum place_threads threads;
	uint64_t memory;             /* bytes */
	bool huge;                   /* of 2M pages */
	unsigned int start, stop;    /* numbers of events; it has its place from start on, up to before stop */
};

struct event {
	unsigned int guest;
	bool start;
};

struct fleet {
	struct guest *guests; unsigned int n_guests;
	struct event *events; unsigned int n_events;
};

/* How full the host is: dedicated guests hold at most this share of its CPUs. */
void fleet_make(const struct host *h, uint64_t seed, unsigned int percent, unsigned int starts, struct fleet *ret);
void fleet_fini(struct fleet *f);

/* What of a node guests may have: ordinary memory and 2M pages, in bytes; UINT64_MAX: no limit is known. */
uint64_t fleet_node_memory(const struct host_node *n, bool huge);
/* Default policy: the core of CPU 0. */
struct idset fleet_reserved(const struct host *h);

/* Per guest: CPUs and memory on one and the same node; and all CPUs in one L3 group. */
struct outcome {
	bool *one_node, *one_l3;
	unsigned int unmet; /* dedicated ones that got no CPUs of their own */
};

void outcome_init(struct outcome *o, const struct fleet *f);
void outcome_fini(struct outcome *o);

/* domtune itself. */
void play_ours(const struct host *h, const struct fleet *f, struct outcome *ret);
/* The lowest free CPUs (whole cores where asked for); by_node: those of the first node that has CPUs and memory enough. */
void play_first_fit(const struct host *h, const struct fleet *f, bool by_node, struct outcome *ret);
/* Knows the whole fleet beforehand; see packer.c. */
void play_omniscient(const struct host *h, const struct fleet *f, unsigned int rounds, struct outcome *ret);

/* malloc or exit. */
void *bench_alloc(size_t n, size_t size);
