// @ts-check
// JavaScript, because a program beside it uses it too, which runs from src and from dist alike.
import { closeSync, fstatSync, openSync, readSync } from "node:fs";

// Of the pages of lmdb-js's LMDB with data version 2, on 64-bit little-endian hosts (mdb.c: MDB_page_header, MDB_node,
// MDB_ovpage, MDB_db).
const pageHeaderBytes = 24;
const nodeHeaderBytes = 8;
const overflowPage = 0x04;
const kindFlags = 0xff;
const isOnOverflowPages = 0x01;
const overflowNoteBytes = 24;
/** No tree is deeper: with two keys in a page it would have as many pages as a disk has. */
export const maxDepth = 32;
/** Kinds of pages. */
export const branchPage = 0x01;
export const leafPage = 0x02;
const readAtOnceBytes = 1024 * 1024;

/**
 * What LMDB notes of a tree.
 *
 * @typedef {object} TreeNote
 * @property {number} depth
 * @property {number} branchPages
 * @property {number} leafPages
 * @property {number} overflowPages
 * @property {number} entries
 * @property {number} root -1 when it is empty
 */

/**
 * The first key that is looked for, and the first behind those that are meant; without it, all to the last one.
 *
 * @typedef {{ readonly start: Buffer, readonly end?: Buffer }} KeyRange
 */

/** Something that LMDB would take on trust. */
class PageFault extends Error {}

/** @param {Buffer} bytes of an MDB_db @returns {TreeNote} */
export function readTreeNote(bytes) {
  const number = (/** @type {number} */ offset) => Number(bytes.readBigUInt64LE(offset));
  return {
    depth: bytes.readUInt16LE(6),
    branchPages: number(8),
    leafPages: number(16),
    overflowPages: number(24),
    entries: number(32),
    root: Number(bytes.readBigInt64LE(40)),
  };
}

/** A data file, of which pages are read as they are on the disk: what is damaged is seen, and harms nobody. */
export class PageFile {
  #file;
  #pageBytes;
  /** A page of each level, for a walk that goes down. @type {Buffer[]} */
  #levels = [];
  #overflowHeader = Buffer.alloc(pageHeaderBytes);
  /** @type {Buffer | undefined} */
  #data;

  /** @param {string} path @param {number} pageBytes */
  constructor(path, pageBytes) {
    this.#file = openSync(path, "r");
    this.#pageBytes = pageBytes;
  }

  /** `dev` and `ino` of the file that is read. */
  get identity() {
    const { dev, ino } = fstatSync(this.#file);
    return { dev, ino };
  }

  /**
   * What is wrong with those pages of a tree that a walk through the range touches, or through all of it, which also counts
   * them; undefined when nothing is. Asked of a snapshot that is held meanwhile: other pages may be written at any time.
   * Throws what reading the disk throws.
   *
   * @param {TreeNote} note @param {KeyRange} [range] @returns {string | undefined}
   */
  faultOf(note, range) {
    return this.#faultIn(new TreeWalk(this, note, range, false));
  }

  /**
   * The same of the whole tree, and all values are read, so that what the disk cannot read any more is seen here and not
   * by who has them mapped.
   *
   * @param {TreeNote} note @returns {string | undefined}
   */
  faultOfAll(note) {
    return this.#faultIn(new TreeWalk(this, note, undefined, true));
  }

  /** @param {TreeWalk} walk */
  #faultIn(walk) {
    try {
      walk.run();
      return undefined;
    } catch (error) {
      if (error instanceof PageFault) return error.message;
      throw error;
    }
  }

  /** Valid until the next page of this level is read. @param {number} page @param {number} level */
  page(page, level) {
    this.#levels[level] ??= Buffer.alloc(this.#pageBytes);
    return this.#read(page, this.#levels[level]);
  }

  /** Valid until the next one is read. @param {number} page */
  overflowHeader(page) {
    return this.#read(page, this.#overflowHeader);
  }

