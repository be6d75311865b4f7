import { BpfcacheError } from "../../core/errors.js";

/** A section that runs nothing: a name and bytes for whoever knows the name (WebAssembly core specification, 5.5.3). */
export interface CustomSection {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const sectionIds = { custom: 0, coreModule: 1, component: 4 } as const;

/** The second half of the version field: core modules and components share the first eight bytes' layout. */
const layers = { module: 0, component: 1 } as const;

/** Components contain components and modules; no toolchain nests them deeper. */
const maxDepth = 4;

/** Whether something beginning with `head` is a WebAssembly module or component. */
export function isWasm(head: Uint8Array): boolean {
  return head[0] === 0x00 && head[1] === 0x61 && head[2] === 0x73 && head[3] === 0x6d;
}

/**
 * The custom sections of a module, or of a component and the modules in it, in the order they stand there; their
 * bytes are views into `bytes`. Throws INVALID_IMAGE when a section reaches beyond its end.
 */
export function customSections(bytes: Uint8Array): CustomSection[] {
  const found: CustomSection[] = [];
  collect(bytes, 0, found);
  return found;
}

function collect(bytes: Uint8Array, depth: number, found: CustomSection[]): void {
  if (bytes.byteLength < 8 || !isWasm(bytes)) throw malformed("it has no header");
  const isComponent = bytes[6] === layers.component;
  const reader = new SectionReader(bytes.subarray(8));
  while (!reader.isAtEnd) {
    const id = reader.byte();
    const contents = reader.take(reader.u32());
    if (id === sectionIds.custom) {
      const inner = new SectionReader(contents);
      const name = Buffer.from(inner.take(inner.u32())).toString("utf8");
      found.push({ name, bytes: inner.rest() });
    } else if (isComponent && (id === sectionIds.coreModule || id === sectionIds.component)) {
      if (depth === maxDepth) throw malformed(`its components are nested deeper than ${maxDepth}`);
      collect(contents, depth + 1, found);
    }
  }
}

class SectionReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.byteLength;
  }

  byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw malformed("it is cut short");
    this.#at++;
    return byte;
  }

  /** An unsigned LEB128 number of at most five bytes (5.2.2). */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) {
        if (value > 0xffff_ffff) break;
        return value;
      }
    }
    throw malformed("a length in it is malformed");
  }

  take(length: number): Uint8Array {
    const end = this.#at + length;
    if (end > this.#bytes.byteLength) throw malformed("a section reaches beyond its end");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  rest(): Uint8Array {
    return this.take(this.#bytes.byteLength - this.#at);
  }
}

function malformed(reason: string): BpfcacheError {
  return new BpfcacheError("INVALID_IMAGE", `the WebAssembly module is malformed: ${reason}`);
}
