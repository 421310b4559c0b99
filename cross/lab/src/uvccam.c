/* uvccam [-s WxH] [-p PORT] [-n SERIAL] [-l FIRST,LAST] [FILE.jpg | FILE.yuyv]...
 *
 * A USB video class camera in user space. It is plugged into the kernel's virtual USB host (vhci-hcd, the driver of
 * USB/IP) through a socket pair, so that the machine's real uvcvideo driver and udev see a high-speed USB camera, with a
 * serial number and a brightness control, at 30, 15, 10 or 5 frames a second. Ending the process unplugs the camera.
 *
 * It offers MJPEG if there are .jpg files, one frame each, and YUYV always: from the .yuyv files, which hold any number of
 * raw frames, or else a moving pattern. YUYV is there at half the size, too. Both formats play their frames in a loop.
 *
 * Lines on standard input:
 *   loop FIRST LAST  from now on only these frames (counted from 0), back and forth, so that nothing in them jumps; also -l
 *   freeze           no more frames
 *   error            every frame is marked as faulty
 *   short            frames end half-way
 *   empty            frames have no data
 *   stall, proto     transfers fail with EPIPE, EPROTO
 *   busy             no more frames, and requests are refused
 *   deaf             no more frames, and requests aren't answered
 *   wedge            no more frames, until the camera is configured anew, as by a reset
 *   half             half as many frames as were agreed on
 *   flaky            every third frame is marked as faulty
 *   go               none of these
 *   unplug           end
 *   unplug MOMENT    end at the next request of that kind: negotiating (the format is asked for), starting (it is agreed on) or
 *                    closing (the stream ends); or streaming, in the middle of a frame
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PAYLOAD = 16384, MAX_QUEUE = 256, PROBE_SIZE = 26 };
enum { MJPEG = 1, YUYV = 2 };
enum fault { NONE, FREEZE, ERROR, SHORT, EMPTY, STALL, PROTO, BUSY, DEAF, WEDGE, HALF, FLAKY };
enum moment { NEVER, NEGOTIATING, STARTING, CLOSING, STREAMING };

/* Standard requests, and those of the video class. */
enum { CLEAR_FEATURE = 1, GET_DESCRIPTOR = 6, GET_CONFIGURATION = 8, SET_CONFIGURATION = 9 };
enum { SET_CUR = 0x01, GET_CUR = 0x81, GET_MIN, GET_MAX, GET_RES, GET_LEN, GET_INFO, GET_DEF };
enum { VS_PROBE = 1, VS_COMMIT = 2, PU_BRIGHTNESS = 2, VC_ERROR_CODE = 2 };

/* The header of USB/IP's messages. */
enum { CMD_SUBMIT = 1, CMD_UNLINK = 2, RET_SUBMIT = 3, RET_UNLINK = 4 };
struct header {
	uint32_t command, seq, device, direction, endpoint;
	uint32_t arg[5]; /* submit: flags, length…; its answer: status, length…; unlink: seq; its answer: status */
	uint8_t setup[8];
} __attribute__((packed));

struct frames {
	uint8_t **data;
	unsigned *size, n;
};

static unsigned width = 640, height = 480, port;
static const char *serial = "LAB0001";
static const unsigned rates[] = {30, 15, 10, 5};
static struct frames jpegs, raws;

static int sock;
static struct { uint32_t seq, length; } queue[MAX_QUEUE]; /* transfers that wait for data */
static unsigned queued;

static uint8_t device_descriptor[18], config[512];
static unsigned config_size;
static uint8_t probe[PROBE_SIZE], commit[PROBE_SIZE];
static uint16_t brightness = 128;

static enum fault fault;
static enum moment end_at;
static unsigned first, last, at; /* which frames are played, and which is next */
static int back_and_forth, step = 1;
static const uint8_t *current; /* the frame on its way, or none */
static unsigned current_size, sent, count;
static double due; /* when the next frame is */
static uint8_t *scratch;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void *room(size_t n)
{
	void *p = calloc(1, n);
	if (!p)
		die("memory");
	return p;
}

/* USB is little-endian, USB/IP big-endian. */

static void put16(uint8_t *p, unsigned v)
{
	p[0] = v;
	p[1] = v >> 8;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v);
	put16(p + 2, v >> 16);
}

static uint32_t get32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void send_all(const void *p, size_t n)
{
	for (const char *c = p; n;) {
		ssize_t k = send(sock, c, n, MSG_NOSIGNAL);
		if (k <= 0)
			exit(0); /* the host let go of the camera */
		c += k;
		n -= k;
	}
}

