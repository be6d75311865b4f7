import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Digest } from "../../../src/core/digest.js";
import type { PruneOptions } from "../../../src/store/prune.js";
import type { Times } from "./model.js";
import { platforms } from "./pool.js";
import { codeOf, type Stage } from "./stage.js";

/** What takes space, and what gives it back. */
export class SpaceSteps {
  readonly #stage: Stage;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  async prune(): Promise<void> {
    const { model, random } = this.#stage;
    const options = this.#stage.choice<PruneOptions>([
      { maxBytes: Math.floor(model.bytes() * random()) },
      { maxBytes: Math.floor(model.bytes() * random()), keepLast: 1 },
      { keepLast: Math.floor(random() * 3) },
      { olderThanMs: this.#stage.choice([0, 86_400_000]) },
      { unreferenced: true },
    ]);
    await this.#pruneAs({ ...options, dryRun: random() < 0.5 });
  }

  dropLayers(): Promise<void> {
    return this.#pruneAs({ dropLayers: true });
  }

  async #pruneAs(options: PruneOptions): Promise<void> {
    const stage = this.#stage;
    stage.note(`prune ${JSON.stringify(options)}`);
    await sleep(2); // What has just been used is older than nothing at all, then.
    const expected = stage.model.prune(options, this.#times());
    const { removed, bytesFreed } = await stage.cache.prune(options);
    const found = removed.map(({ reference, platform, digest, reason }) =>
      reference === undefined ? `${digest} ${reason}` : `${reference} ${platform} ${reason}`,
    );
    stage.requireSame("removed", found.sort(), expected.removed.sort());
    stage.requireSame("bytesFreed", bytesFreed, expected.bytesFreed);
  }

  async restoreLayers(): Promise<void> {
    const stage = this.#stage;
    const [reference, platform] = [stage.anyReference(), stage.platform()];
    stage.note(`restoreLayers ${reference} ${platform}`);
    const code = await codeOf(() => stage.cache.restoreLayers(reference, { platform }));
    const meant = stage.meant(reference, platform)?.on[platform];
    stage.requireSame(
      "code",
      code,
      meant === undefined ? "NOT_CACHED" : stage.model.restore(reference, meant),
    );
  }

  /** One pull into a cache that may take no more than so much: others go, or it is refused. */
  async pullWithinBudget(): Promise<void> {
    const stage = this.#stage;
    const [reference, platform, policy] = [stage.reference(), stage.platform(), stage.policy()];
    const maxBytes = Math.floor(stage.model.bytes() * (0.3 + stage.random()));
    stage.note(`pull ${reference} ${platform} ${policy} into ${maxBytes} bytes`);
    await stage.reopen({ maxBytes, evictionGraceMs: 0 });
    const expected = stage.model.pullWithin(maxBytes, this.#times(), { reference, platform, policy });
    const code = await codeOf(() => stage.cache.pull(reference, { platform, pullPolicy: policy }));
    stage.requireSame("code", code, expected);
    await stage.reopen();
  }

  usage(): void {
    const stage = this.#stage;
    stage.note("usage");
    const { bytes, uniqueBytes, images } = stage.cache.usage();
    const found = images.map((image) =>
      [image.reference, image.platform, image.bytes, image.uniqueBytes].join(" "),
    );
    const expected = stage.model.usage();
    stage.requireSame("usage", found.sort(), expected.images.sort());
    stage.requireSame("bytes", [bytes, uniqueBytes], [expected.bytes, expected.uniqueBytes]);
  }

  /** Layers that prune has dropped come back for it where they can be had. */
  async export(): Promise<void> {
    const stage = this.#stage;
    const [reference, platform] = [stage.anyReference(), stage.platform()];
    stage.note(`export ${reference} ${platform}`);
    const output = join(stage.directory, "exported");
    const code = await codeOf(() => stage.cache.export([reference], { output, platforms: [platform] }));
    const rows = platforms.flatMap((each) => stage.model.held(reference, each)?.on[each] ?? []);
    for (const row of rows) stage.model.restore(reference, row);
    const held = rows.length > 0 ? stage.model.held(reference, platform) : stage.meant(reference, platform);
    const image = held?.on[platform];
    const isWhole = image !== undefined && stage.model.lacks(image).length === 0;
    stage.requireSame("code", code, isWhole ? undefined : "NOT_CACHED");
    if (!isWhole || held === undefined) return;
    const digests: Digest[] = [held.root.root.digest, image.manifest, image.config.digest];
    digests.push(...image.layers.map(({ digest }) => digest));
    const missing = digests.filter((digest) => !existsSync(join(output, "blobs", ...digest.split(":"))));
    rmSync(output, { recursive: true });
    rmSync(`${output}.lock.json`, { force: true });
    stage.requireSame("missing", missing, []);
  }

  async scrub(): Promise<void> {
    const stage = this.#stage;
    const repair = stage.random() < 0.5;
    stage.note(`scrub ${repair}`);
    const { damaged, repaired } = await stage.cache.scrub({ repair });
    stage.requireSame("damage", [damaged, repaired], [[], []]);
  }

  async compact(): Promise<void> {
    const stage = this.#stage;
    stage.note("compact");
    const { fileBytesBefore, fileBytesAfter } = await stage.cache.compact();
    stage.requireSame("shrunk", fileBytesAfter <= fileBytesBefore, true);
  }

  /** The clock is not the model's: it takes from the cache when what was pulled and used. */
  #times(): Times {
    return new Map(
      this.#stage.cache
        .list()
        .map(({ reference, platform, pulledAt, lastUsedAt }) => [
          `${reference} ${platform}`,
          { pulledAt: Date.parse(pulledAt), usedAt: Date.parse(lastUsedAt ?? pulledAt) },
        ]),
    );
  }
}
