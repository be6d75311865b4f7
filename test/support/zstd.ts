const maxBlockBytes = 128 * 1024;

/** A zstd frame of uncompressed blocks (RFC 8878, 3.1.1): no program and no newer Node is needed to make one. */
export function zstd(bytes: Uint8Array): Buffer {
  const header = Buffer.alloc(9);
  header.writeUInt32LE(0xfd2fb528, 0);
  header.writeUInt8(0xa0, 4); // single segment, content size in four bytes, no checksum
  header.writeUInt32LE(bytes.byteLength, 5);
  const parts: Uint8Array[] = [header];
  for (let at = 0; at === 0 || at < bytes.byteLength; at += maxBlockBytes) {
    const block = bytes.subarray(at, at + maxBlockBytes);
    const isLast = at + maxBlockBytes >= bytes.byteLength;
    const blockHeader = Buffer.alloc(3);
    blockHeader.writeUIntLE((block.byteLength << 3) | (isLast ? 1 : 0), 0, 3);
    parts.push(blockHeader, block);
  }
  return Buffer.concat(parts);
}
