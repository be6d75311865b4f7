// What a newcomer does first with the installed package, in whatever Node runs this.
//
//     node smoke.js LAYOUT
//
// LAYOUT is an OCI layout to take in. Prints one line.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCache, openReader } from "bpfcache";

const layout = process.argv[2] ?? "";
const place = mkdtempSync(join(tmpdir(), "bpfcache-smoke-"));
try {
  const cache = await openCache({ directory: place, offline: true });
  const { images, failed } = await cache.seed([layout]);
  await cache.close();
  assert.deepEqual(failed, []);
  assert.ok(images.length > 0);

  const reader = openReader({ directory: place });
  for (const { reference } of images) {
    const { bytes, digest, programs } = reader.bytecode(reference);
    assert.equal(`sha256:${createHash("sha256").update(bytes).digest("hex")}`, digest);
    assert.ok(programs.length > 0);
  }
  reader.close();

  const { images: listed } = JSON.parse(bpfcache("list", "--json"));
  assert.equal(listed.length, images.length);
  assert.match(bpfcache("--help"), /Usage/i);
  // Both have programs run in processes of their own.
  assert.deepEqual(JSON.parse(bpfcache("scrub", "--json")).damaged, []);
  assert.ok(JSON.parse(bpfcache("compact", "--json")).fileBytesAfter > 0);
  const { platform, arch, version } = process;
  process.stdout.write(`${version} ${platform} ${arch} ${libc()}: ${images.length} images\n`);
} finally {
  rmSync(place, { recursive: true });
}

/** @param {readonly string[]} args */
function bpfcache(...args) {
  const main = join(import.meta.dirname, "node_modules", ".bin", "bpfcache");
  return execFileSync(process.execPath, [main, "--cache-dir", place, ...args], { encoding: "utf8" });
}

function libc() {
  const { header } = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (process.report.getReport());
  return header.glibcVersionRuntime === undefined ? "musl" : "glibc";
}