static void receive_all(void *p, size_t n)
{
	for (char *c = p; n;) {
		ssize_t k = recv(sock, c, n, 0);
		if (k <= 0)
			exit(0);
		c += k;
		n -= k;
	}
}

/* answer ends a transfer; data is sent along for those that read. */
static void answer(uint32_t seq, int status, unsigned length, const void *data)
{
	static uint8_t message[sizeof(struct header) + 65536];
	struct header h = {.command = htonl(RET_SUBMIT), .seq = htonl(seq), .arg = {htonl(status), htonl(length)}};
	memcpy(message, &h, sizeof h);
	if (data && length)
		memcpy(message + sizeof h, data, length);
	send_all(message, sizeof h + (data ? length : 0));
}

/* Descriptors: what the camera says it is. */

static void add(const uint8_t *descriptor)
{
	memcpy(config + config_size, descriptor, descriptor[0]);
	config_size += descriptor[0];
}

#define ADD(...) add((const uint8_t[]){__VA_ARGS__})
#define LE32(v) (v) & 255, (v) >> 8 & 255, (v) >> 16 & 255, (v) >> 24 & 255

static void add_frame(int subtype, int index, unsigned w, unsigned h)
{
	uint8_t d[26 + 4 * 4] = {sizeof d, 0x24, subtype, index, 0};
	put16(d + 5, w);
	put16(d + 7, h);
	put32(d + 9, w * h * 16 * 5);
	put32(d + 13, w * h * 16 * 30);
	put32(d + 17, w * h * 2);
	put32(d + 21, 10000000 / rates[0]);
	d[25] = 4;
	for (int i = 0; i < 4; i++)
		put32(d + 26 + 4 * i, 10000000 / rates[i]);
	add(d);
}

static int format_count(void) { return jpegs.n ? 2 : 1; }

static void describe(void)
{
	static const uint8_t d[18] = {18, 1, 0, 2, 0xef, 2, 1, 64, 0x6b, 0x1d, 0x02, 0x01, 1, 0, 1, 2, 3, 1};
	memcpy(device_descriptor, d, sizeof d);

	ADD(9, 2, 0, 0, 2, 1, 0, 0x80, 50);
	ADD(8, 11, 0, 2, 14, 3, 0, 2);

	ADD(9, 4, 0, 0, 0, 14, 1, 0, 2); /* video control: camera 1 → processing unit 2, brightness → output 3 */
	ADD(13, 0x24, 1, 0, 1, 52, 0, LE32(48000000), 1, 1);
	ADD(18, 0x24, 2, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0);
	ADD(12, 0x24, 5, 2, 1, 0, 0, 2, 1, 0, 0, 0);
	ADD(9, 0x24, 3, 3, 1, 1, 0, 2, 0);

	ADD(9, 4, 1, 0, 1, 14, 2, 0, 2); /* video streaming through a bulk endpoint */
	unsigned start = config_size;
	uint8_t header[15] = {13 + format_count(), 0x24, 1, format_count(), 0, 0, 0x81, 0, 3, 0, 0, 0, 1};
	add(header);
	if (jpegs.n) {
		ADD(11, 0x24, 6, 1, 1, 1, 1, 0, 0, 0, 0);
		add_frame(7, 1, width, height);
		ADD(6, 0x24, 13, 1, 1, 4);
	}
	ADD(27, 0x24, 4, format_count(), 2, 'Y', 'U', 'Y', '2', 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71, 16, 1, 0, 0, 0, 0);
	add_frame(5, 1, width, height);
	add_frame(5, 2, width / 2, height / 2);
	ADD(6, 0x24, 13, 1, 1, 4);
	put16(config + start + 4, config_size - start);
	ADD(7, 5, 0x81, 2, 0, 2, 0);
	put16(config + 2, config_size);
}

static void passes(enum moment m)
{
	if (end_at == m)
		exit(0);
}

/* Negotiation: a probe block names format (byte 2), frame (byte 3), interval, frame size and payload size. */

static int format_of(const uint8_t *p) { return jpegs.n && p[2] == 1 ? MJPEG : YUYV; }
static int is_half(const uint8_t *p) { return format_of(p) == YUYV && p[3] == 2; }
static unsigned frame_size(const uint8_t *p) { return width * height * 2 / (is_half(p) ? 4 : 1); }

