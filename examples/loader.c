// SPDX-License-Identifier: Apache-2.0
// A loader in another language: it asks the command line for the bytecode and gives it to libbpf, straight from memory.
//
//     cc -o loader examples/loader.c -lbpf && ./loader REFERENCE
//
// `bpfcache` must be on PATH; BPFCACHE_DIR says where the cache is. What it prints has been checked against its digest.
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs `bpfcache cat REFERENCE` and reads what it prints to its end; NULL when it fails. */
static char *read_bytecode(const char *reference, size_t *size)
{
	int out[2];
	if (pipe(out) != 0) return NULL;
	pid_t child = fork();
	if (child == 0) {
		dup2(out[1], STDOUT_FILENO);
		close(out[0]);
		close(out[1]);
		execlp("bpfcache", "bpfcache", "cat", reference, (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	char *bytes = NULL;
	size_t capacity = 0;
	ssize_t got = 1;
	for (*size = 0; child > 0 && got > 0; *size += got > 0 ? got : 0) {
		if (*size == capacity) bytes = realloc(bytes, capacity = capacity ? 2 * capacity : 65536);
		if (bytes == NULL) break;
		got = read(out[0], bytes + *size, capacity - *size);
	}
	close(out[0]);
	int status = -1;
	if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
		free(bytes);
		return NULL;
	}
	return bytes;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s REFERENCE\n", argv[0]);
		return 2;
	}
	size_t size;
	char *bytes = read_bytecode(argv[1], &size);
	if (bytes == NULL) return 1; /* bpfcache has said why. */
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "program");
	struct bpf_object *object = bpf_object__open_mem(bytes, size, &options);
	if (object == NULL || bpf_object__load(object) != 0) {
		fprintf(stderr, "%s: not loaded\n", argv[1]);
		return 1;
	}
	struct bpf_program *program;
	bpf_object__for_each_program(program, object)
		printf("%s (%s): loaded as descriptor %d\n", bpf_program__name(program),
		       bpf_program__section_name(program), bpf_program__fd(program));
	bpf_object__close(object); /* Nothing was pinned: the kernel lets go of it. */
	free(bytes);
	return 0;
}
