#!/usr/bin/env node
// @ts-check
// The main job, end to end, on this machine alone: a seeded cache serves as the registry, a second cache prefetches
// from it over HTTP, and a loader reads that one after the registry has gone. `npm run demo` builds and runs it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { createInterface } from "node:readline";

const root = join(import.meta.dirname, "..");
const cli = join(root, "dist", "packed", "main.js");
const images = ["xdp-pass", "xdp-counter", "tracepoint-counter"];
const started = performance.now();

const scratch = mkdtempSync(join(tmpdir(), "bpfcache-demo-"));
const registryCache = join(scratch, "registry");
const nodeCache = join(scratch, "node");
/** @type {Set<import("node:child_process").ChildProcess>} */
const children = new Set();

for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) {
  process.once(signal, () => {
    cleanUp();
    process.kill(process.pid, signal);
  });
}

try {
  await main();
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `\nDone in ${seconds} s: ${images.length} images seeded, served, prefetched, and read without the registry.`,
  );
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  cleanUp();
}

async function main() {
  heading("Seed a cache from the OCI layout in examples/layout. No network is used.");
  await bpfcache("seed", join(root, "examples", "layout"), "--cache-dir", registryCache);

  heading("Serve that cache as a read-only OCI registry on loopback.");
  const server = await serve(registryCache);
  const references = images.map((image) => `${server.host}/registry.example/bpfcache/${image}:v1`);

  heading("Prefetch from the registry into a second cache, every byte checked against its digest.");
  await bpfcache("prefetch", ...references, "--cache-dir", nodeCache);
  await bpfcache("list", "--cache-dir", nodeCache);

  heading("Stop the registry. From here on there is only the cache.");
  await stop(server.child);

  heading("Load each program from the cache, in another process that opens no socket.");
  const loader = join(root, "examples", "loader.js");
  for (const reference of references) await run(process.execPath, loader, nodeCache, reference);
}

/** @param {string} text */
function heading(text) {
  console.log(`\n── ${text}`);
}

/** @param {string[]} args */
function bpfcache(...args) {
  return run(process.execPath, cli, ...args);
}

/** Runs a program to its end, its output shown as it comes. @param {string} program @param {string[]} args */
async function run(program, ...args) {
  const child = start(program, args, "inherit");
  const [status, signal] = await once(child, "exit");
  if (status !== 0) throw new Error(`${shown(args)} ended with ${signal ?? `exit status ${status}`}`);
}

/** Starts the registry and waits for the line that says where it listens. @param {string} directory */
async function serve(directory) {
  const child = start(
    process.execPath,
    [cli, "serve", "--cache-dir", directory, "--listen", "127.0.0.1:0"],
    "pipe",
  );
  const died = once(child, "exit").then(([status]) => `bpfcache serve ended with exit status ${status}`);
  const said = child.stdout ? once(createInterface(child.stdout), "line").then(([line]) => line) : died;
  const line = String(await Promise.race([said, died]));
  console.log(line);
  const host = /http:\/\/([^\s/]+)/.exec(line)?.[1];
  if (host === undefined) throw new Error("the registry did not start");
  return { child, host };
}

/** @param {string} program @param {string[]} args @param {"inherit" | "pipe"} stdout */
function start(program, args, stdout) {
  console.log(`$ ${shown(args)}`);
  const child = spawn(program, args, { stdio: ["ignore", stdout, "inherit"] });
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}

/** The command as a reader of the README would type it. @param {string[]} args */
function shown([script = "", ...args]) {
  const program = script === cli ? "bpfcache" : `node ${relative(root, script)}`;
  const words = args.map((word) => (word.startsWith(root) ? relative(root, word) : word));
  return [program, ...words].join(" ");
}

/** @param {import("node:child_process").ChildProcess} child */
async function stop(child) {
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
}

function cleanUp() {
  for (const child of children) child.kill("SIGKILL");
  rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
}