/* settle makes a probe block one that can be done. */
static void settle(uint8_t *p)
{
	if (p[2] < 1 || p[2] > format_count())
		p[2] = 1;
	if (p[3] < 1 || p[3] > (format_of(p) == MJPEG ? 1 : 2))
		p[3] = 1;
	int best = 0;
	long want = get32(p + 4);
	for (int i = 0; i < 4; i++)
		if (labs((long)(10000000 / rates[i]) - want) < labs((long)(10000000 / rates[best]) - want))
			best = i;
	put32(p + 4, 10000000 / rates[best]);
	put32(p + 18, frame_size(p));
	put32(p + 22, PAYLOAD);
}

/* The functions that answer requests return how many bytes they left in b, or -1 to refuse. */

static int describe_to(uint8_t *b, unsigned kind, unsigned index)
{
	if (kind == 1) {
		memcpy(b, device_descriptor, sizeof device_descriptor);
		return sizeof device_descriptor;
	}
	if (kind == 2) {
		memcpy(b, config, config_size);
		return config_size;
	}
	if (kind != 3)
		return -1;
	int n = 2;
	if (index == 0) { /* the languages */
		b[2] = 9;
		b[3] = 4;
		n = 4;
	} else {
		const char *text = index == 1 ? "Lab" : index == 2 ? "Lab UVC camera" : serial;
		for (; *text && n < 254; n += 2)
			b[n] = *text++;
	}
	b[0] = n;
	b[1] = 3;
	return n;
}

static int negotiate(uint8_t *b, int request, int which, const uint8_t *data, unsigned length)
{
	uint8_t *p = which == VS_PROBE ? probe : commit;
	switch (request) {
	case SET_CUR:
		passes(which == VS_PROBE ? NEGOTIATING : STARTING);
		memcpy(p, data, length < PROBE_SIZE ? length : PROBE_SIZE);
		settle(p);
		if (which == VS_COMMIT) {
			current = NULL;
			memcpy(probe, p, PROBE_SIZE);
		}
		return 0;
	case GET_INFO:
		b[0] = 3;
		return 1;
	case GET_LEN:
		b[0] = PROBE_SIZE;
		return 2;
	case GET_MIN:
	case GET_MAX:
	case GET_DEF:
		if (request != GET_DEF)
			memcpy(b, p, PROBE_SIZE);
		put32(b + 4, request == GET_MAX ? 10000000 / rates[3] : 10000000 / rates[0]);
		settle(b);
		return PROBE_SIZE;
	}
	memcpy(b, p, PROBE_SIZE);
	return PROBE_SIZE;
}

static int control_brightness(uint8_t *b, int request, const uint8_t *data, unsigned length)
{
	switch (request) {
	case SET_CUR:
		if (length >= 2)
			brightness = data[0] | data[1] << 8;
		return 0;
	case GET_INFO:
		b[0] = 3;
		return 1;
	case GET_LEN:
		put16(b, 2);
		return 2;
	}
	put16(b, request == GET_CUR ? brightness : request == GET_MAX ? 255 : request == GET_RES ? 1 : request == GET_DEF ? 128 : 0);
	return 2;
}

static void control(uint32_t seq, const uint8_t *setup, const uint8_t *data, unsigned length)
{
	uint8_t b[512] = {0};
	unsigned kind = setup[0], request = setup[1], low = setup[2], selector = setup[3];
	unsigned interface = setup[4], entity = setup[5], wanted = setup[6] | setup[7] << 8;
	int reads = kind & 0x80, n = -1;

	if (fault == DEAF)
		return;
	if (kind == 2 && request == CLEAR_FEATURE)
		passes(CLOSING);
	if (kind == 0 && request == SET_CONFIGURATION && fault == WEDGE)
		fault = NONE;
	if (kind == 0x80 && request == GET_DESCRIPTOR) {
		n = describe_to(b, selector, low);
	} else if ((kind & 0x60) == 0) { /* status, set configuration, clear halt and the like */
		b[0] = request == GET_CONFIGURATION;
		n = !reads ? 0 : request == GET_CONFIGURATION ? 1 : 2;
	} else if (fault == BUSY) {
		n = -1;
	} else if (interface == 1 && (selector == VS_PROBE || selector == VS_COMMIT)) {
		n = negotiate(b, request, selector, data, length);
	} else if (interface == 0 && entity == 2 && selector == PU_BRIGHTNESS) {
		n = control_brightness(b, request, data, length);
	} else if (interface == 0 && entity == 0 && selector == VC_ERROR_CODE && request == GET_CUR) {
		b[0] = 6; /* invalid control */
		n = 1;
	}
	if (n < 0)
		answer(seq, -EPIPE, 0, NULL);
	else if (reads)
		answer(seq, 0, (unsigned)n < wanted ? (unsigned)n : wanted, b);
	else
		answer(seq, 0, length, NULL);
}

