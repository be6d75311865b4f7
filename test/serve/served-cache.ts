import type { BytecodeCache } from "../../src/cache.js";
import { openCache } from "../../src/open-cache.js";
import type { RegistryServer, ServeOptions } from "../../src/serve/server.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { type TestImage, type TestIndex, writeLayout } from "../support/image-builder.js";

/** A cache with these images, served; all of it goes with `close`. */
export class ServedCache {
  private constructor(
    readonly directory: TemporaryDirectory,
    readonly cache: BytecodeCache,
    readonly server: RegistryServer,
  ) {}

  static async start(
    images: Readonly<Record<string, TestImage | TestIndex>>,
    options: ServeOptions = {},
  ): Promise<ServedCache> {
    const directory = new TemporaryDirectory();
    writeLayout(
      directory.join("layout"),
      Object.entries(images).map(([name, root]) => ({ name, root })),
    );
    const cache = await openCache({ directory: directory.join("cache"), platform: "linux/amd64" });
    const { failed } = await cache.seed([directory.join("layout")], { allPlatforms: true });
    if (failed.length > 0) throw new Error(`not seeded: ${failed[0]?.message}`);
    return new ServedCache(directory, cache, await cache.serve(options));
  }

  ask(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${this.server.url}${path}`, { redirect: "error", ...init });
  }

  async close(): Promise<void> {
    await this.server.close();
    await this.cache.close();
    this.directory[Symbol.dispose]();
  }
}
