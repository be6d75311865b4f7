import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openCache } from "../../src/open-cache.js";
import { encodeLock, readLock } from "../../src/pull/lock.js";
import { User } from "../cli/command.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { imageNamed, temporaryDirectory } from "./support.js";

let registry: TestRegistry;
const old = imageNamed("old");
const moved = imageNamed("moved");

beforeEach(async () => {
  registry = await startTestRegistry();
  registry.add("org/prog:v1", old);
});

afterEach(() => registry.close());

const reference = (): string => registry.reference("org/prog:v1");
const lock = () => new Map([[reference(), old.root.digest]]);

describe("a lock", () => {
  it("is read back as it was written, and always the same bytes", async () => {
    const path = join(temporaryDirectory(), "images.lock");
    const entries = [
      ["quay.io/b:v1", moved.root.digest],
      ["quay.io/a:v1", old.root.digest],
    ] as const;
    writeFileSync(path, encodeLock(new Map(entries)));
    expect(await readLock(path)).toEqual(new Map(entries));
    expect(encodeLock(new Map([...entries].reverse()))).toBe(readFileSync(path, "utf8"));
  });

  it.each([
    "",
    "{}",
    '{"version":2,"images":[]}',
    '{"version":1,"images":[{"reference":"x","rootDigest":"sha256:1"}]}',
  ])("that reads %j is USAGE", async (text) => {
    const path = join(temporaryDirectory(), "bad.lock");
    writeFileSync(path, text);
    await expect(readLock(path)).rejects.toMatchObject({ code: "USAGE" });
  });
});

describe("a prefetch by a lock", () => {
  it("takes what the lock says, though the tag has moved since", async () => {
    registry.add("org/prog:v1", moved);
    registry.add("org/prog", old);
    await using cache = await openCache({ platform: "linux/amd64" });
    const { images, failed } = await cache.prefetch([reference()], { lock: lock() });
    expect(failed).toEqual([]);
    expect(images).toMatchObject([{ reference: reference(), rootDigest: old.root.digest }]);
    expect(registry.requests.some(({ path }) => path.endsWith("/manifests/v1"))).toBe(false);
  });

  it("asks nothing when that is here, and moves a reference that means something else here", async () => {
    await using cache = await openCache({ platform: "linux/amd64" });
    await cache.pull(reference());
    registry.forget();
    await cache.prefetch([reference()], { lock: lock(), pullPolicy: "Always" });
    expect(registry.requests).toEqual([]);
    registry.add("org/prog:v1", moved);
    registry.add("org/prog", old);
    await cache.pull(reference(), { pullPolicy: "Always" });
    expect(cache.inspect(reference()).rootDigest).toBe(moved.root.digest);
    await cache.prefetch([reference()], { lock: lock() });
    expect(cache.inspect(reference()).rootDigest).toBe(old.root.digest);
  });

  it("fails for what the lock does not have, and for what the registry has no more", async () => {
    await using cache = await openCache({ platform: "linux/amd64" });
    registry.add("org/other:v1", moved);
    registry.remove("org/prog");
    const other = registry.reference("org/other:v1");
    const { failed } = await cache.prefetch([reference(), other], { lock: lock() });
    expect(failed).toMatchObject([
      { reference: other, code: "USAGE" },
      { reference: reference(), code: "NOT_FOUND" },
    ]);
  });

  it("is written by --lock and demanded by --locked", async () => {
    using user = new User();
    const file = user.path("images.lock");
    const written = await user.bpfcache([
      "prefetch",
      reference(),
      "--lock",
      file,
      "--platform",
      "linux/amd64",
    ]);
    expect(written.status, written.stderr).toBe(0);
    expect(await readLock(file)).toEqual(lock());
    registry.add("org/prog:v1", moved);
    registry.add("org/prog", old);
    const args = ["prefetch", reference(), "--lock", file, "--locked", "--json", "--platform", "linux/amd64"];
    using other = new User();
    const { stdout } = await other.bpfcache(args);
    expect(JSON.parse(stdout)).toMatchObject({ lock: { [reference()]: old.root.digest } });
    expect((await user.bpfcache(["prefetch", reference(), "--locked"])).status).toBe(2);
  });
});
