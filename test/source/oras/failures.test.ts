import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { withLimits } from "../../../src/core/limits.js";
import { parseReference } from "../../../src/core/reference.js";
import { OrasSource } from "../../../src/source/oras/oras-source.js";
import { TemporaryDirectory } from "../../reliability/processes.js";
import { bytecodeImage, writeLayout } from "../../support/image-builder.js";

// Programs named oras that behave as no good oras does.

const reference = parseReference("registry.example/org/prog:v1");
const image = bytecodeImage();
let directory: TemporaryDirectory;
let sources: OrasSource[];

beforeEach(() => {
  directory = new TemporaryDirectory();
  sources = [];
});

afterEach(async () => {
  for (const source of sources) await source.close();
  directory[Symbol.dispose]();
});

/** A source whose oras is this shell script, after answering `version` as oras 1.3.0 does. */
function sourceWith(script: string, toolTimeoutMs = 30_000): OrasSource {
  return sourceWithProgram(
    `[ "$1" = version ] && { echo "Version:        1.3.0"; exit 0; }\n${script}`,
    toolTimeoutMs,
  );
}

function sourceWithProgram(script: string, toolTimeoutMs = 30_000): OrasSource {
  const bin = directory.join("bin");
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, "oras"), `#!/bin/sh\n${script}\n`);
  chmodSync(join(bin, "oras"), 0o755);
  return source({ PATH: `${bin}:/usr/bin:/bin` }, toolTimeoutMs);
}

function source(environment: NodeJS.ProcessEnv, toolTimeoutMs = 30_000): OrasSource {
  const made = new OrasSource({ environment, limits: withLimits({ toolTimeoutMs }) });
  sources.push(made);
  return made;
}

function ownDirectories(): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith(`bpfcache-oras-${process.pid}-`));
}

