import { rmSync } from "node:fs";
import { join } from "node:path";
import { digestOf } from "../../../src/core/digest.js";
import { openReader } from "../../../src/reader.js";
import { writeLayout } from "../../support/image-builder.js";
import { checkClosure } from "../check-closure.js";
import { platforms } from "./pool.js";
import { codeOf, names, type Stage } from "./stage.js";

/** What is taken in, read and let go of. */
export class ContentSteps {
  readonly #stage: Stage;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  async pull(): Promise<void> {
    const [reference, platform, policy] = [
      this.#stage.reference(),
      this.#stage.platform(),
      this.#stage.policy(),
    ];
    this.#stage.note(`pull ${reference} ${platform} ${policy}`);
    const code = await codeOf(() => this.#stage.cache.pull(reference, { platform, pullPolicy: policy }));
    this.#stage.requireSame("code", code, this.#stage.model.pull(reference, platform, policy));
  }

  /** The tag comes to mean something else at the registry, or nothing. */
  retag(): void {
    const name = this.#stage.choice(names);
    const reference = this.#stage.registry.reference(name);
    const image = this.#stage.random() < 0.15 ? undefined : this.#stage.image();
    this.#stage.note(`retag ${reference} ${image?.root.root.digest}`);
    if (image === undefined) {
      this.#stage.registry.remove(name);
      this.#stage.model.registry.delete(reference);
    } else {
      this.#stage.registry.add(name, image.root);
      this.#stage.model.publish(reference, image);
    }
  }

  async prefetch(): Promise<void> {
    const [platform, policy] = [this.#stage.platform(), this.#stage.policy()];
    const moves = names
      .filter(() => this.#stage.random() < 0.5)
      .map((name) => this.#stage.registry.reference(name))
      .map((reference) => ({ reference, image: this.#stage.model.asked(reference, platform, policy) }));
    const references = this.#stage.model.inAnyOrder(moves, platform).map(({ reference }) => reference);
    this.#stage.note(`prefetch ${references.join(" ")} ${platform} ${policy}`);
    const { images, failed } = await this.#stage.cache.prefetch(references, { platform, pullPolicy: policy });
    const expected = references.map((reference) => [
      reference,
      this.#stage.model.pull(reference, platform, policy),
    ]);
    const found = [
      ...images.map(({ reference }) => [reference, undefined]),
      ...failed.map(({ reference, code }) => [reference, code]),
    ];
    this.#stage.requireSame("result", found.sort(), expected.sort());
  }

  async seed(): Promise<void> {
    const platform = this.#stage.platform();
    const overwrite = this.#stage.random() < 0.5;
    const chosen = names.filter(() => this.#stage.random() < 0.3);
    const moves = (chosen.length > 0 ? chosen : names.slice(0, 1)).map((name) => ({
      reference: this.#stage.registry.reference(name),
      image: this.#stage.image(),
    }));
    const entries = this.#stage.model.inAnyOrder(moves, platform);
    if (entries.length === 0) return;
    this.#stage.note(
      `seed ${entries.map(({ reference, image }) => `${reference}=${image.root.root.digest}`).join(" ")} ${platform} ${overwrite}`,
    );
    const layout = join(this.#stage.directory, "layout");
    writeLayout(
      layout,
      entries.map(({ reference, image }) => ({ name: reference, root: image.root })),
    );
    const { failed } = await this.#stage.cache.seed([layout], { platform, overwrite });
    rmSync(layout, { recursive: true });
    const expected = entries.flatMap(({ reference, image }) => {
      const code = this.#stage.model.seed(reference, platform, image, overwrite);
      return code === undefined ? [] : [[reference, code]];
    });
    this.#stage.requireSame(
      "failed",
      failed.map(({ reference, code }) => [reference, code]).sort(),
      expected.sort(),
    );
  }

  /** A digest under a name that it may never have had. */
  async adopt(): Promise<void> {
    const image = this.#stage.image();
    const [{ digest }, platform] = [image.root.root, this.#stage.platform()];
    const reference = `${this.#stage.registry.reference("c/adopted")}@${digest}`;
    this.#stage.note(`adopt ${reference} ${platform}`);
    const code = await codeOf(() => this.#stage.cache.pull(reference, { platform, pullPolicy: "Never" }));
    const meant = this.#stage.model.meansHere(digest, platform, this.#stage.pool);
    this.#stage.requireSame("code", code, meant === undefined ? "NOT_CACHED" : undefined);
    if (meant !== undefined) this.#stage.model.adopt(reference, platform, meant);
  }

  async inspect(): Promise<void> {
    const [reference, platform] = [this.#stage.anyReference(), this.#stage.platform()];
    this.#stage.note(`inspect ${reference} ${platform}`);
    const held = this.#stage.meant(reference, platform);
    const code = await codeOf(() => {
      const { rootDigest, manifestDigest } = this.#stage.cache.inspect(reference, { platform });
      if (held === undefined) return;
      this.#stage.requireSame(
        "inspect",
        [rootDigest, manifestDigest],
        [held.root.root.digest, held.on[platform]?.manifest],
      );
    });
    this.#stage.requireSame("code", code, held === undefined ? "NOT_CACHED" : undefined);
  }

  async bytecode(): Promise<void> {
    const [reference, platform] = [this.#stage.anyReference(), this.#stage.platform()];
    this.#stage.note(`bytecode ${reference} ${platform}`);
    const held = this.#stage.meant(reference, platform);
    const objects = held?.on[platform]?.objects ?? [];
    const object = this.#stage.choice([...objects.map(({ path }) => path), undefined]) ?? objects[0]?.path;
    const code = await codeOf(() => {
      const { bytes } = this.#stage.cache.bytecode(reference, { platform, object });
      const wanted = objects.find(({ path }) => path === object)?.bytes;
      if (wanted !== undefined) this.#stage.requireSame("bytes", digestOf(bytes), digestOf(wanted));
    });
    this.#stage.requireSame("code", code, held === undefined ? "NOT_CACHED" : undefined);
  }

  async remove(): Promise<void> {
    const reference = this.#stage.anyReference();
    const platform = this.#stage.choice([undefined, ...platforms]);
    this.#stage.note(`remove ${reference} ${platform}`);
    const code = await codeOf(() => this.#stage.cache.remove(reference, { platform }));
    this.#stage.requireSame("code", code, this.#stage.model.remove(reference, platform));
  }

  async pin(isPinned: boolean): Promise<void> {
    const reference = this.#stage.anyReference();
    this.#stage.note(`${isPinned ? "pin" : "unpin"} ${reference}`);
    const code = await codeOf(() =>
      isPinned ? this.#stage.cache.pin(reference) : this.#stage.cache.unpin(reference),
    );
    this.#stage.requireSame("code", code, this.#stage.model.pin(reference, isPinned));
  }

  async reopen(): Promise<void> {
    this.#stage.note("reopen");
    await this.#stage.reopen();
  }

  /** One who only reads sees the same. */
  reader(): void {
    this.#stage.note("reader");
    using reader = openReader({ directory: this.#stage.cache.directory });
    const listed = reader.list().map(({ reference, platform }) => `${reference} ${platform}`);
    const expected = this.#stage.model.list().map((row) => row.split(" ").slice(0, 2).join(" "));
    this.#stage.requireSame("reader", listed.sort(), expected.sort());
  }

  /** Nothing that was let go of is left. */
  closure(): void {
    this.#stage.note("closure");
    this.#stage.requireSame(
      "closure",
      checkClosure(this.#stage.cache.directory, { mayLackLayers: true }),
      [],
    );
  }
}
