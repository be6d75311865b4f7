#!/usr/bin/env bash
# Compiles examples/bpf/*.bpf.c for little and big endian into examples/bpf/objects/, or into the directory given.
# Needs clang, llvm-strip and libbpf's headers: apt-get install clang llvm libbpf-dev
# One compiler always gives the same bytes, wherever the checkout is; the objects checked in come from clang 14.
set -euo pipefail

sources=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
output=$(realpath -m "${1:-$sources/objects}")
mkdir -p "$output"
cd "$sources"

for source in *.bpf.c; do
	for target in bpfel bpfeb; do
		object="$output/${source%.bpf.c}.$target.o"
		# asm/types.h is in the host's multiarch directory, where clang does not look when the target is bpf.
		# Sources are named relative to a directory that is mapped away, so no build path gets into BTF.
		clang -O2 -g -Wall -Werror -target "$target" -idirafter "/usr/include/$(clang -print-multiarch)" \
			-ffile-prefix-map="$sources"=. -c "$source" -o "$object"
		# Debuggers' DWARF goes; BTF, which libbpf and the kernel read, stays.
		llvm-strip --strip-debug "$object"
		echo "$object"
	done
done
