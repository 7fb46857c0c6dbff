/* Guests that come with calls: see keyd_guest.h. */
#include "keyd_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int keyd_guest_open(const char *path)
{
	struct stat status;
	int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (file < 0)
		return -errno;
	if (fstat(file, &status) == 0 && S_ISCHR(status.st_mode))
		return file;
	close(file);
	return -ENODEV;
}

int keyd_guest_measure(int hypervisor, int guest, struct bulkhead_measurement *measurement)
{
	struct bulkhead_device_guest question = {.guest = guest};

	if (hypervisor < 0 || guest < 0)
		return -EINVAL;
	if (ioctl(hypervisor, BULKHEAD_DEVICE_MEASURE, &question) != 0)
		return -errno;
	*measurement = question.measurement;
	return 0;
}
