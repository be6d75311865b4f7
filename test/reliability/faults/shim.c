/*
 * Stands between a process and libc (LD_PRELOAD), counts the calls that change files in one directory, and strikes at
 * one of them.
 *
 *     SHIM_DIRECTORY  absolute path of the directory
 *     SHIM_STATE      a file that all processes with the shim share, see struct state; it must exist with its size
 *     SHIM_AT         the number of the call to strike at, from 1; 0 only counts
 *     SHIM_ACTION     "kill", "short" (half of a write is written), or the errno to fail with
 *     SHIM_STICKY     "1": every later call fails too
 *     SHIM_LEAST      the bytes that malloc gives to whoever asks for fewer
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct state {
	uint64_t calls;
	/* CLOCK_REALTIME in milliseconds of the first strike, 0 before. */
	uint64_t struck_at;
	/* Which process was. */
	uint64_t struck_process;
	/* The name of the function that was struck. */
	char struck[40];
};

enum action { COUNT, KILL, SHORT, FAIL };

static struct state *state;
static char directory[PATH_MAX];
static size_t directory_length;
static enum action action = COUNT;
static int error_number;
static uint64_t at;
static int is_sticky;
static size_t least;

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("SHIM_DIRECTORY"), *shared = getenv("SHIM_STATE");
	const char *what = getenv("SHIM_ACTION"), *when = getenv("SHIM_AT"), *sticky = getenv("SHIM_STICKY");
	const char *room = getenv("SHIM_LEAST");
	if (path == NULL || shared == NULL)
		return;
	int file = open(shared, O_RDWR | O_CLOEXEC);
	if (file < 0)
		return;
	void *mapped = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (mapped == MAP_FAILED)
		return;
	snprintf(directory, sizeof directory, "%s", path);
	directory_length = strlen(directory);
	at = when == NULL ? 0 : strtoull(when, NULL, 10);
	least = room == NULL ? 0 : strtoull(room, NULL, 10);
	is_sticky = sticky != NULL && *sticky == '1';
	if (at > 0 && what != NULL) {
		action = strcmp(what, "kill") == 0 ? KILL : strcmp(what, "short") == 0 ? SHORT : FAIL;
		error_number = action == FAIL ? atoi(what) : 0;
	}
	state = mapped;
}

static int is_inside(const char *path)
{
	return state != NULL && strncmp(path, directory, directory_length) == 0 &&
	       (path[directory_length] == '/' || path[directory_length] == '\0');
}

