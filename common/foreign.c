/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt keeps one status file per running domain, <domstatus ... pid='N'> with the live <domain> inside
 * (qemuDomainObjPrivateXMLFormat, virDomainObjFormat). Most domains pin nothing, so the text is searched before an
 * XML parser sees it: a thousand unpinned domains cost one file read each, and the threads of each are looked at.
 *
 * Whoever may use every online CPU is not pinned, whatever the XML says. Threads count as pinned if those that may not
 * use all may together use no more CPUs than there are vCPUs. That leaves out what only narrows a domain (<vcpu
 * cpuset=>, placement='auto', a custom partition): it shares those CPUs with others of its kind.
 */
#include "foreign_priv.h"

#include "num.h"
#include "paths.h"

/* The status file has libvirt's own data around the domain. */
#define STATUS_XML_MAX (DOMAIN_XML_MAX + (1u << 20))
/* More running domains than any host has; what lies beyond is not looked at. */
#define STATUS_FILES_MAX 16384

struct idset foreign_pins(const struct domain *d, const struct idset *online)
{
	struct idset cpus = IDSET_EMPTY;

	for (unsigned int i = 0; i < d->n_vcpupin; i++) {
		const struct domain_pin *pin = &d->vcpupin[i];

		if (idset_has(&d->vcpus_online, pin->id) && !idset_is_subset(online, &pin->cpus))
			idset_or(&cpus, &pin->cpus);
	}
	idset_and(&cpus, online);
	return cpus;
}

/* The text of <domain> in a status file; NULL if there is none. libvirt escapes "<" everywhere before it. */
static char *find_domain(char *text, size_t *ret_len)
{
	static const char close_tag[] = "</domain>";
	char *begin = text, *end = NULL;

	while ((begin = strstr(begin, "<domain")) && !strchr(" >", begin[strlen("<domain")]))
		begin++;
	for (char *at = begin; at && (at = strstr(at, close_tag)); at += strlen(close_tag))
		end = at + strlen(close_tag);
	if (!begin || !end)
		return NULL;
	*ret_len = (size_t)(end - begin);
	return begin;
}

/* The process of a status file, from its root element; 0 unknown. */
static int find_pid(const char *text)
{
	const char *tag = strstr(text, "<domstatus "), *end = tag ? strchr(tag, '>') : NULL;
	const char *at = tag ? strstr(tag, " pid='") : NULL;
	char digits[12];
	uint64_t pid;
	size_t len;

	if (!at || !end || at > end)
		return 0;
	at += strlen(" pid='");
	len = strspn(at, "0123456789");
	if (len >= sizeof(digits) || at[len] != '\'')
		return 0;
	memcpy(digits, at, len);
	digits[len] = '\0';
	return num_parse_range(digits, 1, INT32_MAX, &pid) == 0 ? (int)pid : 0;
}

int foreign_thread_cpus(const struct hostfs *fs, int pid, const char *tid, struct idset *ret)
{
	static const char key[] = "\nCpus_allowed_list:";
	char status[16384], *at, *end;
	int n = hostfs_read(fs, status, sizeof(status), "proc/%d/task/%s/status", pid, tid);

	if (n < 0)
		return n;
	at = strstr(status, key);
	if (!at)
		return -EINVAL;
	at += sizeof(key) - 1;
	at += strspn(at, " \t");
	end = strchr(at, '\n');
	if (end)
		*end = '\0';
	return idset_parse(at, ret);
}

/* QEMU names vCPU threads "CPU n/KVM" or "CPU n/TCG" (qemu_thread_create in accel/); libvirt always asks for it. */
static bool is_vcpu(const struct hostfs *fs, int pid, const char *tid)
{
	char comm[64];

	return hostfs_read(fs, comm, sizeof(comm), "proc/%d/task/%s/comm", pid, tid) > 0 && str_starts(comm, "CPU ");
}