  /** @param {number} page @param {number} pages */
  readThrough(page, pages) {
    this.#data ??= Buffer.allocUnsafe(readAtOnceBytes);
    const end = (page + pages) * this.#pageBytes;
    for (let position = page * this.#pageBytes; position < end; ) {
      const read = readSync(this.#file, this.#data, 0, Math.min(this.#data.length, end - position), position);
      if (read === 0) throw new PageFault("the file ends within a value");
      position += read;
    }
  }

  /** @param {number} page @param {Buffer} buffer */
  #read(page, buffer) {
    const position = page * this.#pageBytes;
    const isPossible = position <= Number.MAX_SAFE_INTEGER;
    const read = isPossible ? readSync(this.#file, buffer, 0, buffer.length, position) : 0;
    if (read < buffer.length) throw new PageFault("a page is not in the file");
    return buffer;
  }

  close() {
    closeSync(this.#file);
  }
}

/** One walk down a tree, from page to page. */
class TreeWalk {
  #file;
  #note;
  #range;
  #readsValues;
  #isDone = false;
  #branchPages = 0;
  #leafPages = 0;
  #overflowPages = 0;
  #entries = 0;

  /** @param {PageFile} file @param {TreeNote} note @param {KeyRange | undefined} range @param {boolean} readsValues */
  constructor(file, note, range, readsValues) {
    this.#file = file;
    this.#note = note;
    this.#range = range;
    this.#readsValues = readsValues;
  }

  run() {
    const { depth, root, branchPages, leafPages, overflowPages, entries } = this.#note;
    if (depth > maxDepth) throw new PageFault("it has an impossible depth");
    if (depth > 0) this.#page(root, 0, undefined, undefined);
    if (this.#range !== undefined) return;
    const isAsCounted =
      this.#branchPages === branchPages &&
      this.#leafPages === leafPages &&
      this.#overflowPages === overflowPages &&
      this.#entries === entries;
    if (!isAsCounted) throw new PageFault("it does not have what it counts");
  }

  /**
   * @param {number} number @param {number} level
   * @param {Buffer | undefined} low The least key that may be in it.
   * @param {Buffer | undefined} high All keys in it are less.
   */
  #page(number, level, low, high) {
    const page = this.#file.page(number, level);
    const isLeaf = level === this.#note.depth - 1;
    if (numberAt(page, 0) !== number) throw new PageFault(`page ${number} says it is another one`);
    if (kindOf(page) !== (isLeaf ? leafPage : branchPage)) throw faultOf(page, "is of another kind");
    const [lower, upper] = [page.readUInt16LE(20), page.readUInt16LE(22)];
    const isPossible =
      lower % 2 === 0 &&
      lower <= upper &&
      upper <= page.length - pageHeaderBytes &&
      countOf(page) >= (isLeaf ? 1 : 2);
    if (!isPossible) throw faultOf(page, "has impossible bounds");
    if (isLeaf) this.#leaf(page, low, high);
    else this.#branch(page, level, low, high);
  }

  /** @param {Buffer} page @param {number} level @param {Buffer | undefined} low @param {Buffer | undefined} high */
  #branch(page, level, low, high) {
    if (++this.#branchPages > this.#note.branchPages) throw new PageFault("it has more pages than it counts");
    const count = countOf(page);
    /** The first one has no key: what is less than that of the second is behind it. @type {(Buffer | undefined)[]} */
    const keys = [low];
    for (let index = 1; index < count; index++) {
      const key = keyAt(page, nodeAt(page, index));
      const last = keys[index - 1];
      if (!isBetween(key, last, high) || (index > 1 && last?.equals(key))) throw faultOf(page, outOfOrder);
      keys.push(key);
    }
    const start = this.#range?.start;
    for (let index = 0; index < count && !this.#isDone; index++) {
      const next = keys[index + 1];
      if (start !== undefined && next !== undefined && next.compare(start) <= 0) continue;
      const child = page.readUIntLE(nodeAt(page, index), 6);
      this.#page(child, level + 1, keys[index], next ?? high);
    }
  }

  /** @param {Buffer} page @param {Buffer | undefined} low @param {Buffer | undefined} high */
  #leaf(page, low, high) {
    if (++this.#leafPages > this.#note.leafPages) throw new PageFault("it has more pages than it counts");
    const count = countOf(page);
    /** @type {Buffer | undefined} */
    let last;
    for (let index = 0; index < count; index++) {
      const node = nodeAt(page, index);
      const key = keyAt(page, node);
      if (!isBetween(key, last ?? low, high) || last?.equals(key)) throw faultOf(page, outOfOrder);
      const [bytes, flags] = [page.readUInt32LE(node), page.readUInt16LE(node + 4)];
      if (flags !== 0 && flags !== isOnOverflowPages)
        throw faultOf(page, "has an entry of an impossible kind");
      const value = node + nodeHeaderBytes + key.length;
      if (value + (flags === 0 ? bytes : overflowNoteBytes) > page.length) throw faultOf(page, notInIt);
      if (flags === isOnOverflowPages) this.#value(page, value, bytes);
      last = key;
    }
    this.#entries += count;
    const end = this.#range?.end;
    if (end !== undefined && last !== undefined && last.compare(end) >= 0) this.#isDone = true;
  }

  /** @param {Buffer} page @param {number} at where it says where the value is @param {number} bytes */
  #value(page, at, bytes) {
    const [first, pages] = [numberAt(page, at), numberAt(page, at + 16)];
    const header = this.#file.overflowHeader(first);
    const isPossible =
      numberAt(header, 0) === first &&
      kindOf(header) === overflowPage &&
      header.readUInt32LE(20) === pages &&
      pageHeaderBytes + bytes <= pages * page.length;
    if (!isPossible) throw new PageFault(`page ${first} is not the value that it is said to be`);
    this.#overflowPages += pages;
    if (this.#readsValues) this.#file.readThrough(first, pages);
  }
}

const outOfOrder = "has keys out of order";
const notInIt = "has an entry that is not in it";

/** @param {Buffer} page @param {string} what */
function faultOf(page, what) {
  return new PageFault(`page ${numberAt(page, 0)} ${what}`);
}

/** What kind of page it is, which its header tells. @param {Buffer} page */
export function kindOf(page) {
  return page.readUInt16LE(18) & kindFlags;
}

/** How many entries it has. @param {Buffer} page */
function countOf(page) {
  return page.readUInt16LE(20) >> 1;
}

/** Where an entry of a page begins. @param {Buffer} page @param {number} index */
function nodeAt(page, index) {
  const node = page.readUInt16LE(pageHeaderBytes + 2 * index);
  const isWithin = node >= page.readUInt16LE(22) && pageHeaderBytes + node + nodeHeaderBytes <= page.length;
  if (!isWithin) throw faultOf(page, notInIt);
  return pageHeaderBytes + node;
}

/** @param {Buffer} page @param {number} node */
function keyAt(page, node) {
  const start = node + nodeHeaderBytes;
  const bytes = page.readUInt16LE(node + 6);
  if (bytes === 0) throw faultOf(page, "has an entry without a key");
  if (start + bytes > page.length) throw faultOf(page, notInIt);
  return page.subarray(start, start + bytes);
}

/** @param {Buffer} key @param {Buffer | undefined} low @param {Buffer | undefined} high */
function isBetween(key, low, high) {
  return (low === undefined || low.compare(key) <= 0) && (high === undefined || key.compare(high) < 0);
}

/** A number that is in 64 bits there; what is too large for a page is so here. @param {Buffer} bytes @param {number} offset */
function numberAt(bytes, offset) {
  return bytes.readUInt32LE(offset) + bytes.readUInt32LE(offset + 4) * 2 ** 32;
}
