import { type Digest, digestAlgorithm, digestOf } from "../../src/core/digest.js";
import { BpfcacheError } from "../../src/core/errors.js";
import { contentBytes } from "../../src/store/content-bytes.js";
import { Environment } from "../../src/store/environment.js";
import { digestKey, nameKey, referrerKey, rootKey } from "../../src/store/keys.js";
import { schemaOf } from "../../src/store/migrations.js";
import {
  type ImageRecord,
  manifestDigestOf,
  type ObjectRecord,
  type ReferrerRecord,
  type RefRecord,
  type RootRecord,
  rootDigestOf,
} from "../../src/store/records.js";
import type { TreeName } from "../../src/store/trees.js";
import { decodeManifest, decodeRecord, decodeTime } from "../../src/store/values.js";

/**
 * Everything that is wrong with what is in a cache, as sentences; nothing when all is well. From the references, all
 * rows that must be there are worked out anew, and compared with those that are: none is missing, none is too many,
 * and every value hashes to its name. A directory without a cache has nothing wrong with it. With `mayLackLayers` an
 * image may be without layers, as `prune` leaves it: then it must not hold them either.
 */
export function checkClosure(
  directory: string,
  options: { readonly mayLackLayers?: boolean } = {},
): string[] {
  const environment = openIfThere(directory);
  if (environment === undefined) return [];
  try {
    return environment.snapshot(() => new ClosureCheck(environment, options.mayLackLayers === true).run());
  } finally {
    environment.close();
  }
}

function openIfThere(directory: string): Environment | undefined {
  try {
    return Environment.open({ directory, readOnly: true });
  } catch (error) {
    if (error instanceof BpfcacheError && error.code === "NOT_CACHED") return undefined;
    throw error;
  }
}

/** Trees whose rows follow from the references alone. */
const derivedTrees = [
  "manifests",
  "configs",
  "layers",
  "images",
  "objects",
  "objectInfo",
  "byProgram",
  "byMap",
  "referrers",
  "heldBy",
] as const;

type DerivedTree = (typeof derivedTrees)[number];
type ContentTree = "manifests" | "configs" | "layers" | "objects";

const heldKind = { manifest: 1, config: 2, layer: 3, object: 4 } as const;

function heldKey(kind: keyof typeof heldKind, digest: Digest, holder: Buffer): Buffer {
  return Buffer.concat([Buffer.of(heldKind[kind]), digestKey(digest), holder]);
}

class ClosureCheck {
  readonly #environment: Environment;
  readonly #faults: string[] = [];
  readonly #expected = new Map<DerivedTree, Set<string>>(derivedTrees.map((name) => [name, new Set()]));

  readonly #mayLackLayers: boolean;

  constructor(environment: Environment, mayLackLayers: boolean) {
    this.#environment = environment;
    this.#mayLackLayers = mayLackLayers;
  }

  run(): string[] {
    for (const { key, value } of this.#environment.tree("refs").entries())
      this.#reference(key, decodeRecord<RefRecord>(value));
    this.#referrers();
    for (const name of derivedTrees) this.#compare(name);
    this.#roots();
    // Schema 1 had neither the order of uses nor the sum.
    if ((schemaOf(this.#environment) ?? 0) >= 2) {
      this.#usage();
      this.#total();
    }
    return this.#faults;
  }

  #reference(key: Buffer, record: RefRecord): void {
    const { reference, platform, chain, objects } = record;
    for (const digest of chain) {
      this.#expectContent("manifests", digest);
      this.#expectHeld("manifest", digest, key);
    }
    for (const [index, digest] of chain.entries()) {
      const child = chain[index + 1];
      if (child !== undefined && !this.#manifestText(digest).includes(child))
        this.#fault(`${reference}: ${digest} does not name ${child}`);
    }
    if (!this.#environment.tree("roots").has(rootKey(rootDigestOf(record), platform)))
      this.#fault(`${reference}: its root has no row in roots for ${platform}`);
    const image = this.#image(manifestDigestOf(record));
    if (image !== undefined && JSON.stringify(image.objects) !== JSON.stringify(objects))
      this.#fault(`${reference}: its objects are not those of its image`);
  }

  #image(manifest: Digest): ImageRecord | undefined {
    const key = digestKey(manifest);
    this.#expect("images", key);
    const row = this.#environment.tree("images").get(key);
    if (row === undefined) return undefined;
    const image = decodeRecord<ImageRecord>(row);
    this.#expectContent("configs", image.config.digest);
    this.#expectHeld("config", image.config.digest, key);
    for (const { digest } of image.layers) {
      if (this.#mayLackLayers && !this.#isHeld("layer", digest, key)) continue;
      this.#expectContent("layers", digest);
      this.#expectHeld("layer", digest, key);
    }
    for (const { digest, size } of image.objects) {
      this.#object(digest, size);
      this.#expectHeld("object", digest, key);
    }
    const text = this.#manifestText(manifest);
    for (const { digest } of [image.config, ...image.layers])
      if (!text.includes(digest)) this.#fault(`${manifest} does not name ${digest}, its image does`);
    return image;
  }

  #object(digest: Digest, size: number): void {
    const key = digestKey(digest);
    this.#expectContent("objects", digest);
    this.#expect("objectInfo", key);
    const row = this.#environment.tree("objectInfo").get(key);
    if (row === undefined) return;
    const facts = decodeRecord<ObjectRecord>(row);
    if (facts.size !== size)
      this.#fault(`object ${digest} has ${facts.size} bytes in objectInfo, ${size} in images`);
    for (const { name } of facts.programs) this.#expect("byProgram", nameKey(name, digest));
    for (const { name } of facts.maps) this.#expect("byMap", nameKey(name, digest));
  }

  /** Which there are does not follow from the references, but each must lead to one, over others perhaps, and have all its content. */
  #referrers(): void {
    const rows = this.#environment.tree("referrers").entries();
    let left = rows.map(({ key, value }) => ({ key, record: decodeRecord<ReferrerRecord>(value) }));
    for (let found = -1; found !== 0; ) {
      const needed = left.filter(({ record }) => this.#isExpected("manifests", digestKey(record.subject)));
      for (const { key, record } of needed) this.#referrer(key, record);
      left = left.filter((row) => !needed.includes(row));
      found = needed.length;
    }
  }

  #referrer(key: Buffer, record: ReferrerRecord): void {
    const { subject, artifactType, digest, size, blobs } = record;
    this.#expect("referrers", key);
    if (!key.equals(referrerKey(subject, artifactType, digest)))
      this.#fault(`referrers: ${key.toString("hex")} is not the key of what it holds`);
    this.#expectContent("manifests", digest);
    this.#expectHeld("manifest", digest, Buffer.concat([Buffer.of(0), digestKey(subject)]));
    const text = this.#manifestText(digest);
    if (Buffer.byteLength(text) !== size) this.#fault(`${digest} has not the ${size} bytes of its record`);
    for (const blob of blobs) {
      this.#expectContent(blob.kind === "config" ? "configs" : "layers", blob.digest);
      this.#expectHeld(blob.kind, blob.digest, digestKey(digest));
      if (!text.includes(blob.digest)) this.#fault(`${digest} does not name ${blob.digest}, its record does`);
    }
  }

  #manifestText(digest: Digest): string {
    const row = this.#environment.tree("manifests").get(digestKey(digest));
    return row === undefined ? "" : decodeManifest(row).bytes.toString();
  }

  #expect(tree: DerivedTree, key: Buffer): void {
    this.#expected.get(tree)?.add(key.toString("hex"));
  }

