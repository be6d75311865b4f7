#!/usr/bin/env node
// @ts-check
// A program loader: reads verified bytecode out of a bpfcache database and loads it into the kernel with bpftool.
// It opens no socket, and works while other processes write to the same cache.
//
//     node examples/loader.js CACHE_DIR REFERENCE [PROGRAM]

import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  rmSync,
  statfsSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { openReader } from "bpfcache";

const [directory, reference, wanted] = process.argv.slice(2);
if (directory === undefined || reference === undefined) {
  console.error("usage: node examples/loader.js CACHE_DIR REFERENCE [PROGRAM]");
  process.exit(2);
}

try {
  const image = readImage(directory, reference);
  const program = image.programs.find(({ name }) => wanted === undefined || name === wanted);
  if (program === undefined) throw new Error(`there is no program ${wanted ?? ""} in ${reference}`);
  const obstacle = whyNotLoad();
  if (obstacle === undefined) load(image.bytes, program.name);
  else console.log(`kernel program   not loaded: ${obstacle}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

/** The object for this machine, checked against its digest; everything the cache knows is printed. @param {string} directory @param {string} reference */
function readImage(directory, reference) {
  const reader = openReader({ directory });
  try {
    const image = reader.bytecode(reference);
    console.log(`reference        ${image.reference}`);
    console.log(`root digest      ${image.rootDigest}`);
    console.log(`manifest digest  ${image.manifestDigest}`);
    console.log(`layer digest     ${image.layerDigest}`);
    console.log(`object digest    ${image.digest}  (${image.bytes.byteLength} bytes)`);
    console.log(`programs         ${image.programs.map(({ name, type }) => `${name} (${type})`).join(", ")}`);
    return image;
  } finally {
    reader.close();
  }
}

/** Why this process cannot load programs, or undefined when it can. */
function whyNotLoad() {
  if (process.platform !== "linux") return "this is not Linux";
  if (process.getuid?.() !== 0) return "this is not root";
  if (spawnSync("bpftool", ["version"]).error) return "bpftool is not installed (apt-get install bpftool)";
  if (!isBpffs("/sys/fs/bpf")) return "bpffs is not mounted (mount -t bpf bpf /sys/fs/bpf)";
  return undefined;
}

/** @param {string} path */
function isBpffs(path) {
  const bpffsMagic = 0xcafe4a11; // BPF_FS_MAGIC, linux/magic.h
  return existsSync(path) && statfsSync(path).type === bpffsMagic;
}

/** Loads the object, shows one of its programs as the kernel sees it, and unloads everything. @param {Uint8Array} object @param {string} program */
function load(object, program) {
  const pins = `/sys/fs/bpf/bpfcache-example-${process.pid}`;
  const file = unlinkedFile(object);
  try {
    // bpftool wants a path it can seek in, not a pipe: the open file is handed down as its descriptor 3.
    bpftool(["prog", "loadall", "/proc/self/fd/3", pins], file);
    const { id, type, name, tag } = JSON.parse(
      bpftool(["-j", "prog", "show", "pinned", `${pins}/${program}`]),
    );
    console.log(`kernel program   id ${id}, name ${name}, tag ${tag}, type ${type}`);
  } finally {
    closeSync(file);
    rmSync(pins, { recursive: true, force: true }); // the last reference: the kernel unloads the programs
  }
  console.log("unloaded");
}

/** An open file in memory that has no name any more, so nothing is left behind however this ends. @param {Uint8Array} bytes */
function unlinkedFile(bytes) {
  const path = `/dev/shm/bpfcache-${randomUUID()}`;
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  unlinkSync(path);
  for (let written = 0; written < bytes.byteLength; ) written += writeSync(file, bytes, written);
  return file;
}

/** @param {string[]} args @param {number} [object] Becomes descriptor 3. */
function bpftool(args, object) {
  const stdio = /** @type {(number | "ignore" | "pipe")[]} */ (["ignore", "pipe", "pipe"]);
  if (object !== undefined) stdio.push(object);
  const { status, stdout, stderr, error } = spawnSync("bpftool", args, { stdio, encoding: "utf8" });
  if (error) throw error;
  if (status !== 0) throw new Error(`bpftool ${args.join(" ")} failed:\n${stderr}`);
  return stdout;
}