describe("an oras that", () => {
  it("is not there is TOOL_FAILED, and says how to go on without it", async () => {
    await expect(source({ PATH: directory.path }).resolve(reference)).rejects.toMatchObject({
      code: "TOOL_FAILED",
      message: expect.stringMatching(/no such program/),
      hint: expect.stringMatching(/--via oras/),
    });
  });

  it("is too old is TOOL_FAILED with its version", async () => {
    const old = sourceWithProgram('echo "Version:        0.16.0"');
    await expect(old.resolve(reference)).rejects.toMatchObject({
      code: "TOOL_FAILED",
      message: expect.stringMatching(/older than 1\.0\.0; it says: Version: 0\.16\.0/),
    });
  });

  it("is something else is TOOL_FAILED", async () => {
    await expect(sourceWithProgram("echo usage: oras FILE").resolve(reference)).rejects.toMatchObject({
      code: "TOOL_FAILED",
      message: expect.stringMatching(/does not say its version; it says: usage: oras FILE/),
    });
  });

  it.each([
    ["Error response from registry: recognizable error message not found: 401 Unauthorized", "UNAUTHORIZED"],
    ["Error: failed to resolve v1: not found", "NOT_FOUND"],
    [
      "Error: Get https://registry.example/v2/: dial tcp: lookup registry.example: no such host",
      "UNREACHABLE",
    ],
    ["Error: response status code 503: Service Unavailable", "UNREACHABLE"],
    ["Error: something quite new", "TOOL_FAILED"],
  ])("says %j gives those words with the code %s", async (words, code) => {
    await expect(sourceWith(`echo '${words}' >&2; exit 1`).resolve(reference)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(words),
    });
  });

  it("hangs is ended, with what it started, and is TOOL_FAILED", async () => {
    const pidFile = directory.join("pid");
    const hanging = sourceWith(`sleep 600 & echo $! > ${pidFile}; wait`, 500);
    await expect(hanging.resolve(reference)).rejects.toMatchObject({
      code: "TOOL_FAILED",
      message: expect.stringMatching(/did not end within 0\.5 s/),
    });
    const child = Number(readFileSync(pidFile, "utf8"));
    for (let i = 0; i < 50 && isRunning(child); i++) await sleep(100);
    expect(isRunning(child)).toBe(false);
  });

  it("hangs and ignores SIGTERM is killed", async () => {
    const stubborn = sourceWith(`trap "" TERM; while :; do sleep 1; done`, 300);
    await expect(stubborn.resolve(reference)).rejects.toMatchObject({ code: "TOOL_FAILED" });
  });

  it("hangs in something that left its group, and holds its pipes, is not waited for", async () => {
    const pidFile = directory.join("pid");
    const leaving = sourceWith(`setsid sh -c 'echo $$ > ${pidFile}; exec sleep 600' & wait`, 1_000);
    const started = performance.now();
    await expect(leaving.resolve(reference)).rejects.toMatchObject({ code: "TOOL_FAILED" });
    expect(performance.now() - started).toBeLessThan(20_000);
    process.kill(Number(readFileSync(pidFile, "utf8")));
  });

  it("says why before it hangs is quoted", async () => {
    const waiting = sourceWith("echo 'asking the moon for a token' >&2; sleep 600", 1_000);
    await expect(waiting.resolve(reference)).rejects.toMatchObject({
      code: "TOOL_FAILED",
      message: expect.stringMatching(/did not end within 1 s; it says: asking the moon for a token/),
    });
  });

  it("is under way when the caller gives up is ended with INTERRUPTED", async () => {
    const controller = new AbortController();
    const resolving = sourceWith("sleep 600").resolve(reference, { signal: controller.signal });
    setTimeout(() => controller.abort(), 300);
    await expect(resolving).rejects.toMatchObject({ code: "INTERRUPTED" });
  });

  it("prints without end does not fill the memory", async () => {
    const chatty = sourceWith("yes 'no such thing as quiet' | head -c 50000000 >&2; exit 1");
    const error = await chatty.resolve(reference).catch((thrown: Error) => thrown);
    expect(String((error as Error).message).length).toBeLessThan(2_000);
  });

  it("claims success and leaves nothing is TOOL_FAILED", async () => {
    await expect(sourceWith("exit 0").resolve(reference)).rejects.toMatchObject({
      code: "TOOL_FAILED",
      message: expect.stringMatching(/it ended well, but .* is not an OCI image layout/),
    });
  });

  it("leaves a layer that is not what its digest says is TOOL_FAILED", async () => {
    const layout = directory.join("prepared");
    writeLayout(layout, [{ name: "copy", root: image }]);
    const layer = image.layers[0] ?? image.config;
    writeFileSync(join(layout, "blobs", layer.digest.replace(":", "/")), Buffer.alloc(layer.size));
    const lying = sourceWith(`for last; do :; done; cp -r ${layout} "\${last%:*}"`);
    await lying.resolve(reference);
    await expect(lying.fetch(reference, layer)).rejects.toMatchObject({
      code: "TOOL_FAILED",
      message: expect.stringMatching(/it ended well, but what oras brought/),
    });
  });
});

describe("the private directory", () => {
  const copying = (layout: string): string => `for last; do :; done; cp -r ${layout} "\${last%:*}"`;

  it("is for this user only, and goes with the source", async () => {
    const layout = directory.join("prepared");
    writeLayout(layout, [{ name: "copy", root: image }]);
    const before = ownDirectories();
    const working = sourceWith(copying(layout));
    await working.resolve(reference);
    const made = ownDirectories().filter((name) => !before.includes(name));
    expect(made).toHaveLength(1);
    await working.close();
    expect(ownDirectories()).toEqual(before);
  });

  it("of a process that was killed is removed by the next one", async () => {
    const abandoned = join(tmpdir(), "bpfcache-oras-4194304-1-abc");
    mkdirSync(abandoned, { recursive: true });
    writeFileSync(join(abandoned, "blob"), "left over");
    const layout = directory.join("prepared");
    writeLayout(layout, [{ name: "copy", root: image }]);
    await sourceWith(copying(layout)).resolve(reference);
    expect(existsSync(abandoned)).toBe(false);
  });
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
