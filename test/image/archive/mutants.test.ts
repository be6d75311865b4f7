import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../../src/core/limits.js";
import { readLayer } from "../../../src/image/archive/layer.js";
import { type Mutant, mutantsOf, quickestMs } from "../elf/mutants.js";
import { entry, gnuLongName, pax, tar } from "./tar-builder.js";

const archive = tar(
  entry("bpf/", "", { type: "5" }),
  entry("bpf/xdp.o", Buffer.alloc(2_000, "bytecode")),
  gnuLongName("l".repeat(150)),
  entry("cut", "1"),
  pax([["path", `${"p/".repeat(60)}x`]]),
  entry("cut", "2"),
  entry("readme", "text"),
);

describe.each([
  ["a gzip layer", gzipSync(archive), 3_000, (bytes: Buffer) => bytes],
  // gzip's own checksum catches nearly everything above, so the archive is also changed before it is compressed.
  ["an archive inside a gzip layer", archive, 3_000, (bytes: Buffer) => gzipSync(bytes, { level: 1 })],
  ["a plain tar layer", archive, 3_000, (bytes: Buffer) => bytes],
])("mutants of %s", (_, original, count, wrap) => {
  test("are read or refused as INVALID_IMAGE, each within 100 ms", async () => {
    let refused = 0;
    const slow: Mutant[] = [];
    for (const mutant of mutantsOf(original, count)) {
      const { bytes, seed } = mutant;
      const started = performance.now();
      const failure = await failureOfReading(wrap(bytes));
      if (performance.now() - started > 100) slow.push(mutant);
      if (failure === undefined) continue;
      refused++;
      expect(failure, `mutant ${seed}`).toMatchObject({ name: "BpfcacheError", code: "INVALID_IMAGE" });
    }
    for (const { bytes, seed } of slow) {
      expect(await quickestMs(() => failureOfReading(wrap(bytes))), `mutant ${seed}`).toBeLessThan(100);
    }
    expect(refused).toBeGreaterThan(count / 4);
    expect(refused).toBeLessThan(count);
  });
});

function failureOfReading(layer: Uint8Array): Promise<unknown> {
  return readLayer(layer, { limits: defaultLimits, keep: () => true }).then(
    () => undefined,
    (error: unknown) => error,
  );
}
