import { describe, expect, it } from "vitest";
import { type Digest, digestOf } from "../../src/core/digest.js";
import type { ErrorCode } from "../../src/core/errors.js";
import { parseReference, type Reference } from "../../src/core/reference.js";
import type { Descriptor } from "../../src/image/descriptor.js";
import { mediaTypes } from "../../src/image/media-types.js";
import type { ImageSource } from "../../src/source/image-source.js";
import { artifact } from "../support/artifact-builder.js";
import {
  bytecodeImage,
  type Content,
  imageIndex,
  type TestImage,
  type TestRoot,
} from "../support/image-builder.js";

/** A source that holds one image, and what tests need to know of it. */
export interface SourceUnderTest extends AsyncDisposable {
  readonly source: ImageSource;
  /** The reference that names the image, with a tag. */
  readonly reference: Reference;
  /** Replaces a blob or document that the source holds. */
  replace(digest: Digest, bytes: Uint8Array): void;
}

const anyImage = bytecodeImage();

/** What a source holds in these tests. */
export interface HeldContent {
  readonly heldImage: TestImage;
  /** The same as `heldImage` for a source that has no indexes. */
  readonly heldIndex: TestRoot;
  /** Whether the source makes its documents itself: then nobody can damage them. */
  readonly makesDocuments?: boolean;
  readonly damage?: DamageCodes;
}

export const whatAnyHolds: HeldContent = {
  heldImage: anyImage,
  heldIndex: imageIndex([{ image: anyImage }]),
};

/** How a source tells of content that is not what was named. One that runs a program blames that for it. */
export interface DamageCodes {
  readonly mismatch: ErrorCode;
  readonly tooLong: ErrorCode;
  readonly absentBlob: ErrorCode;
}

const usualCodes: DamageCodes = {
  mismatch: "DIGEST_MISMATCH",
  tooLong: "INVALID_IMAGE",
  absentBlob: "NOT_FOUND",
};

