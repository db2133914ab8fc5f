/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "irq.h"

#include <sys/stat.h>

#include "lines.h"
#include "num.h"
#include "plan.h"

#define LEVELS 12 /* a disk behind two SAS expanders is 10 below its controller */
#define PATH_SIZE 512

static int compare_numbers(const void *a, const void *b)
{
	unsigned int x = *(const unsigned int *)a, y = *(const unsigned int *)b;

	return (x > y) - (x < y);
}

static int add_number(struct irq_set *s, unsigned int irq, unsigned int *room)
{
	unsigned int *more;

	if (s->n < *room) {
		s->irq[s->n++] = irq;
		return 0;
	}
	*room = *room ? 2 * *room : 32;
	more = reallocarray(s->irq, *room, sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->irq = more;
	s->irq[s->n++] = irq;
	return 0;
}

/* Entries of a directory that are numbers. */
static int read_numbers(DIR *dir, struct irq_set *ret)
{
	unsigned int room = 0;
	const struct dirent *d;
	uint64_t irq;

	*ret = (struct irq_set){0};
	while ((d = readdir(dir)))
		if (num_parse_range(d->d_name, 0, IRQ_MAX - 1, &irq) == 0 &&
		    add_number(ret, (unsigned int)irq, &room) < 0) {
			free(ret->irq);
			*ret = (struct irq_set){0};
			return -ENOMEM;
		}
	if (ret->n)
		qsort(ret->irq, ret->n, sizeof(*ret->irq), compare_numbers);
	return 0;
}

int irq_find_all(const struct hostfs *fs, struct irq_set *ret)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, IRQ_DIR);

	*ret = (struct irq_set){0};
	return dir ? read_numbers(dir, ret) : -ENOENT;
}

bool irq_asked(const char *wanted, struct idset *ret)
{
	_cleanup_free_ char *to = strndup(wanted, strcspn(wanted, "!"));
	char *otherwise = to ? strchr(to, '/') : NULL;

	if (otherwise)
		*otherwise = ',';
	return to && *to && strchr(wanted, '!') && idset_parse(to, ret) == 0;
}

bool irq_is_kept_off(const char *wanted, const char *value)
{
	struct idset asked, given;

	return irq_asked(wanted, &asked) && idset_parse(value, &given) == 0 && !idset_intersects(&asked, &given);
}

bool irq_kept_clear(const char *wanted, struct idset *ret)
{
	return wanted[0] == '!' && idset_parse(wanted + 1, ret) == 0;
}

bool irq_set_has(const struct irq_set *s, unsigned int irq)
{
	return s->n && bsearch(&irq, s->irq, s->n, sizeof(*s->irq), compare_numbers);
}

void irq_device_fini(struct irq_device *d)
{
	free(d->set.irq);
	d->set = (struct irq_set){0};
}

void irq_list_free(struct irq_list *l)
{
	if (!l)
		return;
	for (unsigned int i = 0; i < l->n_devices; i++)
		irq_device_fini(&l->devices[i]);
	free(l->devices);
	free(l->all.irq);
	free(l);
}

/* --- by name of the handler ------------------------------------------------------------------------------------- */

static bool is_pci(const char *name)
{
	return strlen(name) >= 12 && name[4] == ':' && strchr(name, '.');
}

/*
 * "eth0-rx-0" and "nvme0q1" are of eth0 and nvme0, "eth01" and "nvme01" are not. VFIO has the function's address behind:
 * "vfio-msix[2](0000:01:00.0)".
 */
static bool is_of(const char *action, const char *device)
{
	size_t n = strlen(device);

	if (is_pci(device))
		return strstr(action, device) != NULL;
	return n && strncmp(action, device, n) == 0 && (action[n] < '0' || action[n] > '9');
}

static DIR *open_irq(const struct hostfs *fs, unsigned int irq)
{
	return hostfs_opendir(fs, IRQ_DIR "/%u", irq);
}

static bool has_action(const struct hostfs *fs, unsigned int irq, const char *const names[2])
{
	_cleanup_closedir_ DIR *dir = open_irq(fs, irq);
	const struct dirent *d;

	while (dir && (d = readdir(dir)))
		if (d->d_type != DT_REG && (is_of(d->d_name, names[0]) || is_of(d->d_name, names[1])))
			return true;
	return false;
}

static int find_by_action(const struct hostfs *fs, const char *const names[2], struct irq_set *ret)
{
	struct irq_set all;
	int r = irq_find_all(fs, &all);
	unsigned int n = 0;

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (unsigned int i = 0; i < all.n; i++)
		if (has_action(fs, all.irq[i], names))
			all.irq[n++] = all.irq[i];
	all.n = n;
	*ret = all;
	return 0;
}