/* What the host asks for. */

static void unlink_transfer(uint32_t seq, uint32_t victim)
{
	int status = fault == DEAF ? -ECONNRESET : 0; /* it ended before, unless it was never answered */
	for (unsigned i = 0; i < queued; i++)
		if (queue[i].seq == victim) {
			memmove(queue + i, queue + i + 1, (--queued - i) * sizeof *queue);
			status = -ECONNRESET;
			current = NULL;
			break;
		}
	struct header h = {.command = htonl(RET_UNLINK), .seq = htonl(seq), .arg = {htonl(status)}};
	send_all(&h, sizeof h);
}

static void serve_request(void)
{
	static uint8_t data[65536];
	struct header h;
	receive_all(&h, sizeof h);
	uint32_t seq = ntohl(h.seq), length = ntohl(h.arg[1]);
	if (ntohl(h.command) == CMD_UNLINK) {
		unlink_transfer(seq, ntohl(h.arg[0]));
		return;
	}
	if (!ntohl(h.direction) && length) {
		if (length > sizeof data)
			exit(1);
		receive_all(data, length);
	}
	if (!h.endpoint) {
		control(seq, h.setup, data, length);
	} else if (queued < MAX_QUEUE) {
		queue[queued].seq = seq;
		queue[queued++].length = length;
	}
}

/* What somebody at the keyboard asks for. */

static void loop(unsigned from, unsigned to)
{
	first = at = from;
	last = to;
	step = 1;
	back_and_forth = 1;
}

static void serve_command(void)
{
	static const char *const words[] = {"go", "freeze", "error", "short", "empty", "stall", "proto", "busy",
					    "deaf", "wedge", "half", "flaky"}; /* as enum fault */
	static const char *const moments[] = {"", "negotiating", "starting", "closing", "streaming"}; /* as enum moment */
	char line[64];
	unsigned from, to;
	if (!fgets(line, sizeof line, stdin))
		return;
	line[strcspn(line, "\n")] = 0;
	fprintf(stderr, "uvccam: %s\n", line);
	if (!strcmp(line, "unplug"))
		exit(0);
	if (!strncmp(line, "unplug ", 7))
		for (unsigned i = 1; i < sizeof moments / sizeof *moments; i++)
			if (!strcmp(line + 7, moments[i])) {
				end_at = i;
				return;
			}
	if (sscanf(line, "loop %u %u", &from, &to) == 2 && from <= to) {
		loop(from, to);
		return;
	}
	for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
		if (!strcmp(line, words[i])) {
			fault = i;
			return;
		}
	fprintf(stderr, "uvccam: what?\n");
}

/* Frames. */

static void advance(void)
{
	if (!back_and_forth) {
		at = at >= last ? first : at + 1;
		return;
	}
	if (at >= last)
		step = -1;
	if (at <= first)
		step = 1;
	if (first < last)
		at += step;
}

static void pattern(uint8_t *to, unsigned row, unsigned size)
{
	for (unsigned y = 0; y * row < size; y++)
		memset(to + y * row, (y + count * 4) & 255, row);
}

/* halve takes every other pixel of every other line. */
static void halve(uint8_t *to, const uint8_t *from)
{
	for (unsigned y = 0; y < height / 2; y++) {
		const uint8_t *line = from + y * 2 * width * 2;
		for (unsigned x = 0; x < width / 4; x++, line += 8, to += 4) {
			to[0] = line[0];
			to[1] = line[1];
			to[2] = line[4];
			to[3] = line[3];
		}
	}
}

static void next_frame(double t)
{
	double period = get32(commit + 4) / 1e7 * (fault == HALF ? 2 : 1);
	due = due + period < t ? t + period : due + period;
	sent = 0;
	count++;
	if (format_of(commit) == MJPEG) {
		current = jpegs.data[at % jpegs.n];
		current_size = jpegs.size[at % jpegs.n];
	} else {
		current_size = frame_size(commit);
		current = raws.n ? raws.data[at % raws.n] : scratch;
		if (!raws.n)
			pattern(scratch, width * (is_half(commit) ? 1 : 2), current_size);
		else if (is_half(commit)) {
			halve(scratch, current);
			current = scratch;
		}
	}
	advance();
	if (fault == SHORT)
		current_size /= 2;
	if (fault == EMPTY)
		current_size = 0;
}

