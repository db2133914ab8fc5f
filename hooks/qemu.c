/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The libvirt hook: /etc/libvirt/hooks/qemu NAME OPERATION SUB-OPERATION EXTRA, domain XML on stdin.
 *
 * libvirt calls it for every domain, holds that domain's lock meanwhile, and waits without limit. So this
 * program links nothing but libc, finds out with a few reads whether the call concerns us at all, and leaves
 * all work to a worker under a deadline (supervise.h). The table below says what each operation reads and which
 * worker it needs.
 *
 * Guarantees: exit status 0, but for a prepare whose owner asked for on-error="fail"; nothing on stdout
 * (migrate and restore take that for XML); on stderr only the line that goes with exit status 1, and a usage
 * line; no descriptor of libvirt's is passed on; argv[1] is only ever printed.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/domhead.h"
#include "common/gate.h"
#include "common/ledger.h"
#include "common/log.h"
#include "common/num.h"
#include "common/paths.h"
#include "hook.h"
#include "supervise.h"

/* What a pipe holds by default (pipe(7)), so that an ordinary XML comes with one read. */
#define INPUT_FIRST 65536
/* "<domain>" to "</uuid>" with the longest name a file system can keep, each byte escaped as "&quot;". */
#define INPUT_HEAD 16384
/* Below this there is no point in starting one more worker; the next call does it. */
#define SWEEP_MIN_MS 100

enum input { INPUT_NONE, INPUT_UUID, INPUT_WHOLE };

struct hook {
	struct hostfs fs;
	const struct operation *op;
	const char *name;   /* as libvirt gave it: hostile */
	const char *root;   /* DOMTUNE_ROOT, NULL */
	pid_t daemon;       /* libvirtd, on which the claim hangs until the guest runs */
	uint64_t begin, until;
	bool gate_valid;
	struct gate gate;
	char *text;         /* of the XML, not terminated */
	size_t len, room;
	bool over;          /* more than HOOK_XML_MAX came */
	bool late;          /* the end did not come by the deadline */
	struct domhead head;
	bool undo_exists;   /* of this domain */
};

/* A worker's command line; program NULL: none is needed. */
struct work {
	const char *program, *verb, *argument;
	bool takes_xml;
};

struct operation {
	const char *name;
	enum input input;
	struct work (*choose)(struct hook *h);
	bool sweeps;             /* dead domains are looked for afterwards */
	bool may_refuse;
	const char *consequence; /* of a worker that failed */
};

static const char decide_program[] = DT_HELPERS "/decide", apply_program[] = DT_HELPERS "/apply";
static char first_piece[INPUT_FIRST];
static char daemon_pid[16];

__attribute__((used)) static const char hook_marker[] = HOOK_MARKER;

/* ---- what is to be done ---- */

static struct work apply_work(const struct hook *h, const char *verb)
{
	return (struct work){ apply_program, verb, h->head.uuid, false };
}

static struct work decide_work(const struct hook *h, const char *verb)
{
	(void)snprintf(daemon_pid, sizeof(daemon_pid), "%d", (int)h->daemon);
	return (struct work){ decide_program, verb, daemon_pid, true };
}

/* Whether `decide` may be left out: the policy gives nothing to a domain that does not ask, and it does not. */
static bool is_untouched(const struct hook *h)
{
	return h->gate_valid && h->gate.idle_untouched && !domhead_may_concern(h->text, h->len);
}

static struct work choose_prepare(struct hook *h)
{
	if (h->over || h->late || gate_is_disabled(&h->fs))
		return h->undo_exists ? apply_work(h, "release") : (struct work){ 0 };
	if (h->undo_exists || !is_untouched(h))
		return decide_work(h, "prepare");
	return (struct work){ 0 };
}

static struct work choose_reconnect(struct hook *h)
{
	if (h->undo_exists)
		return apply_work(h, "reconnect");
	if (h->over || h->late || is_untouched(h) || gate_is_disabled(&h->fs))
		return (struct work){ 0 };
	return decide_work(h, "adopt");
}