  #isExpected(tree: DerivedTree, key: Buffer): boolean {
    return this.#expected.get(tree)?.has(key.toString("hex")) ?? false;
  }

  #expectHeld(kind: keyof typeof heldKind, digest: Digest, holder: Buffer): void {
    this.#expect("heldBy", heldKey(kind, digest, holder));
  }

  #isHeld(kind: keyof typeof heldKind, digest: Digest, holder: Buffer): boolean {
    return this.#environment.tree("heldBy").has(heldKey(kind, digest, holder));
  }

  #expectContent(tree: ContentTree, digest: Digest): void {
    this.#expect(tree, digestKey(digest));
    const row = this.#environment.tree(tree).get(digestKey(digest));
    if (row === undefined) return; // The comparison says so.
    const bytes = tree === "manifests" ? decodeManifest(row).bytes : row;
    const found = digestOf(bytes, digestAlgorithm(digest));
    if (found !== digest) this.#fault(`${tree}: ${digest} hashes to ${found}`);
  }

  #compare(name: DerivedTree): void {
    const expected = this.#expected.get(name) ?? new Set();
    const found = new Set(this.#keys(name));
    for (const key of expected) if (!found.has(key)) this.#fault(`${name}: ${key} is missing`);
    for (const key of found) if (!expected.has(key)) this.#fault(`${name}: nothing needs ${key}`);
  }

  /** A root's row may outlive the reference it came with, as long as all it leads to is there. */
  #roots(): void {
    const images = this.#expected.get("images");
    const manifests = this.#expected.get("manifests");
    for (const { key, value } of this.#environment.tree("roots").entries()) {
      const record = decodeRecord<RootRecord>(value);
      const isThere =
        record.chain.every((digest) => manifests?.has(digestKey(digest).toString("hex"))) &&
        images?.has(digestKey(manifestDigestOf(record)).toString("hex"));
      if (!isThere) this.#fault(`roots: ${key.toString("hex")} leads to what is not here`);
    }
  }

  /** Every image has a time of use and, in the order, a row for that time; pins are of references that are here. */
  #usage(): void {
    const usage = this.#environment.tree("usage");
    const expected = new Set<string>();
    for (const image of this.#expected.get("images") ?? []) {
      const time = usage.get(Buffer.from(image, "hex"));
      if (time === undefined || decodeTime(time) === undefined)
        this.#fault(`usage: ${image} has no time of use`);
      const at = Buffer.alloc(8);
      at.writeBigUInt64BE(BigInt((time && decodeTime(time)) ?? 0));
      expected
        .add(image)
        .add(Buffer.concat([Buffer.from("lru\0"), at, Buffer.from(image, "hex")]).toString("hex"));
    }
    const pin = Buffer.from("pin\0");
    for (const key of usage.keys()) {
      const isPin = key.subarray(0, pin.length).equals(pin);
      const isNeeded = isPin
        ? this.#environment.tree("refs").hasPrefix(key.subarray(pin.length))
        : expected.delete(key.toString("hex"));
      if (!isNeeded) this.#fault(`usage: nothing needs ${key.toString("hex")}`);
    }
    for (const key of expected) this.#fault(`usage: ${key} is missing`);
  }

  /** The sum that is kept is that of what is there. */
  #total(): void {
    const lengths = (["manifests", "configs", "layers", "objects"] as const).flatMap((name) =>
      this.#environment
        .tree(name)
        .entries()
        .map(({ value }) => value.length),
    );
    const total = lengths.reduce((sum, length) => sum + length, 0);
    const kept = contentBytes(this.#environment);
    if (kept !== total) this.#fault(`meta: the content has ${total} bytes, ${kept} are counted`);
  }

  #keys(name: TreeName): string[] {
    return this.#environment
      .tree(name)
      .keys()
      .map((key) => key.toString("hex"));
  }

  #fault(sentence: string): void {
    this.#faults.push(sentence);
  }
}
