import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { RegistrySource } from "../../../src/source/registry/registry-source.js";
import { sourceFor, startRegistry } from "./support.js";
import type { TestImage, TestRegistry } from "./test-registry.js";

/** All connections there have been, in their order. */
function connectionsTo({ server }: TestRegistry): Socket[] {
  const made: Socket[] = [];
  server.server.on("connection", (socket) => made.push(socket));
  return made;
}

async function fetchContent(source: RegistrySource, image: TestImage): Promise<void> {
  const fetchOne = async (descriptor: TestImage["config"]): Promise<void> => {
    for await (const _ of await source.fetch(image.reference, descriptor));
  };
  await Promise.all([fetchOne(image.config), fetchOne(image.layer)]);
}

describe("of an image that is not here", () => {
  it("the config and the layer find two connections made, and make none", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const made = connectionsTo(registry);
    const source = sourceFor();
    await source.resolve(image.reference);
    await sleep(20);
    expect(made.length).toBe(2);
    await fetchContent(source, image);
    expect(made.length).toBe(2);
  });

  it("they make another where the server has closed the one that waited", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const made = connectionsTo(registry);
    const source = sourceFor();
    await source.resolve(image.reference);
    await expect.poll(() => made.length).toBe(2);
    made[1]?.destroy();
    await sleep(20);
    await fetchContent(source, image);
    expect(made.length).toBe(3);
  });

  it("a connection that nobody has used ends with the source", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const made = connectionsTo(registry);
    const source = sourceFor();
    await source.resolve(image.reference);
    await expect.poll(() => made.length).toBe(2);
    await source.close();
    await expect.poll(() => registry.server.connections).toBe(0);
  });
});

it("of an image that may be unchanged there is one connection", async () => {
  const registry = await startRegistry();
  const image = registry.addImage();
  const made = connectionsTo(registry);
  const source = sourceFor();
  await source.resolve(image.reference, { known: { digest: image.descriptor.digest } });
  await sleep(20);
  expect(made.length).toBe(1);
});
