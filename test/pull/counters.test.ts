import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Environment } from "../../src/store/environment.js";
import { bytecodeImage, writeLayout } from "../support/image-builder.js";
import {
  bytesOf,
  failureOf,
  imageNamed,
  openTestCache,
  startRegistry,
  temporaryDirectory,
} from "./support.js";

describe("the counters of a cache", () => {
  it("tell hits, misses, confirmations, requests and bytes apart", async () => {
    const registry = await startRegistry();
    const image = imageNamed("count");
    registry.add("org/prog:v1", image);
    const reference = registry.reference("org/prog:v1");
    const cache = await openTestCache();
    await cache.pull(reference);
    await cache.pull(reference);
    await cache.pull(reference);
    await cache.pull(reference, { pullPolicy: "Always" });
    expect(cache.metrics().counters).toMatchObject({
      hits: 2,
      "misses.absent": 1,
      "misses.policy": 1,
      unchanged: 1,
      published: 1,
      requests: registry.requests.length,
      fetchedBytes: bytesOf(image),
      retries: 0,
    });
  });

  it("tell failures by their code, and what failed its check", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", imageNamed("count"));
    registry.break({ kind: "blob", times: 1 }, { body: "something else" });
    const cache = await openTestCache();
    const failure = await failureOf(cache.pull(registry.reference("org/prog:v1")));
    await failureOf(cache.pull(registry.reference("org/none:v1")));
    expect(cache.metrics().counters).toMatchObject({
      [`failures.${failure.code}`]: 1,
      "failures.NOT_FOUND": 1,
      "verifyFailures.source": 1,
    });
  });

  it("count what was found damaged here", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", imageNamed("count"));
    const cache = await openTestCache();
    const reference = registry.reference("org/prog:v1");
    await cache.pull(reference);
    const environment = Environment.open({ directory: cache.directory });
    for (const { key, value } of environment.tree("objects").entries()) {
      value.writeUInt8(value.readUInt8(0) ^ 1, 0);
      environment.commit(() => environment.tree("objects").put(key, value));
    }
    environment.close();
    await cache.pull(reference);
    expect(cache.metrics().counters).toMatchObject({ "verifyFailures.cache": 1, "misses.damaged": 1 });
  });

  it("cost a hit no transaction, and are there for the next process", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", imageNamed("count"));
    const reference = registry.reference("org/prog:v1");
    const directory = temporaryDirectory();
    const cache = await openTestCache({ directory });
    await cache.pull(reference);
    const environment = Environment.open({ directory });
    const before = environment.lastTransaction;
    for (let i = 0; i < 50; i++) {
      await cache.pull(reference);
      cache.bytecode(reference);
    }
    expect(environment.lastTransaction).toBe(before);
    await cache.close();
    expect(environment.lastTransaction).toBe(before + 1);
    environment.close();
    const next = await openTestCache({ directory });
    expect(next.metrics().counters).toMatchObject({ hits: 50, reads: 50, published: 1 });
  });

  it("do not take files for something that was fetched", async () => {
    const directory = temporaryDirectory();
    writeLayout(join(directory, "layout"), [{ name: "registry.example/org/prog:v1", root: bytecodeImage() }]);
    const cache = await openTestCache();
    await cache.seed([join(directory, "layout")]);
    expect(cache.metrics().counters).toMatchObject({ fetchedBytes: 0, published: 1, "misses.absent": 0 });
  });

  it("stand beside what is in the cache now", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", imageNamed("count"));
    const cache = await openTestCache({ maxBytes: 1_000_000 });
    await cache.pull(registry.reference("org/prog:v1"));
    expect(cache.metrics()).toMatchObject({
      bytes: cache.usage().bytes,
      maxBytes: 1_000_000,
      references: 1,
      images: 1,
      objects: 1,
    });
  });
});
