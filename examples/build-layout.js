#!/usr/bin/env node
// @ts-check
// Builds examples/layout/, an OCI image layout, from the objects in examples/bpf/objects/. The same objects always
// give the same bytes: times are fixed, and layers are gzip with stored blocks, which no version of zlib can change.
//
//     node examples/build-layout.js [DIRECTORY]

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";

/**
 * @typedef {{ mediaType: string, digest: string, size: number, platform?: object, annotations?: object }} Descriptor
 * @typedef {{ programs: Record<string, string>, maps: Record<string, string> }} Labels
 */

const created = "2024-01-01T00:00:00Z";
const objects = join(import.meta.dirname, "bpf", "objects");
const output = process.argv[2] ?? join(import.meta.dirname, "layout");

const type = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
};

for (const old of ["blobs", "index.json", "oci-layout"])
  rmSync(join(output, old), { recursive: true, force: true });
mkdirSync(join(output, "blobs", "sha256"), { recursive: true });

const counterLabels = { programs: { xdp_counter: "xdp" }, maps: { packet_counts: "per_cpu_array" } };
const tracepointLabels = { programs: { count_exec: "tracepoint" }, maps: { execs_by_uid: "hash" } };

/** @type {[string, Descriptor][]} */
const images = [
  ["xdp-pass", image("xdp_pass.bpfel.o", "amd64", { programs: { xdp_pass: "xdp" }, maps: {} })],
  ["xdp-counter", index("xdp_counter", counterLabels)],
  ["tracepoint-counter", index("tracepoint_counter", tracepointLabels)],
];
const manifests = images.map(([name, descriptor]) => ({
  ...descriptor,
  annotations: { "org.opencontainers.image.ref.name": `registry.example/bpfcache/${name}:v1` },
}));
writeFileSync(join(output, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
writeFileSync(
  join(output, "index.json"),
  JSON.stringify({ schemaVersion: 2, mediaType: type.index, manifests }),
);
for (const { annotations, digest } of manifests) console.log(...Object.values(annotations), digest);

/**
 * One manifest a platform. amd64 and arm64 share the little-endian object; s390x has the big-endian one.
 * @param {string} program @param {Labels} labels
 */
function index(program, labels) {
  const platforms = { amd64: "bpfel", arm64: "bpfel", s390x: "bpfeb" };
  const manifests = Object.entries(platforms).map(([architecture, order]) => ({
    ...image(`${program}.${order}.o`, architecture, labels),
    platform: { architecture, os: "linux" },
  }));
  return json(type.index, { schemaVersion: 2, mediaType: type.index, manifests });
}

/**
 * An image as bpfman defines it: the object at the root of the only layer, programs and maps in the config's labels.
 * @param {string} object @param {string} architecture @param {Labels} labels
 */
function image(object, architecture, labels) {
  const layer = tar(object, readFileSync(join(objects, object)));
  const config = json(type.config, {
    created,
    architecture,
    os: "linux",
    config: {
      Labels: {
        "io.ebpf.programs": JSON.stringify(labels.programs),
        "io.ebpf.maps": JSON.stringify(labels.maps),
      },
    },
    rootfs: { type: "layers", diff_ids: [sha256(layer)] },
  });
  const layers = [blob(type.layer, gzip(layer))];
  return json(type.manifest, { schemaVersion: 2, mediaType: type.manifest, config, layers });
}

/** @param {string} mediaType @param {object} document */
function json(mediaType, document) {
  return blob(mediaType, Buffer.from(JSON.stringify(document)));
}

/** Stores bytes under their digest. @param {string} mediaType @param {Buffer} bytes @returns {Descriptor} */
function blob(mediaType, bytes) {
  const digest = sha256(bytes);
  writeFileSync(join(output, "blobs", digest.replace(":", "/")), bytes);
  return { mediaType, digest, size: bytes.byteLength };
}

/** @param {Buffer} bytes */
function sha256(bytes) {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** A POSIX ustar archive with one file of root's, made at the fixed time. @param {string} name @param {Buffer} bytes */
function tar(name, bytes) {
  const header = Buffer.alloc(512);
  /** @param {number} value @param {number} offset @param {number} length */
  const octal = (value, offset, length) => header.write(value.toString(8).padStart(length - 1, "0"), offset);
  header.write(name, 0);
  octal(0o644, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(bytes.byteLength, 124, 12);
  octal(Date.parse(created) / 1000, 136, 12);
  header.fill(" ", 148, 156); // the checksum is taken with spaces in its place
  header.write("0", 156); // a regular file
  header.write("ustar\0" + "00", 257);
  octal(
    header.reduce((sum, byte) => sum + byte),
    148,
    7,
  );
  header.writeUInt8(0, 154);
  return Buffer.concat([
    header,
    bytes,
    Buffer.alloc((512 - (bytes.byteLength % 512)) % 512),
    Buffer.alloc(1024),
  ]);
}

/** RFC 1952 around RFC 1951 stored blocks: a few bytes longer than the input, but the same everywhere. @param {Buffer} bytes */
function gzip(bytes) {
  const header = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
  /** @type {Buffer[]} */
  const parts = [header];
  for (let start = 0; start < bytes.byteLength; start += 0xffff) {
    const part = bytes.subarray(start, start + 0xffff);
    const isLast = start + part.byteLength === bytes.byteLength;
    const length = Buffer.from([isLast ? 1 : 0, 0, 0, 0, 0]);
    length.writeUInt16LE(part.byteLength, 1);
    length.writeUInt16LE(~part.byteLength & 0xffff, 3);
    parts.push(length, part);
  }
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc32(bytes), 0);
  trailer.writeUInt32LE(bytes.byteLength, 4);
  return Buffer.concat([...parts, trailer]);
}
