import { type Digest, DigestVerifier } from "../core/digest.js";
import { BpfcacheError, throwIfAborted } from "../core/errors.js";
import { emit } from "../core/events.js";
import type { Reference } from "../core/reference.js";
import type { Descriptor } from "../image/descriptor.js";
import type { ImageSource, SourceOptions } from "../source/image-source.js";

/** `{}`: what the descriptor of an artifact without a config points at (image-spec, "Guidance for an Empty Descriptor"). */
const emptyDigest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

export interface FetchOptions extends SourceOptions {
  /** The most the content may claim to have; more is INVALID_IMAGE before a byte is asked for. */
  readonly maxBytes: number;
  /** What it is, for messages: "the layer", "the image config". */
  readonly what: string;
}

/**
 * All the bytes a descriptor names, checked against its size and digest as they come. What the descriptor carries
 * itself is not asked for. Throws DIGEST_MISMATCH, INVALID_IMAGE, and what the source throws.
 */
export async function fetchVerified(
  source: ImageSource,
  reference: Reference,
  descriptor: Descriptor,
  options: FetchOptions,
): Promise<Buffer> {
  const { digest, size } = descriptor;
  requireSize(size, options.what, options.maxBytes);
  const stream = inline(descriptor) ?? (await source.fetch(reference, descriptor, options));
  const about = { reference: reference.toString(), digest };
  emit(options.onEvent, { event: "fetching", ...about, bytes: size });
  const verifier = new DigestVerifier(digest, size, `${options.what} ${digest}`);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    throwIfAborted(options.signal);
    verifier.update(chunk);
    chunks.push(chunk);
    bytes += chunk.byteLength;
    emit(options.onEvent, { event: "progress", ...about, bytes, total: size });
  }
  verifier.finish();
  emit(options.onEvent, { event: "fetched", ...about, bytes });
  return Buffer.concat(chunks);
}

/** Whether the source is not asked for it. */
export function isInline(descriptor: Descriptor): boolean {
  return inline(descriptor) !== undefined;
}

/** Throws INVALID_IMAGE for what says that it is larger than is accepted. */
export function requireSize(bytes: number, what: string, maxBytes: number): void {
  if (bytes <= maxBytes) return;
  throw new BpfcacheError("INVALID_IMAGE", `${what} has ${bytes} bytes; at most ${maxBytes} are accepted`);
}

function inline({ digest, data }: Descriptor): AsyncIterable<Uint8Array> | undefined {
  if (digest === (emptyDigest as Digest)) return once(Buffer.from("{}"));
  return data === undefined ? undefined : once(Buffer.from(data, "base64"));
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
