import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ErrorCode, exitStatus } from "../../src/core/errors.js";
import { bytecodeImage, imageIndex, minimalBpfElf } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { sampleImage, User } from "./command.js";

const amd64 = ["--platform", "linux/amd64"];
let registry: TestRegistry;

beforeAll(async () => {
  registry = await startTestRegistry();
  registry.add("org/sample:v1", sampleImage());
});

afterAll(() => registry.close());

/** How a user comes to see each code; what is left of stderr is what they read. */
const ways: Partial<Record<ErrorCode, (user: User) => Promise<{ status: number | null; stderr: string }>>> = {
  USAGE: (user) => user.bpfcache(["pull", "registry.example/Org/x"]),
  NOT_FOUND: (user) => pull(user, "org/sample:v9"),
  NOT_CACHED: (user) => pull(user, "org/sample:v1", "--offline"),
  UNAUTHORIZED: async (user) => {
    await using closed = await startTestRegistry({
      auth: { type: "basic", username: "somebody", password: "secret" },
    });
    closed.add("org/sample:v1", sampleImage());
    return await user.bpfcache(["pull", closed.reference("org/sample:v1"), "--progress", "quiet"]);
  },
  UNREACHABLE: (user) => {
    writeFileSync(user.path("config.toml"), "[limits]\nretries = 0\n");
    return user.bpfcache(["pull", "127.0.0.1:1/org/sample:v1", "--config", user.path("config.toml")]);
  },
  DIGEST_MISMATCH: (user) => {
    const image = bytecodeImage();
    registry.add("org/wrong:v1", image);
    const [layer] = image.layers;
    registry.break({ path: layer?.digest ?? "" }, { body: Buffer.alloc(layer?.size ?? 0, "x") });
    return pull(user, "org/wrong:v1");
  },
  UNTRUSTED: (user) => {
    writeFileSync(user.path("policy.toml"), 'default = "reject"\n');
    return pull(user, "org/sample:v1", "--policy", user.path("policy.toml"));
  },
  INVALID_IMAGE: (user) => {
    const objects = [{ path: "readme", bytes: Buffer.from("hello") }];
    registry.add("org/text:v1", bytecodeImage({ objects }));
    return pull(user, "org/text:v1");
  },
  PLATFORM_MISMATCH: (user) => {
    registry.add("org/arm:v1", imageIndex([{ image: bytecodeImage({ platform: "linux/arm64" }) }]));
    return pull(user, "org/arm:v1");
  },
  CACHE_CORRUPT: async (user) => {
    const bytes = minimalBpfElf({ programs: [{ name: "soon_damaged" }] });
    registry.add("org/damaged:v1", bytecodeImage({ objects: [{ path: "damaged.o", bytes }] }));
    await pull(user, "org/damaged:v1");
    const data = readFileSync(`${user.cache}/data.mdb`);
    for (let at = data.indexOf(bytes); at >= 0; at = data.indexOf(bytes, at + 1))
      data[at + bytes.length - 1] = 0x58;
    writeFileSync(`${user.cache}/data.mdb`, data);
    return user.bpfcache(["cat", "--offline", registry.reference("org/damaged:v1"), ...amd64]);
  },
  CACHE_FULL: (user) => pull(user, "org/sample:v1", "--max-size", "100"),
  CACHE_BUSY: async (user) => {
    const image = bytecodeImage({ objects: [{ path: "busy.o", bytes: minimalBpfElf({ license: "busy" }) }] });
    registry.add("org/busy:v1", image);
    const layer = image.layers[0]?.digest ?? "";
    const stop = registry.break({ path: layer }, { stallMs: 60_000 });
    const first = user.start(["pull", registry.reference("org/busy:v1"), "--progress", "json", ...amd64]);
    await first.line("stderr", new RegExp(`"fetching".*${layer}`));
    writeFileSync(user.path("config.toml"), "[limits]\nlease-wait-ms = 300\n");
    const second = await pull(
      user,
      "org/busy:v1",
      "--config",
      user.path("config.toml"),
      "--progress",
      "quiet",
    );
    first.kill("SIGKILL");
    stop();
    return second;
  },
  TOOL_FAILED: (user) => {
    const environment = { PATH: user.path("no-tools") };
    return pull(new User(environment), "org/sample:v1", "--via", "oras");
  },
  PARTIAL: (user) => {
    const references = ["org/sample:v9", "org/sample:v1"].map((name) => registry.reference(name));
    return user.bpfcache(["prefetch", ...references, ...amd64]);
  },
  INTERRUPTED: async (user) => {
    const stop = registry.break({ path: "org/sample/manifests" }, { stallMs: 60_000 });
    const words = ["pull", registry.reference("org/sample:v1"), "--progress", "json", ...amd64];
    const running = user.start(words);
    await running.line("stderr", /"resolving"/);
    running.kill("SIGINT");
    const { status, stderr } = await running.ended;
    stop();
    return { status, stderr: stderr.replace(/^\{.*\n/gm, "") };
  },
};

function pull(user: User, name: string, ...options: string[]): ReturnType<User["bpfcache"]> {
  return user.bpfcache(["pull", registry.reference(name), ...options, ...amd64]);
}

/** What differs from run to run. */
function steady(text: string, user: User): string {
  return text
    .replaceAll(user.path("."), "HOME")
    .replaceAll(user.cache, "CACHE")
    .replace(/127\.0\.0\.1:\d+/g, "REGISTRY")
    .replace(/sha256:[0-9a-f]{64}/g, "sha256:DIGEST")
    .replace(/\b\d+(\.\d+)? (B|KiB|MiB)\b/g, "SIZE")
    .replace(/\b\d+(\.\d+)? (ms|s)\b/g, "TIME")
    .replace(/\/tmp\/[\w./-]+/g, "PATH");
}

it.each(Object.keys(ways) as ErrorCode[])("%s tells what happened and what to do", async (code) => {
  using user = new User();
  registry.repair();
  const { status, stderr } = (await ways[code]?.(user)) ?? { status: 0, stderr: "" };
  expect(status).toBe(exitStatus[code]);
  expect(stderr).toContain(`[${code}]`);
  await expect(steady(stderr, user)).toMatchFileSnapshot(`snapshots/error-${code}.txt`);
});

it("leaves out no code but that of a bug", () => {
  const untold = Object.keys(exitStatus).filter((code) => !(code in ways));
  // A bug cannot be had on purpose.
  expect(untold).toEqual(["INTERNAL"]);
});
