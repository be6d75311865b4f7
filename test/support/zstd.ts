const maxBlockBytes = 128 * 1024;

/** A frame begins so, when it is not one to be skipped. */
export const zstdMagic = Buffer.from("28b52ffd", "hex");

/** A zstd frame of uncompressed blocks (RFC 8878, 3.1.1): no program and no newer Node is needed to make one. */
export function zstd(bytes: Uint8Array): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(bytes.byteLength);
  const blocks: Buffer[] = [];
  for (let at = 0; at === 0 || at < bytes.byteLength; at += maxBlockBytes) {
    const isLast = at + maxBlockBytes >= bytes.byteLength;
    blocks.push(zstdBlock("raw", bytes.subarray(at, at + maxBlockBytes), { isLast }));
  }
  // Single segment, content size in four bytes, no checksum.
  return zstdFrame(Buffer.concat([Buffer.from([0xa0]), size]), ...blocks);
}

export function zstdFrame(header: Uint8Array, ...blocks: readonly Uint8Array[]): Buffer {
  return Buffer.concat([zstdMagic, header, ...blocks]);
}

const blockTypes = { raw: 0, repeated: 1, compressed: 2, none: 3 } as const;

export interface ZstdBlockOptions {
  /** Whether the frame ends with it; so it does unless told. */
  readonly isLast?: boolean;
  /** What the block's header says, when it is to differ from the length of the contents. */
  readonly size?: number;
}

export function zstdBlock(
  type: keyof typeof blockTypes,
  contents: Uint8Array,
  { isLast = true, size = contents.byteLength }: ZstdBlockOptions = {},
): Buffer {
  const header = Buffer.alloc(3);
  header.writeUIntLE((size << 3) | (blockTypes[type] << 1) | (isLast ? 1 : 0), 0, 3);
  return Buffer.concat([header, contents]);
}

/** A frame that readers pass over, whatever is in it. */
export function skippableFrame(contents: Uint8Array, nibble = 0): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(0x184d2a50 + nibble, 0);
  header.writeUInt32LE(contents.byteLength, 4);
  return Buffer.concat([header, contents]);
}
