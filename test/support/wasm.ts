/** A section of a WebAssembly binary: its number, and its contents. */
export interface WasmSection {
  readonly id: number;
  readonly bytes: Uint8Array;
}

/** A custom section: a name and any bytes. */
export function customSection(name: string, bytes: Uint8Array): WasmSection {
  const text = Buffer.from(name);
  return { id: 0, bytes: Buffer.concat([leb128(text.length), text, bytes]) };
}

/** A core module with these sections. */
export function wasmModule(sections: readonly WasmSection[] = []): Buffer {
  return binary([1, 0, 0, 0], sections);
}

/** A component, which may have modules (section 1) and components (section 4) in it. */
export function wasmComponent(sections: readonly WasmSection[] = []): Buffer {
  return binary([0x0d, 0, 1, 0], sections);
}

function binary(version: readonly number[], sections: readonly WasmSection[]): Buffer {
  const parts = sections.map(({ id, bytes }) =>
    Buffer.concat([Buffer.of(id), leb128(bytes.byteLength), bytes]),
  );
  return Buffer.concat([Buffer.from("\0asm", "latin1"), Buffer.from(version), ...parts]);
}

function leb128(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 0x80);
  }
}