static int is_inside_at(int base, const char *path)
{
	char link[64], whole[2 * PATH_MAX];
	if (state == NULL || path == NULL)
		return 0;
	if (path[0] == '/')
		return is_inside(path);
	snprintf(link, sizeof link, base == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", base);
	ssize_t length = readlink(link, whole, PATH_MAX - 1);
	if (length < 0)
		return 0;
	snprintf(whole + length, sizeof whole - length, "/%s", path);
	return is_inside(whole);
}

static int is_file_inside(int file)
{
	char link[64], path[PATH_MAX];
	if (state == NULL)
		return 0;
	int kept = errno;
	snprintf(link, sizeof link, "/proc/self/fd/%d", file);
	ssize_t length = readlink(link, path, sizeof path - 1);
	errno = kept;
	if (length < 0)
		return 0;
	path[length] = '\0';
	return is_inside(path);
}

/* Counts one call, and says what is to happen to it. */
static enum action strike(const char *name)
{
	uint64_t call = __atomic_add_fetch(&state->calls, 1, __ATOMIC_SEQ_CST);
	if (action == COUNT || !(call == at || (is_sticky && call > at)))
		return COUNT;
	if (call == at) {
		struct timespec now;
		clock_gettime(CLOCK_REALTIME, &now);
		snprintf(state->struck, sizeof state->struck, "%s", name);
		state->struck_process = getpid();
		__atomic_store_n(&state->struck_at, now.tv_sec * 1000ull + now.tv_nsec / 1000000, __ATOMIC_SEQ_CST);
	}
	if (action == KILL)
		raise(SIGKILL);
	errno = error_number;
	return action;
}

#define REAL(type, name, ...) \
	static type (*real)(__VA_ARGS__); \
	if (real == NULL) \
		real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

void *malloc(size_t size)
{
	REAL(void *, "malloc", size_t);
	return real(size < least ? least : size);
}

/* A short write takes whole sectors, as a disk that fills up does. */
static size_t half(size_t length)
{
	return length > 1024 ? length / 2 / 512 * 512 : length / 2;
}

#define WRITES(name, offset_parameter, offset_argument) \
	ssize_t name(int file, const void *bytes, size_t length offset_parameter) \
	{ \
		REAL(ssize_t, #name, int, const void *, size_t offset_parameter); \
		if (is_file_inside(file)) \
			switch (strike(#name)) { \
			case SHORT: length = half(length); break; \
			case FAIL: return -1; \
			default: break; \
			} \
		return real(file, bytes, length offset_argument); \
	}
#define NOTHING
#define OFFSET_PARAMETER , off64_t offset
#define OFFSET_ARGUMENT , offset

WRITES(write, NOTHING, NOTHING)
WRITES(pwrite, OFFSET_PARAMETER, OFFSET_ARGUMENT)
WRITES(pwrite64, OFFSET_PARAMETER, OFFSET_ARGUMENT)

/* Short: all parts but the last, or half of the only one. */
#define WRITES_PARTS(name, offset_parameter, offset_argument) \
	ssize_t name(int file, const struct iovec *parts, int count offset_parameter) \
	{ \
		REAL(ssize_t, #name, int, const struct iovec *, int offset_parameter); \
		struct iovec first; \
		if (is_file_inside(file)) \
			switch (strike(#name)) { \
			case SHORT: \
				if (count > 1) { \
					count--; \
				} else if (count == 1) { \
					first = parts[0]; \
					first.iov_len = half(first.iov_len); \
					parts = &first; \
				} \
				break; \
			case FAIL: return -1; \
			default: break; \
			} \
		return real(file, parts, count offset_argument); \
	}

WRITES_PARTS(writev, NOTHING, NOTHING)
WRITES_PARTS(pwritev, OFFSET_PARAMETER, OFFSET_ARGUMENT)
WRITES_PARTS(pwritev64, OFFSET_PARAMETER, OFFSET_ARGUMENT)

/* What has no half of it happens whole when a short write is asked for. */
#define CHANGES(name, is_ours, parameters, arguments) \
	int name parameters \
	{ \
		static int (*real)parameters; \
		if (real == NULL) \
			real = (int (*)parameters)dlsym(RTLD_NEXT, #name); \
		if ((is_ours) && strike(#name) == FAIL) \
			return -1; \
		return real arguments; \
	}

CHANGES(fsync, is_file_inside(file), (int file), (file))
CHANGES(fdatasync, is_file_inside(file), (int file), (file))
CHANGES(ftruncate, is_file_inside(file), (int file, off64_t length), (file, length))
CHANGES(ftruncate64, is_file_inside(file), (int file, off64_t length), (file, length))
CHANGES(fallocate, is_file_inside(file), (int file, int mode, off64_t from, off64_t length), (file, mode, from, length))
CHANGES(rename, is_inside_at(AT_FDCWD, from) || is_inside_at(AT_FDCWD, to), (const char *from, const char *to), (from, to))
CHANGES(link, is_inside_at(AT_FDCWD, to), (const char *from, const char *to), (from, to))
CHANGES(mkdir, is_inside_at(AT_FDCWD, path), (const char *path, mode_t mode), (path, mode))

/* No disk is too full to remove something. */
static int is_removal_struck(const char *name)
{
	return strike(name) == FAIL && error_number != ENOSPC;
}

int unlink(const char *path)
{
	REAL(int, "unlink", const char *);
	if (is_inside_at(AT_FDCWD, path) && is_removal_struck("unlink"))
		return -1;
	return real(path);
}

int rmdir(const char *path)
{
	REAL(int, "rmdir", const char *);
	if (is_inside_at(AT_FDCWD, path) && is_removal_struck("rmdir"))
		return -1;
	return real(path);
}

/* Opening changes the directory when it makes the file. */
static int is_new(int base, const char *path, int flags)
{
	int kept = errno;
	int is = (flags & O_CREAT) && is_inside_at(base, path) && faccessat(base, path, F_OK, 0) != 0;
	errno = kept;
	return is;
}

#define OPENS(name) \
	int name(const char *path, int flags, ...) \
	{ \
		REAL(int, #name, const char *, int, ...); \
		va_list rest; \
		va_start(rest, flags); \
		mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
		va_end(rest); \
		if (is_new(AT_FDCWD, path, flags) && strike(#name) == FAIL) \
			return -1; \
		return real(path, flags, mode); \
	}
#define OPENS_AT(name) \
	int name(int base, const char *path, int flags, ...) \
	{ \
		REAL(int, #name, int, const char *, int, ...); \
		va_list rest; \
		va_start(rest, flags); \
		mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
		va_end(rest); \
		if (is_new(base, path, flags) && strike(#name) == FAIL) \
			return -1; \
		return real(base, path, flags, mode); \
	}

OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)
