import { mkdtempSync, rmSync } from "node:fs";
import { isIPv6, type LookupFunction } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach } from "vitest";
import { BpfcacheError } from "../../../src/core/errors.js";
import type { CacheEvent } from "../../../src/core/events.js";
import type { Reference } from "../../../src/core/reference.js";
import type { Descriptor } from "../../../src/image/descriptor.js";
import type { Credential, CredentialProvider } from "../../../src/source/credentials/credential.js";
import type { SourceOptions } from "../../../src/source/image-source.js";
import type { Clock } from "../../../src/source/registry/clock.js";
import { type RegistryOptions, RegistrySource } from "../../../src/source/registry/registry-source.js";
import { FaultServer } from "./fault-server.js";
import { type Auth, type TestImage, TestRegistry } from "./test-registry.js";

/** Stands for a machine on which nothing is configured. */
const nothingConfigured = mkdtempSync(join(tmpdir(), "bpfcache-nothing-"));

afterAll(() => rmSync(nothingConfigured, { recursive: true, force: true }));

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export async function startRegistry(
  auth?: Auth,
  tls?: Parameters<typeof FaultServer.start>[0],
): Promise<TestRegistry> {
  const registry = await TestRegistry.start(auth, tls);
  cleanups.push(() => registry.close());
  return registry;
}

export async function startServer(tls?: Parameters<typeof FaultServer.start>[0]): Promise<FaultServer> {
  const server = await FaultServer.start(tls);
  cleanups.push(() => server.close());
  return server;
}

/** Waits take no time but move the clock on; chance is always the same. */
export class TestClock implements Clock {
  readonly sleeps: number[] = [];
  #skipped = 0;

  now(): number {
    return Date.now() + this.#skipped;
  }

  random(): number {
    return 0.5;
  }

  async sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) throw new BpfcacheError("INTERRUPTED", "interrupted");
    this.sleeps.push(ms);
    this.#skipped += ms;
    await new Promise((resolve) => setImmediate(resolve));
  }

  advance(ms: number): void {
    this.#skipped += ms;
  }
}

/** A source with nothing from this machine's configuration. */
export function sourceFor(options: RegistryOptions = {}): RegistrySource {
  const source = new RegistrySource({
    credentials: noCredentials,
    environment: {},
    certificateDirectories: [],
    hostsDirectory: nothingConfigured,
    registriesConf: "/dev/null",
    clock: new TestClock(),
    ...options,
  });
  cleanups.push(() => source.close());
  return source;
}

export const noCredentials: CredentialProvider = { credentialFor: async () => undefined };

export function login(username: string, password: string): CredentialProvider {
  const credential: Credential = { kind: "password", username, password, from: "the test" };
  return { credentialFor: async () => credential };
}

export function credentials(credential: Credential): CredentialProvider {
  return { credentialFor: async () => credential };
}

export async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export async function fetchBytes(
  source: RegistrySource,
  reference: Reference,
  descriptor: Descriptor,
  options?: SourceOptions,
): Promise<Buffer> {
  return await readAll(await source.fetch(reference, descriptor, options));
}

/** What the puller asks for: the manifest, then config and layer. */
export async function pullImage(
  source: RegistrySource,
  image: TestImage,
  options?: SourceOptions,
): Promise<Buffer> {
  await source.resolve(image.reference, options);
  const [, layer] = await Promise.all([
    fetchBytes(source, image.reference, image.config, options),
    fetchBytes(source, image.reference, image.layer, options),
  ]);
  return layer;
}

export async function failureOf(work: Promise<unknown>): Promise<BpfcacheError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof BpfcacheError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

export function recorder(): { events: CacheEvent[]; onEvent: (event: CacheEvent) => void } {
  const events: CacheEvent[] = [];
  return { events, onEvent: (event) => events.push(event) };
}

/** A resolver to which every name is one address, and some are others. */
export function lookupAs(address: string, others: Readonly<Record<string, string>> = {}): LookupFunction {
  return (name, options, done) => {
    const found = others[name] ?? address;
    const family = isIPv6(found) ? 6 : 4;
    if (options.all === true) done(null, [{ address: found, family }]);
    else done(null, found, family);
  };
}