static struct work choose_known(struct hook *h)
{
	return h->undo_exists ? apply_work(h, h->op->name) : (struct work){ 0 };
}

/*
 * stopped does not look for dead domains: its own is one by then, and is undone in release.
 */
/* clang-format off */
static const struct operation operations[] = {
	{ "prepare",   INPUT_WHOLE, choose_prepare,   true,  true,  "the guest starts untuned" },
	{ "start",     INPUT_NONE,  NULL,             false, false, NULL },
	{ "started",   INPUT_UUID,  choose_known,     true,  false, "settings may be missing (domtune verify)" },
	{ "stopped",   INPUT_UUID,  choose_known,     false, false, "release goes on with it" },
	{ "release",   INPUT_UUID,  choose_known,     true,  false, "what is left is undone later (domtune recover)" },
	{ "reconnect", INPUT_WHOLE, choose_reconnect, true,  false, "the running guest stays as it is" },
	{ "migrate",   INPUT_NONE,  NULL,             false, false, NULL },
	{ "restore",   INPUT_NONE,  NULL,             false, false, NULL },
	{ "attach",    INPUT_NONE,  NULL,             false, false, NULL },
};
/* clang-format on */

static const struct operation *find_operation(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
		if (streq(operations[i].name, name))
			return &operations[i];
	return NULL;
}

/* ---- input ---- */

/* The next piece of stdin. Returns its length, 0 at the end, -ETIME when the deadline came first. */
static ssize_t read_piece(const struct hook *h, char *to, size_t room)
{
	for (;;) {
		struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
		uint64_t now = supervise_now();
		int n = poll(&p, 1, now < h->until ? (int)(h->until - now) : 0);
		ssize_t got;

		if (n == 0)
			return -ETIME;
		got = n < 0 ? -1 : read(STDIN_FILENO, to, room);
		if (got >= 0)
			return got;
		if (errno != EINTR && errno != EAGAIN)
			return 0; /* not readable is as good as empty */
	}
}

/* A text that does not fit in the first piece gets all the room it may have, once; pages come as they are used. */
static bool more_room(struct hook *h)
{
	char *all;

	if (h->room != sizeof(first_piece))
		return false;
	all = malloc(HOOK_XML_MAX);
	if (!all)
		return false;
	memcpy(all, h->text, h->len);
	h->text = all;
	h->room = HOOK_XML_MAX;
	return true;
}

/* What is over the cap is read and dropped, so that libvirt's writer is not cut off. */
static void drain(struct hook *h)
{
	static char drop[INPUT_FIRST];
	ssize_t n;

	while ((n = read_piece(h, drop, sizeof(drop))) > 0)
		h->over = true;
	h->late = n < 0;
}

static void read_whole(struct hook *h)
{
	ssize_t n;

	while (h->len < h->room || more_room(h)) {
		n = read_piece(h, h->text + h->len, h->room - h->len);
		if (n <= 0) {
			h->late = n < 0;
			return;
		}
		h->len += (size_t)n;
	}
	drain(h);
}

/* As much as the head needs; the rest stays in the pipe (libvirt's virCommand takes a closed pipe calmly). */
static void read_head(struct hook *h)
{
	while (h->len < INPUT_HEAD) {
		ssize_t n = read_piece(h, h->text + h->len, h->room - h->len);

		if (n <= 0)
			return;
		h->len += (size_t)n;
		if (domhead_parse(h->text, h->len, &h->head) == 0)
			return;
	}
}

static void read_input(struct hook *h)
{
	h->text = first_piece;
	h->room = sizeof(first_piece);
	if (h->op->input == INPUT_WHOLE)
		read_whole(h);
	else
		read_head(h);
	if (domhead_parse(h->text, h->len, &h->head) == 0 && uuid_is_valid(h->head.uuid))
		h->undo_exists = hostfs_exists(&h->fs, PATH_UNDO "/%s", h->head.uuid);
}

