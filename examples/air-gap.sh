#!/bin/sh
# The whole way of images into a closed network, and of an update after them: the connected side, the medium, the closed
# side. Build first (npm run build). On the connected side prefetch takes the place of the first seed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

bpfcache() {
	node "$here/../dist/packed/main.js" --progress quiet "$@"
}
connected() {
	bpfcache --cache-dir "$work/connected" "$@"
}
closed() {
	bpfcache --cache-dir "$work/closed" --offline "$@"
}

echo "== Connected side: what the site needs, for every platform, onto the medium"
connected seed --platform all "$here/layout"
connected remove registry.example/bpfcache/xdp-counter:v1
connected export --all -o "$work/site.tar"

echo "== Closed side: take it in, and read it"
closed seed --platform all "$work/site.tar"
closed list
closed cat registry.example/bpfcache/xdp-pass:v1 -o "$work/xdp-pass.o"

echo "== Connected side: later, only what is new since then"
connected seed --platform all "$here/layout"
connected export --all --since "$work/site.tar.lock.json" -o "$work/update.tar"

echo "== Closed side: the update"
closed seed --platform all "$work/update.tar"
closed scrub
closed list