/** A signature of the image that names it, and one that is tied to it by cosign's tag alone. */
export const heldStatements: readonly HeldStatement[] = [
  {
    root: artifact({
      artifactType: "application/vnd.dev.sigstore.bundle.v0.3+json",
      layers: [{ mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json", bytes: "{}" }],
      subject: anyImage.manifest,
    }),
  },
  {
    root: artifact({
      config: { mediaType: mediaTypes.ociConfig, bytes: "{}" },
      layers: [{ mediaType: "application/vnd.dev.cosign.simplesigning.v1+json", bytes: "{}" }],
    }),
    tag: `${anyImage.root.digest.replace(":", "-")}.sig`,
  },
];

export interface HeldStatement {
  readonly root: TestImage;
  readonly tag?: string;
}

/** What every source promises the puller: see `ImageSource`. */
export function describeImageSource(
  name: string,
  open: (root: TestRoot, statements?: readonly HeldStatement[]) => Promise<SourceUnderTest>,
  { heldImage, heldIndex, makesDocuments = false, damage = usualCodes }: HeldContent = whatAnyHolds,
): void {
  const unknown = digestOf(Buffer.from("nothing has this digest"));

  describe(`${name} as an image source`, () => {
    it("resolves a tag to the root document's bytes", async () => {
      await using held = await open(heldIndex);
      const { digest, mediaType, size } = heldIndex.root;
      expect(await held.source.resolve(held.reference)).toMatchObject({
        unchanged: false,
        descriptor: { digest, mediaType, size },
        bytes: heldIndex.root.bytes,
      });
    });

    it("resolves a digest, whatever the tag beside it", async () => {
      await using held = await open(heldIndex);
      const { digest } = heldIndex.root;
      const pinned = parseReference(`${held.reference.name}:no-such-tag@${digest}`);
      expect(await held.source.resolve(pinned)).toMatchObject({ descriptor: { digest } });
    });

    it("resolves the digest of an index's child", async () => {
      await using held = await open(heldIndex);
      const { digest, mediaType } = heldImage.root;
      const child = parseReference(`${held.reference.name}@${digest}`);
      expect(await held.source.resolve(child)).toMatchObject({ descriptor: { digest, mediaType } });
    });

    it("answers unchanged, or the same bytes again, to who knows them", async () => {
      await using held = await open(heldImage);
      const known = { digest: heldImage.root.digest };
      const resolution = await held.source.resolve(held.reference, { known });
      if (!resolution.unchanged) expect(resolution.descriptor.digest).toBe(known.digest);
    });

    it("answers in full to who knows something else", async () => {
      await using held = await open(heldImage);
      const resolution = await held.source.resolve(held.reference, { known: { digest: unknown } });
      expect(resolution).toMatchObject({ unchanged: false, bytes: heldImage.root.bytes });
    });

    it.each(["no-such-tag", `@${unknown}`])("does not find %s", async (end) => {
      await using held = await open(heldImage);
      const absent = parseReference(`${held.reference.name}${end.startsWith("@") ? "" : ":"}${end}`);
      await expect(held.source.resolve(absent)).rejects.toMatchObject({ code: "NOT_FOUND" });
    });

    it.skipIf(makesDocuments)("refuses a document that is not what its digest says", async () => {
      await using held = await open(heldImage);
      const { digest, bytes } = heldImage.root;
      held.replace(digest, Buffer.concat([bytes, Buffer.from(" ")]));
      const pinned = parseReference(`${held.reference.name}@${digest}`);
      await expect(held.source.resolve(pinned)).rejects.toMatchObject({ code: damage.mismatch });
    });

    it.skipIf(makesDocuments)("refuses a document over 4 MiB", async () => {
      await using held = await open(heldImage);
      const { digest, bytes } = heldImage.root;
      held.replace(digest, Buffer.concat([bytes, Buffer.alloc(4 * 1024 * 1024, " ")]));
      const pinned = parseReference(`${held.reference.name}@${digest}`);
      await expect(held.source.resolve(pinned)).rejects.toMatchObject({ code: damage.tooLong });
    });

    it.each([
      ["a config", heldImage.config],
      ["a layer", heldImage.layers[0] ?? heldImage.config],
      ["a manifest", heldImage.manifest],
    ])("fetches %s", async (_, content) => {
      await using held = await open(heldIndex);
      expect(await read(held, content)).toEqual(content.bytes);
    });

    it("gives at most a byte more than the descriptor says", async () => {
      await using held = await open(heldImage);
      const content = heldImage.layers[0] ?? heldImage.config;
      held.replace(content.digest, Buffer.concat([content.bytes, Buffer.alloc(1_000_000)]));
      // Failing with the right code is as good; handing out the rest is not.
      const bytes = await read(held, content).catch((error) => {
        expect(error).toMatchObject({ code: damage.mismatch });
        return Buffer.alloc(0);
      });
      expect(bytes.length).toBeLessThanOrEqual(content.size + 1);
    });

    it("does not find a blob that is not there", async () => {
      await using held = await open(heldImage);
      await expect(read(held, { ...heldImage.config, digest: unknown })).rejects.toMatchObject({
        code: damage.absentBlob,
      });
    });

    it("may be left in the middle of a body", async () => {
      await using held = await open(heldImage);
      for await (const _ of await held.source.fetch(held.reference, toDescriptor(heldImage.config))) break;
      expect(await read(held, heldImage.config)).toEqual(heldImage.config.bytes);
    });

    it("lists what refers to an image, each once, with the tag where only that says so", async ({ skip }) => {
      await using held = await open(heldImage, heldStatements);
      const { source, reference } = held;
      if (source.referrers === undefined) return skip("it cannot know");
      const found = await source.referrers(reference, heldImage.root.digest);
      expect(found.map(({ digest, size, tag }) => ({ digest, size, tag })).sort(byDigest)).toEqual(
        heldStatements
          .map(({ root, tag }) => ({ digest: root.root.digest, size: root.root.size, tag }))
          .sort(byDigest),
      );
    });

    it("lists nothing for an image that nothing refers to", async ({ skip }) => {
      await using held = await open(heldIndex, heldStatements);
      const { source, reference } = held;
      if (source.referrers === undefined) return skip("it cannot know");
      expect(await source.referrers(reference, heldIndex.root.digest)).toEqual([]);
      const signal = AbortSignal.abort();
      await expect(source.referrers(reference, heldIndex.root.digest, { signal })).rejects.toMatchObject({
        code: "INTERRUPTED",
      });
    });

    it("fetches what refers to an image", async ({ skip }) => {
      await using held = await open(heldImage, heldStatements);
      if (held.source.referrers === undefined) return skip("it cannot know");
      for (const { root } of heldStatements) {
        for (const content of [root.manifest, root.config, ...root.layers])
          expect(await read(held, content)).toEqual(content.bytes);
      }
    });

    it("stops with INTERRUPTED when the signal is aborted", async () => {
      await using held = await open(heldImage);
      const signal = AbortSignal.abort();
      await expect(held.source.resolve(held.reference, { signal })).rejects.toMatchObject({
        code: "INTERRUPTED",
      });
      const fetching = held.source.fetch(held.reference, toDescriptor(heldImage.config), { signal });
      await expect(fetching).rejects.toMatchObject({ code: "INTERRUPTED" });
    });
  });
}

function byDigest(a: { readonly digest: string }, b: { readonly digest: string }): number {
  return a.digest < b.digest ? -1 : 1;
}

function toDescriptor({ mediaType, digest, size }: Content): Descriptor {
  return { mediaType, digest, size };
}

async function read({ source, reference }: SourceUnderTest, content: Content): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await source.fetch(reference, toDescriptor(content))) chunks.push(chunk);
  return Buffer.concat(chunks);
}