void irq_names(const struct hostfs *fs, unsigned int irq, char *buf, size_t size)
{
	_cleanup_closedir_ DIR *dir = open_irq(fs, irq);
	const struct dirent *d;
	size_t len = 0;

	buf[0] = '\0';
	while (dir && (d = readdir(dir))) {
		int n;

		if (d->d_type == DT_REG || d->d_name[0] == '.')
			continue;
		n = snprintf(buf + len, size - len, "%s%s", len ? ", " : "", d->d_name);
		if (n < 0 || (size_t)n >= size - len)
			return; /* cut is fine: it is for people */
		len += (size_t)n;
	}
}

/* --- by device -------------------------------------------------------------------------------------------------- */

/* The device's directory below its class; false: there is no such device. parent: its own name, as handlers have it. */
static bool find_directory(const struct hostfs *fs, const char *name, char dir[PATH_SIZE], char parent[256])
{
	static const struct {
		const char *class;
		bool pci;
	} places[] = {
		{"sys/bus/pci/devices", true}, {"sys/class/net", false}, {"sys/class/nvme", false}, {"sys/block", false},
	};

	parent[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_closedir_ DIR *d = NULL;
		char link[PATH_SIZE];
		const char *slash;

		if (places[i].pci != is_pci(name))
			continue;
		d = hostfs_opendir(fs, "%s/%s", places[i].class, name);
		if (!d)
			continue;
		(void)snprintf(dir, PATH_SIZE, "%s/%s%s", places[i].class, name, places[i].pci ? "" : "/device"); /* fits */
		if (!places[i].pci && hostfs_readlink_in(d, "device", link, sizeof(link)) > 0) {
			slash = strrchr(link, '/');
			(void)snprintf(parent, 256, "%.255s", slash ? slash + 1 : link); /* a name */
		}
		return true;
	}
	return false;
}

static int read_vectors(const struct hostfs *fs, const char *function, uint64_t line, struct irq_set *ret)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "%s/msi_irqs", function);
	unsigned int room = 0;

	if (dir)
		return read_numbers(dir, ret);
	/* 0 is none, 255 what firmware writes for "not connected" (PCI Local Bus Specification 3.0, 6.2.4) */
	return line == 0 || line == 255 || line >= IRQ_MAX ? 0 : add_number(ret, (unsigned int)line, &room);
}

int irq_find_device(const struct hostfs *fs, const char *name, struct irq_device *ret)
{
	char path[PATH_SIZE + LEVELS * 3], parent[256];
	struct irq_device d = {.node = -1};
	size_t len;

	if (!hostfs_is_name(name) || strlen(name) >= sizeof(d.name) || !find_directory(fs, name, path, parent))
		return -ENOENT;
	(void)snprintf(d.name, sizeof(d.name), "%s", name); /* fits */
	len = strlen(path);
	for (int i = 0; i < LEVELS; i++) {
		struct stat st;
		uint64_t line, node;

		/* A PCI function has it, whatever kind of interrupts it uses. */
		if (hostfs_read_u64(fs, &line, "%s/irq", path) < 0) {
			memcpy(path + len, "/..", sizeof("/.."));
			len += 3;
			continue;
		}
		if (hostfs_stat(fs, &st, "%s", path) == 0) {
			d.dev = st.st_dev;
			d.ino = st.st_ino;
		}
		if (hostfs_read_u64(fs, &node, "%s/numa_node", path) == 0 && node <= INT32_MAX)
			d.node = (int)node;
		if (read_vectors(fs, path, line, &d.set) < 0)
			return -ENOMEM;
		*ret = d;
		return 0;
	}
	if (find_by_action(fs, (const char *const[2]){d.name, parent}, &d.set) < 0)
		return -ENOMEM;
	*ret = d;
	return 0;
}

/* --- of a plan -------------------------------------------------------------------------------------------------- */

static int read_list(const struct hostfs *fs, const struct plan *p, struct irq_list *l)
{
	int r = irq_find_all(fs, &l->all);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (hostfs_read(fs, l->online, sizeof(l->online), "sys/devices/system/cpu/online") < 0)
		l->online[0] = '\0';
	for (size_t i = 0; i < p->n_settings; i++) {
		const struct setting *s = &p->settings[i];
		struct irq_device *more;

		if (!streq(s->knob, "irq.policy") || !*s->target)
			continue;
		more = GROW(l->devices, l->n_devices);
		if (!more)
			return -ENOMEM;
		r = irq_find_device(fs, s->target, more);
		if (r == -ENOMEM)
			return r;
		if (r == 0)
			l->n_devices++;
	}
	return 0;
}

int irq_refresh(const struct hostfs *fs, struct plan *p)
{
	bool any = false;
	int r;

	irq_list_free(p->irqs);
	p->irqs = NULL;
	for (size_t i = 0; i < p->n_settings && !any; i++)
		any = streq(p->settings[i].knob, "irq.policy");
	if (!any)
		return 0;
	p->irqs = calloc(1, sizeof(*p->irqs));
	r = p->irqs ? read_list(fs, p, p->irqs) : -ENOMEM;
	if (r < 0) {
		irq_list_free(p->irqs);
		p->irqs = NULL;
	}
	return r;
}
