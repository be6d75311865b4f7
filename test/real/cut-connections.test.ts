import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { describe, expect, it } from "vitest";
import { openCache } from "../../src/index.js";
import { bytecodeImage, minimalBpfElf, type TestImage } from "../support/image-builder.js";
import { requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";
import { pushOverHttp } from "./images.js";
import { deliverAll, type Exchange, ReverseProxy } from "./reverse-proxy.js";

const KiB = 1024;
const missing = requireTools("docker-registry");

describe.skipIf(missing)(`a docker-registry whose connections break every 64 KiB${missing ?? ""}`, () => {
  it("gives a layer of 2 MiB all the same, and sends no byte more than twice", async () => {
    const image = imageWithLayerOf(2 * KiB * KiB);
    const [layer] = image.layers;
    const cuts = new Cuts(`/v2/org/big/blobs/${layer?.digest}`, 64 * KiB, layer?.size ?? 0);
    await using registry = await DockerRegistry.start();
    await using proxy = await ReverseProxy.start({ deliver: (...passage) => cuts.deliver(...passage) });
    proxy.routes.set("/", registry.host);
    await pushOverHttp(registry.host, "org/big", "v1", image);

    await using cache = await openCache({ platform: "linux/amd64" });
    const pulled = await cache.pull(proxy.reference("org/big:v1"));
    expect(cache.inspect(pulled.reference).layers).toMatchObject([{ digest: layer?.digest }]);
    expect(cuts.count).toBe(Math.ceil((layer?.size ?? 0) / cuts.every) - 1);
    const times = [...new Set(cuts.sent)].sort();
    expect(times[0], "how often the rarest byte was sent").toBe(1);
    expect(times.at(-1), "how often the most frequent byte was sent").toBeLessThanOrEqual(2);
    expect(pulled.bytesFetched).toBe(image.manifest.size + image.config.size + (layer?.size ?? 0));
  });
});

/** Breaks the connection whenever the body of one path has got to a multiple of so many bytes, and counts what passed. */
class Cuts {
  count = 0;
  /** By position in the body: how often that byte was sent. */
  readonly sent: Uint8Array;

  constructor(
    readonly path: string,
    readonly every: number,
    size: number,
  ) {
    this.sent = new Uint8Array(size);
  }

  async deliver(body: IncomingMessage, response: ServerResponse, exchange: Exchange): Promise<void> {
    if (exchange.path !== this.path) return await deliverAll(body, response, exchange);
    let position = Number(/^bytes (\d+)-/.exec(body.headers["content-range"] ?? "")?.[1] ?? 0);
    const end = Math.min((Math.floor(position / this.every) + 1) * this.every, this.sent.length);
    for await (const chunk of body as AsyncIterable<Buffer>) {
      const passed = chunk.subarray(0, end - position);
      for (let index = position; index < position + passed.length; index += 1)
        this.sent[index] = (this.sent[index] ?? 0) + 1;
      position += passed.length;
      await new Promise((resolve) => response.write(passed, resolve));
      if (position === end) break;
    }
    if (end === this.sent.length) {
      response.end();
    } else {
      this.count += 1;
      response.destroy();
    }
  }
}

/** With bytes that do not compress. */
function imageWithLayerOf(size: number): TestImage {
  const withRandom = (bytes: number): TestImage => {
    const sections = [{ name: ".rodata", bytes: randomBytes(bytes), symbols: ["table"] }];
    return bytecodeImage({
      objects: [{ path: "program.o", bytes: minimalBpfElf({ sections }) }],
      compression: "none",
    });
  };
  const overhead = withRandom(0).layers[0]?.size ?? 0;
  return withRandom(size - overhead);
}
