import type { Digest } from "../core/digest.js";
import type { ByteOrder } from "../core/platform.js";
import type { BpfObject } from "../image/elf/bpf-object.js";
import type { Attachment } from "../image/formats/format.js";

/** A program as a loader needs to know it: its function name, its type and the ELF section it is in. */
export interface ProgramEntry {
  readonly name: string;
  readonly type: string;
  readonly section: string;
}

export interface MapEntry {
  readonly name: string;
  readonly type: string;
}

/** One eBPF object of an image. */
export interface ObjectEntry {
  /** Its path in the layer, or its title. */
  readonly name: string;
  /** The object digest: sha256 of the ELF bytes. */
  readonly digest: Digest;
  readonly size: number;
  /** The layer it came in. */
  readonly layer: Digest;
  readonly byteOrder: ByteOrder;
  readonly programs: readonly ProgramEntry[];
}

/** What a root digest means on one platform; also all that a loader needs, so that a read takes two gets. */
export interface RootRecord {
  readonly platform: string;
  /** Root digest first, manifest digest last; one and the same for an image without an index. */
  readonly chain: readonly [Digest, ...Digest[]];
  readonly objects: readonly ObjectEntry[];
  /** All platforms that the root names, cached or not; empty when it is a single manifest. */
  readonly platforms: readonly string[];
}

/** What a reference means on one platform. Times are milliseconds since 1970. */
export interface RefRecord extends RootRecord {
  readonly reference: string;
  readonly source: string;
  /** When the bytes were taken in. */
  readonly pulledAt: number;
  /** When the source last said that the reference still means this. */
  readonly checkedAt: number;
  readonly etag?: string | undefined;
}

/** A blob of an image as its manifest describes it. */
export interface BlobEntry {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
}

/** The load record of one manifest. */
export interface ImageRecord {
  readonly format: string;
  /** What the image says it is for; undefined when it does not say. */
  readonly platform: string | undefined;
  readonly config: BlobEntry;
  readonly layers: readonly BlobEntry[];
  readonly objects: readonly ObjectEntry[];
  /** The maps of each object, in the order of the objects: a long list need not look into each object's own record. */
  readonly maps?: readonly (readonly MapEntry[])[] | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Those of its configs and layers that say or hold something besides the objects. */
  readonly attachments?: readonly Attachment[] | undefined;
  /** A gadget's YAML, as plain data. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  /** Where labels or metadata and objects disagree, as sentences; also among the warnings. */
  readonly disagreements?: readonly string[] | undefined;
  /** What is odd about it, as sentences. */
  readonly warnings: readonly string[];
}

/** A blob of a document, and the tree that it is in. */
export interface ReferrerBlob extends BlobEntry {
  readonly kind: "config" | "layer";
}

/** A manifest that refers to another one: a signature, an attestation, an SBOM. */
export interface ReferrerRecord {
  /** What it refers to. */
  readonly subject: Digest;
  readonly artifactType: string;
  /** What people call it, such as "cosign signature"; undefined when its types say nothing. */
  readonly kind?: string | undefined;
  readonly mediaType: string;
  readonly digest: Digest;
  /** Of the manifest, in bytes. */
  readonly size: number;
  /** The manifest's own. */
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  /** Where it was found, when that was by a tag of its own: cosign's `sha256-….sig`. */
  readonly tag?: string | undefined;
  /** Whether an index with the subject in it names it too, and itself it names no subject: BuildKit's attestations. */
  readonly isInIndex?: boolean | undefined;
  readonly blobs: readonly ReferrerBlob[];
}

/** That a trust policy lets what a root digest names be used. What it refuses is not kept. */
export interface VerdictRecord {
  readonly root: Digest;
  /** The fingerprint of the policy, in hex. */
  readonly policy: string;
  /** The scope of the rule that decided; empty for the policy's default. */
  readonly rule: string;
  readonly decision: "accept" | "warn";
  readonly reason: string;
  /** Who signed, as the policy names them. */
  readonly signers: readonly string[];
  /** Milliseconds since 1970. */
  readonly decidedAt: number;
}

/** What the ELF of an object says, kept with it. */
export type ObjectRecord = BpfObject & { readonly size: number };

/** How a registry wants to be authenticated to. Nothing in it is secret: no token, no credential. */
export interface HostRecord {
  readonly scheme: "basic" | "bearer";
  readonly realm: string;
  readonly service?: string | undefined;
  readonly fixedScope?: string | undefined;
}

export interface PinRecord {
  readonly owner: string;
  readonly reason: string;
  readonly pinnedAt: number;
}

export function rootDigestOf(record: RootRecord): Digest {
  return record.chain[0];
}

export function manifestDigestOf(record: RootRecord): Digest {
  return record.chain.at(-1) ?? record.chain[0];
}
