/*
 * Bounded reading of untrusted bytes; see source.h.
 */
#include "source.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

int disk_refuse(struct disk_why *why, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why->text, sizeof(why->text), format, arguments);
	va_end(arguments);
	for (char *c = why->text; *c; c++)
		if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
			*c = '?';
	return -error;
}

int disk_source_open(struct disk_source *source, int fd, struct disk_why *why)
{
	struct stat status;
	uint64_t size;

	if (fstat(fd, &status))
		return disk_refuse(why, errno, "cannot be looked at: %s", strerror(errno));
	if (S_ISREG(status.st_mode)) {
		size = (uint64_t)status.st_size;
	} else if (S_ISBLK(status.st_mode)) {
		if (ioctl(fd, BLKGETSIZE64, &size))
			return disk_refuse(why, errno, "its size cannot be read: %s", strerror(errno));
	} else {
		return disk_refuse(why, EINVAL, "is neither a file nor a block device");
	}
	*source = (struct disk_source){.fd = fd, .size_bytes = size};
	return 0;
}

int disk_source_part(struct disk_source *part, const struct disk_source *whole, uint64_t start, uint64_t size_bytes)
{
	if (start > whole->size_bytes || size_bytes > whole->size_bytes - start)
		return -ERANGE;
	*part = *whole;
	part->start = whole->start + start;
	part->size_bytes = size_bytes;
	return 0;
}

int disk_source_read(const struct disk_source *source, uint64_t offset, void *buffer, size_t size_bytes)
{
	uint8_t *to = buffer;

	if (offset > source->size_bytes || size_bytes > source->size_bytes - offset)
		return -ERANGE;
	if (source->memory) {
		memcpy(to, source->memory + source->start + offset, size_bytes);
		return 0;
	}
	while (size_bytes) {
		ssize_t done = pread(source->fd, to, size_bytes, (off_t)(source->start + offset));

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0)
			return -ERANGE; /* the file became shorter since its size was taken */
		to += done;
		offset += (uint64_t)done;
		size_bytes -= (size_t)done;
	}
	return 0;
}

uint16_t disk_be16(const uint8_t *bytes)
{
	uint16_t value;

	memcpy(&value, bytes, sizeof(value));
	return be16toh(value);
}

uint32_t disk_be32(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return be32toh(value);
}

uint64_t disk_be64(const uint8_t *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, sizeof(value));
	return be64toh(value);
}

uint16_t disk_le16(const uint8_t *bytes)
{
	uint16_t value;

	memcpy(&value, bytes, sizeof(value));
	return le16toh(value);
}

uint32_t disk_le32(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return le32toh(value);
}

uint64_t disk_le64(const uint8_t *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, sizeof(value));
	return le64toh(value);
}
