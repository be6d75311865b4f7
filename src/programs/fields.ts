import { BpfcacheError } from "../core/errors.js";
import type { Entry, KeyRange } from "../store/key-range.js";

/** How values of one type are bytes: fixed width, big-endian, the same on every host. */
export interface Codec<T> {
  encode(value: T): Uint8Array;
  decode(bytes: Buffer): T;
}

export const text: Codec<string> = {
  encode: (value) => Buffer.from(value),
  decode: (bytes) => bytes.toString(),
};

export const bytes: Codec<Uint8Array> = { encode: (value) => value, decode: (value) => value };

export const flag: Codec<boolean> = {
  encode: (value) => Buffer.of(value ? 1 : 0),
  decode: (value) => value[0] === 1,
};

export const uint32: Codec<number> = {
  encode: (value) => {
    const encoded = Buffer.alloc(4);
    encoded.writeUInt32BE(value);
    return encoded;
  },
  decode: (value) => value.readUInt32BE(),
};

/** Counts and times: up to 2^53. */
export const uint64: Codec<number> = {
  encode: (value) => {
    const encoded = Buffer.alloc(8);
    encoded.writeBigUInt64BE(BigInt(value));
    return encoded;
  },
  decode: (value) => Number(value.readBigUInt64BE()),
};

/**
 * Typed fields over a range of keys. A scalar is under the field's name; an item of a vector under the name, a zero
 * byte and its index in four bytes, so that the tenth comes after the ninth; an entry of a map under the name, a zero
 * byte and its key, whatever bytes that has. No field's name has a zero byte, so no two of them meet. Setting a vector
 * or a map first removes all that was in it.
 */
export class Fields {
  readonly #range: KeyRange;
  /** All rows, while `atOnce` runs; each byte of a key is a character. */
  #rows: ReadonlyMap<string, Buffer> | undefined;

  constructor(range: KeyRange) {
    this.#range = range;
  }

  /** Runs `read` on all rows as one scan finds them: for most of the fields that is quicker than a look-up of each. */
  atOnce<T>(read: () => T): T {
    this.#rows = new Map(this.#range.entries().map(({ key, value }) => [key.toString("latin1"), value]));
    try {
      return read();
    } finally {
      this.#rows = undefined;
    }
  }

  get<T>(field: string, codec: Codec<T>): T | undefined {
    const value = this.#rows === undefined ? this.#range.get(Buffer.from(field)) : this.#rows.get(field);
    return value && codec.decode(value);
  }

  /** Undefined removes it. */
  set<T>(field: string, codec: Codec<T>, value: T | undefined): void {
    this.#rows = undefined;
    if (value === undefined) this.#range.remove(Buffer.from(field));
    else this.#range.put(Buffer.from(field), codec.encode(value));
  }

  vector<T>(field: string, codec: Codec<T>): T[] {
    return this.#entries(field).map(({ value }) => codec.decode(value));
  }

  setVector<T>(field: string, codec: Codec<T>, values: readonly T[]): void {
    this.#rows = undefined;
    const items = this.#items(field);
    this.#range.environment.commit(() => {
      items.clear();
      for (const [index, value] of values.entries())
        items.put(Buffer.from(uint32.encode(index)), codec.encode(value));
    });
  }

  /** In the order of the keys' bytes. */
  map<T>(field: string, codec: Codec<T>): Map<string, T> {
    return new Map(this.#entries(field).map(({ key, value }) => [key.toString(), codec.decode(value)]));
  }

  /** Throws USAGE for a key that is too long or not well-formed text. */
  setMap<T>(field: string, codec: Codec<T>, entries: ReadonlyMap<string, T>): void {
    this.#rows = undefined;
    const items = this.#items(field);
    this.#range.environment.commit(() => {
      items.clear();
      for (const [key, value] of entries) items.put(mapKey(key), codec.encode(value));
    });
  }

  #entries(field: string): readonly Entry[] {
    if (this.#rows === undefined) return this.#items(field).entries();
    const prefix = itemPrefix(field);
    return [...this.#rows]
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, value]) => ({ key: Buffer.from(key.slice(prefix.length), "latin1"), value }));
  }

  #items(field: string): KeyRange {
    return this.#range.within(Buffer.from(itemPrefix(field)));
  }
}

function itemPrefix(field: string): string {
  return `${field}\0`;
}

function mapKey(key: string): Buffer {
  const encoded = Buffer.from(key);
  // A lone surrogate has no bytes in UTF-8: two such keys would become one.
  if (encoded.toString() === key) return encoded;
  throw new BpfcacheError("USAGE", `${JSON.stringify(key)} is not well-formed text`);
}
