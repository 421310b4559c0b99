/* camfeed DEVICE WxH FOURCC FPS FILE...: write the files in a loop to an output device (v4l2loopback), one frame each; a
 * file of raw YUYV may hold many frames. It starts at once, where larger programs take seconds under emulation. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <linux/videodev2.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

int main(int argc, char **argv)
{
	unsigned width, height;
	if (argc < 6 || sscanf(argv[2], "%ux%u", &width, &height) != 2 || strlen(argv[3]) != 4 || atof(argv[4]) <= 0)
		return 2;
	double fps = atof(argv[4]);
	int raw = !strcmp(argv[3], "YUYV");
	int fd = open(argv[1], O_RDWR);
	if (fd < 0)
		die(argv[1]);
	struct v4l2_format f = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT};
	f.fmt.pix.width = width;
	f.fmt.pix.height = height;
	f.fmt.pix.field = V4L2_FIELD_NONE;
	f.fmt.pix.sizeimage = width * height * 2;
	f.fmt.pix.bytesperline = raw ? width * 2 : 0;
	memcpy(&f.fmt.pix.pixelformat, argv[3], 4);
	if (ioctl(fd, VIDIOC_S_FMT, &f) < 0)
		die("VIDIOC_S_FMT");
	size_t size = raw ? width * height * 2 : f.fmt.pix.sizeimage;
	char *frame = malloc(size);
	if (!frame)
		die("memory");

	struct timespec due;
	clock_gettime(CLOCK_MONOTONIC, &due);
	for (int i = 5;; i = i + 1 < argc ? i + 1 : 5) {
		int in = open(argv[i], O_RDONLY);
		if (in < 0)
			die(argv[i]);
		for (ssize_t n; (n = read(in, frame, size)) > 0;) {
			if (raw && (size_t)n < size)
				break;
			if (write(fd, frame, n) < 0)
				die("write");
			due.tv_nsec += 1e9 / fps;
			while (due.tv_nsec >= 1000000000) {
				due.tv_nsec -= 1000000000;
				due.tv_sec++;
			}
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
		}
		close(in);
	}
}
