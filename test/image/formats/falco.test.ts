import { describe, expect, it } from "vitest";
import { failureOf, openTestCache, startRegistry } from "../../pull/support.js";
import { artifact } from "../../support/artifact-builder.js";
import { gzip, imageIndex, minimalBpfElf, type TarEntry, tarOf } from "../../support/image-builder.js";
import { extract, refusalOf } from "./support.js";

function plugin(...entries: readonly TarEntry[]) {
  return artifact({
    config: { mediaType: "application/vnd.cncf.falco.plugin.config.v1+json", bytes: '{"name":"x"}' },
    layers: [
      {
        mediaType: "application/vnd.cncf.falco.plugin.layer.v1+tar.gz",
        bytes: gzip(tarOf(entries)),
        title: "x-linux-x86_64.tar.gz",
      },
    ],
  });
}

describe("an artifact of Falco (D12)", () => {
  it("with an object in its archive gives it by its path", async () => {
    const image = await extract(plugin({ path: "falco/probe.o", bytes: minimalBpfElf() }));
    expect(image).toMatchObject({
      format: "falco",
      objects: [{ name: "falco/probe.o" }],
      attachments: [{ name: "config.json", kind: "metadata" }],
    });
  });

  it("without one is refused, and says what is in it", async () => {
    const library = minimalBpfElf({ machine: 62, type: 3 });
    expect(await refusalOf(plugin({ path: "libx.so", bytes: library }))).toMatch(
      /the Falco plugin holds no eBPF object.*libx\.so \(a 64-bit little-endian x86-64 shared object/,
    );
  });

  it("that is no archive is refused", async () => {
    const rules = { mediaType: "application/vnd.cncf.falco.rulesfile.layer.v1+tar.gz", bytes: "- rule: x" };
    expect(await refusalOf(artifact({ layers: [rules] }))).toMatch(/neither gzip nor zstd nor tar/);
  });

  it("is refused the same through an index, and nothing of it is kept", async () => {
    const registry = await startRegistry();
    registry.add(
      "falco/x:v1",
      imageIndex([
        { image: plugin({ path: "rules.yaml", bytes: Buffer.from("-") }), platform: "linux/amd64" },
      ]),
    );
    const cache = await openTestCache();
    const failure = await failureOf(cache.pull(registry.reference("falco/x:v1")));
    expect([failure.code, failure.found, cache.list()]).toEqual(["INVALID_IMAGE", "rules.yaml", []]);
  });
});
