import { afterEach, describe, expect, it } from "vitest";
import type { BytecodeCache } from "../../../src/cache.js";
import { openCache } from "../../../src/open-cache.js";
import { BatchScopes } from "../../../src/source/registry/batch-scopes.js";
import { bytecodeImage } from "../../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../../support/test-registry.js";

const opened: { close(): Promise<void> }[] = [];

afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
});

async function bearerRegistryOf(repositories: readonly string[]): Promise<TestRegistry> {
  const registry = await startTestRegistry({ auth: { type: "bearer" } });
  opened.push(registry);
  for (const repository of repositories) registry.add(`${repository}:v1`, bytecodeImage());
  return registry;
}

async function openTestCache(): Promise<BytecodeCache> {
  const cache = await openCache({
    registryConfig: { registriesConf: "/dev/null", hostsDirectory: import.meta.dirname },
  });
  opened.push(cache);
  return cache;
}

const ten = Array.from({ length: 10 }, (_, i) => `org/prog-${i}`);

describe("a batch from one registry", () => {
  it("costs one 401 and one token, whatever the number of repositories", async () => {
    const registry = await bearerRegistryOf(ten);
    const cache = await openTestCache();
    const { failed } = await cache.prefetch(ten.map((repository) => registry.reference(`${repository}:v1`)));
    expect(failed).toEqual([]);
    expect(registry.requests.filter(({ status }) => status === 401)).toHaveLength(1);
    expect(registry.requests.filter(({ kind }) => kind === "token")).toHaveLength(1);
  });

  it("goes on one by one when the registry grants only the first scope", async () => {
    const registry = await bearerRegistryOf(ten);
    registry.grantedScopes = 1;
    const cache = await openTestCache();
    const { failed, images } = await cache.prefetch(
      ten.map((repository) => registry.reference(`${repository}:v1`)),
    );
    expect(failed).toEqual([]);
    expect(images).toHaveLength(10);
  });

  it("goes on one by one when the token service refuses many scopes", async () => {
    const registry = await bearerRegistryOf(ten);
    registry.break({ kind: "token", query: /scope=.*scope=/ }, { status: 403 });
    const cache = await openTestCache();
    const { failed } = await cache.prefetch(ten.map((repository) => registry.reference(`${repository}:v1`)));
    expect(failed).toEqual([]);
  });
});

describe("BatchScopes", () => {
  const names = (count: number, host = "quay.io") =>
    Array.from({ length: count }, (_, i) => ({ host, repository: `r${String(i).padStart(2, "0")}` }));

  it("puts no more than twenty into one token", () => {
    const batches = new BatchScopes();
    batches.announce(names(45));
    const sizes = names(45).map((name) => batches.scopeFor(name)?.split(" ").length);
    expect(new Set(sizes)).toEqual(new Set([20, 5]));
  });

  it("keeps hosts apart, and leaves a single repository alone", () => {
    const batches = new BatchScopes();
    batches.announce([...names(2), ...names(1, "ghcr.io")]);
    expect(batches.scopeFor({ host: "quay.io", repository: "r00" })).toBe(
      "repository:r00:pull repository:r01:pull",
    );
    expect(batches.scopeFor({ host: "ghcr.io", repository: "r00" })).toBeUndefined();
    batches.giveUp("quay.io");
    expect(batches.scopeFor({ host: "quay.io", repository: "r00" })).toBeUndefined();
  });
});
