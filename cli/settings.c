/* settings.c: see settings.h. */
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define PATH_BYTES   4096
#define SECRET_BYTES 512

int settings_path(const char *name, char *path)
{
	const char *own = getenv("BULKHEAD_CONFIG"), *xdg = getenv("XDG_CONFIG_HOME"),
		   *home = getenv("HOME");
	int used;

	if (own && *own)
		used = snprintf(path, PATH_BYTES, "%s/%s", own, name);
	else if (xdg && *xdg)
		used = snprintf(path, PATH_BYTES, "%s/bulkhead/%s", xdg, name);
	else
		used = snprintf(path, PATH_BYTES, "%s/.config/bulkhead/%s", home ? home : "", name);
	return used < PATH_BYTES ? 0 : -ENAMETOOLONG;
}

int settings_read(const char *path, size_t most, char **text, size_t *text_bytes)
{
	FILE *file = fopen(path, "re");
	size_t got;
	int status = 0;

	if (!file)
		return -errno;
	*text = malloc(most + 2);
	got = *text ? fread(*text, 1, most + 1, file) : 0;
	if (!*text)
		status = -ENOMEM;
	else if (ferror(file))
		status = -EIO;
	else if (got > most)
		status = -EFBIG;
	fclose(file);
	if (status) {
		free(*text);
		*text = NULL;
		return status;
	}
	(*text)[got] = 0;
	if (text_bytes)
		*text_bytes = got;
	return 0;
}

static int make_parents(const char *path)
{
	char parent[PATH_BYTES];

	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
		if (mkdir(parent, 0700) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

int settings_write(const char *path, const char *text)
{
	char beside[PATH_BYTES + 8];
	int fd, status = make_parents(path);

	if (status)
		return status;
	snprintf(beside, sizeof(beside), "%s.new", path);
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fsync(fd))
		status = errno ? -errno : -EIO;
	close(fd);
	if (!status && rename(beside, path))
		status = -errno;
	return status;
}

static int read_line(int fd, char *secret)
{
	size_t used = 0;

	while (used < SECRET_BYTES - 1) {
		ssize_t got = read(fd, secret + used, 1);

		if (got < 0)
			return -errno;
		if (!got || secret[used] == '\n')
			break;
		used++;
	}
	secret[used] = 0;
	return 0;
}

int settings_secret(const char *prompt, const char *file, char *secret)
{
	int fd = open(file ? file : "/dev/tty", file ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CLOEXEC);
	struct termios shown, hidden;
	int status;

	if (fd < 0)
		return file ? -errno : -ENOTTY;
	if (file) {
		status = read_line(fd, secret);
	} else if (tcgetattr(fd, &shown)) {
		status = -ENOTTY;
	} else {
		hidden = shown;
		hidden.c_lflag &= ~(tcflag_t)ECHO;
		/* Who answers as soon as asked is heard: hiding throws away what was typed before. */
		tcsetattr(fd, TCSAFLUSH, &hidden);
		dprintf(fd, "%s: ", prompt);
		status = read_line(fd, secret);
		tcsetattr(fd, TCSAFLUSH, &shown);
		dprintf(fd, "\n");
	}
	close(fd);
	return status;
}
