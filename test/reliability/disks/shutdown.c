/*
 * Takes the power from a mounted ext4 (or xfs) file system: what is not on its device yet never will be.
 *
 *     shutdown DIRECTORY
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

/* include/uapi/linux/fs.h of Linux 6.15 and later; the numbers are those that xfs and ext4 have had since 2017. */
#define FS_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define FS_SHUTDOWN_FLAGS_NOLOGFLUSH 2

int main(int count, char **words)
{
	uint32_t flags = FS_SHUTDOWN_FLAGS_NOLOGFLUSH;
	int directory = count == 2 ? open(words[1], O_RDONLY | O_DIRECTORY) : -1;
	if (directory >= 0 && ioctl(directory, FS_IOC_SHUTDOWN, &flags) == 0)
		return 0;
	fprintf(stderr, "shutdown: %s\n", strerror(errno));
	return 1;
}