static struct idset thread_pins(const struct hostfs *fs, int pid, const struct idset *online)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "proc/%d/task", pid);
	struct idset all = IDSET_EMPTY;
	unsigned int vcpus = 0;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct idset cpus = IDSET_EMPTY;

		if (!hostfs_is_name(entry->d_name) || !is_vcpu(fs, pid, entry->d_name))
			continue;
		if (foreign_thread_cpus(fs, pid, entry->d_name, &cpus) < 0)
			continue;
		vcpus++;
		if (!idset_is_subset(online, &cpus))
			idset_or(&all, &cpus);
	}
	idset_and(&all, online);
	return idset_count(&all) > vcpus ? IDSET_EMPTY : all;
}

static int add_found(const char *uuid, const char *name, int pid, uint64_t start, const struct idset *cpus,
		     struct ledger *known, struct ledger *found)
{
	struct claim *c;

	if (!uuid_is_valid(uuid) || ledger_find(known, uuid) || ledger_find(found, uuid))
		return 0;
	c = ledger_add(found, uuid, name);
	if (!c)
		return -ENOMEM;
	c->kind = CLAIM_FOREIGN;
	c->phase = CLAIM_STARTED;
	c->pid = pid;
	c->pid_start = start;
	c->cpus = ledger_set(found, cpus);
	return c->cpus ? 1 : -ENOMEM;
}

int foreign_add_process(struct ledger *known, struct ledger *found, const char *name, int pid, uint64_t start,
			const struct idset *cpus)
{
	char uuid[64];

	/* Version 8 of RFC 9562: to be told apart from those that libvirt makes (4). */
	(void)snprintf(uuid, sizeof(uuid), "%08x-0000-8000-8000-%012llx", (unsigned int)pid,
		       (unsigned long long)start & 0xffffffffffffull);
	return add_found(uuid, name, pid, start, cpus, known, found);
}

/* One status file. Returns 1 if a claim was added, 0 if not, -ENOMEM. */
static int look_at(const struct hostfs *fs, const char *file, const struct idset *online, struct ledger *known,
		   struct ledger *found)
{
	_cleanup_free_ char *text = NULL;
	struct idset cpus = IDSET_EMPTY;
	struct domain d;
	size_t len = 0;
	uint64_t start;
	char *xml;
	int pid, r;

	if (hostfs_read_all(fs, STATUS_XML_MAX, &text, NULL, PATH_LIBVIRT_RUN "/%s", file) < 0)
		return 0;
	pid = find_pid(text);
	xml = find_domain(text, &len);
	start = pid ? hostfs_proc_start(fs, pid) : 0;
	if (!xml || start == 0)
		return 0;
	if (!strstr(xml, "<vcpupin ")) {
		cpus = thread_pins(fs, pid, online);
		if (idset_is_empty(&cpus))
			return 0;
	}

	r = domain_parse(xml, len, &d, NULL);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	if (idset_is_empty(&cpus))
		cpus = foreign_pins(&d, online);
	r = idset_is_empty(&cpus) ? 0 : add_found(d.uuid, d.name, pid, start, &cpus, known, found);
	domain_fini(&d);
	return r;
}

int foreign_scan(const struct hostfs *fs, struct ledger *known, const struct idset *online, struct ledger *found)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, PATH_LIBVIRT_RUN);
	unsigned int files = 0;
	struct dirent *entry;
	int added = 0;

	while (dir && files < STATUS_FILES_MAX && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);
		int r;

		if (len <= 4 || !streq(entry->d_name + len - 4, ".xml") || !hostfs_is_name(entry->d_name))
			continue;
		files++;
		r = look_at(fs, entry->d_name, online, known, found);
		if (r < 0)
			return r;
		added += r;
	}
	return added;
}

int foreign_merge(struct ledger *to, const struct ledger *found)
{
	for (unsigned int i = 0; i < found->n_claims; i++) {
		const struct claim *f = &found->claims[i];
		struct claim *c;

		if (ledger_find(to, f->uuid))
			continue;
		c = ledger_add(to, f->uuid, f->name);
		if (!c)
			return -ENOMEM;
		c->kind = f->kind;
		c->phase = f->phase;
		c->pid = f->pid;
		c->pid_start = f->pid_start;
		c->since = f->since;
		c->cpus = ledger_set(to, f->cpus);
		if (!c->cpus)
			return -ENOMEM;
	}
	return 0;
}