static int silent(void) { return fault == FREEZE || fault == BUSY || fault == DEAF || fault == WEDGE; }

static void end_transfer(int status, unsigned length, const void *data)
{
	answer(queue[0].seq, status, length, data);
	memmove(queue, queue + 1, --queued * sizeof *queue);
}

/* transmit sends one payload if one is due. */
static void transmit(void)
{
	static uint8_t payload[PAYLOAD];
	double t = now();
	if (!queued || silent())
		return;
	if ((fault == STALL || fault == PROTO) && t >= due) {
		end_transfer(fault == STALL ? -EPIPE : -EPROTO, 0, payload);
		due = t + 0.01;
		return;
	}
	if (!current) {
		if (t < due)
			return;
		next_frame(t);
	}
	unsigned most = (queue[0].length < PAYLOAD ? queue[0].length : PAYLOAD) - 2;
	unsigned n = current_size - sent < most ? current_size - sent : most;
	int done = sent + n >= current_size;
	payload[0] = 2;
	payload[1] = 0x80 | (count & 1) | (done ? 2 : 0) | (fault == ERROR || (fault == FLAKY && count % 3 == 0) ? 0x40 : 0);
	memcpy(payload + 2, current + sent, n);
	passes(STREAMING);
	sent += n;
	end_transfer(0, n + 2, payload);
	if (done)
		current = NULL;
}

static void append(struct frames *f, uint8_t *data, unsigned size)
{
	f->data = realloc(f->data, (f->n + 1) * sizeof *f->data);
	f->size = realloc(f->size, (f->n + 1) * sizeof *f->size);
	if (!f->data || !f->size)
		die("memory");
	f->data[f->n] = data;
	f->size[f->n++] = size;
}

static void load(const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		die(path);
	uint8_t *data = room(st.st_size + 1);
	for (off_t n = 0; n < st.st_size;) {
		ssize_t k = read(fd, data + n, st.st_size - n);
		if (k <= 0)
			die(path);
		n += k;
	}
	close(fd);
	const char *ext = strrchr(path, '.');
	unsigned raw = width * height * 2;
	if (!ext || strcmp(ext, ".yuyv")) {
		append(&jpegs, data, st.st_size < raw ? st.st_size : raw);
		return;
	}
	if (!st.st_size || st.st_size % raw) {
		fprintf(stderr, "%s: not a whole number of frames of %ux%u\n", path, width, height);
		exit(1);
	}
	for (off_t n = 0; n < st.st_size; n += raw)
		append(&raws, data + n, raw);
}

static void plug(void)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		die("socketpair");
	FILE *f = fopen("/sys/devices/platform/vhci_hcd.0/attach", "w");
	if (!f)
		die("vhci-hcd not loaded?");
	fprintf(f, "%u %d %u 3", port, pair[1], 0x10001 + port);
	if (fclose(f))
		die("attach");
	close(pair[1]);
	sock = pair[0];
}

int main(int argc, char **argv)
{
	unsigned from, to;
	for (int o; (o = getopt(argc, argv, "s:p:n:l:")) != -1;) {
		if (o == 's' && sscanf(optarg, "%ux%u", &width, &height) == 2)
			continue;
		if (o == 'l' && sscanf(optarg, "%u,%u", &from, &to) == 2 && from <= to)
			loop(from, to);
		else if (o == 'p')
			port = atoi(optarg);
		else if (o == 'n')
			serial = optarg;
		else
			return 2;
	}
	for (; optind < argc; optind++)
		load(argv[optind]);
	if (!back_and_forth) {
		last = jpegs.n > raws.n ? jpegs.n : raws.n;
		last -= last > 0;
	}
	scratch = room(width * height * 2);
	describe();
	settle(probe);
	settle(commit);
	plug();
	setvbuf(stdin, NULL, _IONBF, 0); /* or poll would miss a second line */

	for (int listening = 1;;) {
		int wait = -1;
		if (queued && !silent())
			wait = current || now() >= due ? 0 : (due - now()) * 1000 + 1;
		struct pollfd p[2] = {{sock, POLLIN, 0}, {listening ? 0 : -1, POLLIN, 0}};
		poll(p, 2, wait);
		if (p[1].revents & POLLIN)
			serve_command();
		if (p[1].revents && (feof(stdin) || !(p[1].revents & POLLIN)))
			listening = 0;
		if (p[0].revents)
			serve_request();
		else
			transmit();
	}
}