/* The XML as a file that the worker can read at leisure while we watch it. */
static int xml_as_fd(const struct hook *h)
{
	_cleanup_close_ int fd = memfd_create("domtune-xml", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (size_t done = 0; done < h->len;) {
		ssize_t n = write(fd, h->text + done, h->len - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* ---- output ---- */

/* One line on stderr; text and name come from outside. */
static void say(const char *name, const char *text)
{
	char line[WORKER_REFUSED_SIZE + 160];
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	int len = snprintf(line, sizeof(line) - 1, "domtune: %.128s: %s", name, text);

	if (len < 0)
		return;
	if ((size_t)len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	for (int i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[len++] = '\n';
	(void)sigaction(SIGPIPE, &ignore, NULL);
	if (write(STDERR_FILENO, line, (size_t)len) < 0)
		log_debug("stderr is closed");
}

static int refuse(const struct hook *h, const char *why)
{
	say(h->name, why);
	return 1;
}

/* ---- running workers ---- */

static void run(struct hook *h, const struct work *w, uint64_t until, struct worker_report *ret)
{
	const char *argv[] = { w->program, w->verb, w->argument, NULL };
	_cleanup_close_ int xml = -1;
	struct worker worker = { .argv = argv, .input = -1, .root = h->root, .deadline_ms = h->gate.deadline_ms,
				 .grow_ms = h->gate.grow_deadline_ms };

	if (w->takes_xml) {
		xml = xml_as_fd(h);
		if (xml < 0) {
			*ret = (struct worker_report){ .end = WORKER_NOT_RUN, .code = -xml };
			return;
		}
		worker.input = xml;
	}
	supervise(&worker, until, ret);
	/* It has read the policy. */
	h->gate.deadline_ms = ret->deadline_ms;
	h->gate.grow_deadline_ms = ret->grow_ms;
	h->until = h->begin + h->gate.deadline_ms;
}

/* How it ended, in words; "" where the worker has logged that itself. */
static void describe_end(const struct work *w, const struct worker_report *r, char *buf, size_t size)
{
	const char *tail = r->stuck ? " (it cannot be killed now)" : "";

	buf[0] = '\0';
	if (r->end == WORKER_LATE)
		(void)snprintf(buf, size, "%s not done within %u ms%s", w->verb,
			       r->deadline_ms + (r->growing ? r->grow_ms : 0), tail);
	else if (r->end == WORKER_NOT_RUN)
		(void)snprintf(buf, size, "%s could not be run%s%s", w->program, r->code ? ": " : "",
			       r->code ? err_name(r->code) : "");
	else if (r->end == WORKER_FAILED && WIFSIGNALED(r->wait_status))
		(void)snprintf(buf, size, "%s ended with signal %d", w->program, WTERMSIG(r->wait_status));
}

/* Undo what a refused prepare left behind. libvirt calls stopped and release after it, which would do it too. */
static void take_back(struct hook *h)
{
	struct work w = apply_work(h, "release");
	struct worker_report r;

	if (uuid_is_valid(h->head.uuid) && hostfs_exists(&h->fs, PATH_UNDO "/%s", h->head.uuid))
		run(h, &w, supervise_now() + h->gate.deadline_ms, &r);
}

static int run_phase(struct hook *h, const struct work *w)
{
	struct worker_report r;
	char how[WORKER_REFUSED_SIZE];
	bool refused;

	run(h, w, h->until, &r);
	describe_end(w, &r, how, sizeof(how));
	refused = h->op->may_refuse && (r.end == WORKER_REFUSED || (r.strict && r.end != WORKER_DONE));
	if (how[0])
		log_warning("%s %s: %s: %s", h->name, h->op->name, how,
			    refused ? "the start is refused (on-error=\"fail\")"
			    : h->op->may_refuse && ledger_has_moves(&h->fs)
				    ? "the guest starts, and shared ones may still be on its CPUs until the next call "
				      "moves them"
				    : h->op->consequence);
	if (!refused)
		return 0;
	take_back(h);
	if (r.end == WORKER_REFUSED)
		return refuse(h, r.refused);
	return refuse(h, how[0] ? how : "tuning failed and on-error=\"fail\" was asked for; the log has the reason");
}

static void sweep(struct hook *h)
{
	struct work w = { apply_program, "sweep", NULL, false };
	struct worker_report r;
	char how[WORKER_REFUSED_SIZE];

	if (supervise_now() + SWEEP_MIN_MS > h->until || !ledger_has_dead(&h->fs))
		return;
	run(h, &w, h->until, &r);
	describe_end(&w, &r, how, sizeof(how));
	if (how[0])
		log_warning("%s: what dead domains left is undone by the next call or domtune recover", how);
}

/* ---- the call ---- */

/* Libc and later opens rely on 0 to 2 being taken, and whoever starts us may have closed them. */
static void reserve_std_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		(void)close(fd);
}

/*
 * As qemu.d/50-domtune we are called after /etc/libvirt/hooks/qemu; if that is this program too, it has done
 * everything. libvirt runs it only if it is executable.
 */
static bool is_second(const struct hook *h, const char *self)
{
	static const char dir[] = "/qemu.d/";
	const char *slash = strrchr(self, '/');
	_cleanup_close_ int fd = -1;
	struct stat st;
	size_t kept = 0;
	ssize_t n;

	if (!slash || slash - self < (ptrdiff_t)sizeof(dir) - 2 || !str_starts(slash - (sizeof(dir) - 2), dir))
		return false;
	fd = hostfs_open(&h->fs, O_RDONLY | O_NONBLOCK, "etc/libvirt/hooks/qemu");
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111) || st.st_size > HOOK_SIZE_MAX)
		return false;
	while ((n = read(fd, first_piece + kept, sizeof(first_piece) - kept)) > 0) {
		size_t have = kept + (size_t)n;

		if (memmem(first_piece, have, hook_marker, sizeof(hook_marker) - 1))
			return true;
		kept = have < sizeof(hook_marker) ? have : sizeof(hook_marker);
		memmove(first_piece, first_piece + have - kept, kept);
	}
	return false;
}

static void load_gate(struct hook *h)
{
	h->gate_valid = gate_load(&h->fs, &h->gate) == 0;
	h->until = h->begin + h->gate.deadline_ms;
}

static void warn_input(const struct hook *h)
{
	if (h->over)
		log_warning("%s %s: domain XML of more than %u bytes: %s", h->name, h->op->name, HOOK_XML_MAX,
			    h->op->consequence);
	else if (h->late)
		log_warning("%s %s: domain XML not complete within %u ms: %s", h->name, h->op->name,
			    h->gate.deadline_ms, h->op->consequence);
}

static int handle(struct hook *h)
{
	struct work w;
	int status = 0;

	if (h->op->input == INPUT_WHOLE)
		load_gate(h);
	read_input(h);
	if (h->op->input == INPUT_WHOLE)
		warn_input(h);
	w = h->op->choose(h);
	if (w.program) {
		if (h->op->input != INPUT_WHOLE)
			load_gate(h);
		status = run_phase(h, &w);
	}
	if (h->op->sweeps)
		sweep(h);
	return status;
}

int main(int argc, char **argv)
{
	/* The parent's number is only good while it lives: it is taken at once. */
	struct hook h = { .fs = HOSTFS_INIT, .gate = GATE_DEFAULT, .daemon = getppid() };
	int status = 0;

	reserve_std_fds();
	if (argc < 5) {
		say("usage", "qemu NAME OPERATION SUB-OPERATION EXTRA < domain.xml (libvirt calls it)");
		return 0; /* whoever calls it like this is not to lose a guest */
	}
	h.name = argv[1];
	h.op = find_operation(argv[2]);
	if (!h.op || !h.op->choose)
		return 0;
	h.begin = supervise_now();
	h.until = h.begin + h.gate.deadline_ms;
	h.root = getenv("DOMTUNE_ROOT");
	if (hostfs_init(&h.fs, h.root, NULL) < 0)
		return 0;
	log_init(&h.fs, false);
	if (!is_second(&h, argv[0]))
		status = handle(&h);
	if (h.text != first_piece)
		free(h.text);
	hostfs_fini(&h.fs);
	return status;
}
