import { createHash, type KeyObject, sign } from "node:crypto";

// Enough of DER (X.690) and X.509 (RFC 5280) to issue certificates as Sigstore's authority does, right or wrong.

function element(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  const { length } = body;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), body]);
}

export const der = {
  sequence: (...items: readonly Uint8Array[]) => element(0x30, ...items),
  set: (...items: readonly Uint8Array[]) => element(0x31, ...items),
  integer: (value: number) => element(0x02, Buffer.from(bigEndian(value))),
  true: element(0x01, Buffer.of(0xff)),
  octets: (bytes: Uint8Array) => element(0x04, bytes),
  bits: (bytes: Uint8Array, unused = 0) => element(0x03, Buffer.of(unused), bytes),
  utf8: (text: string) => element(0x0c, Buffer.from(text)),
  tagged: (number: number, bytes: Uint8Array) => element(0x80 | number, bytes),
  explicit: (number: number, ...items: readonly Uint8Array[]) => element(0xa0 | number, ...items),
  time: (date: Date) => element(0x17, Buffer.from(date.toISOString().replace(/^20|[-:T]|\.\d+/g, ""))),
  oid: (text: string) => {
    const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
    return element(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
  },
};

/** The fewest bytes, the first of them below 0x80. */
function bigEndian(value: number): number[] {
  const digits = [value & 0xff];
  for (let left = value >> 8; left > 0; left >>= 8) digits.unshift(left & 0xff);
  return (digits[0] ?? 0) < 0x80 ? digits : [0, ...digits];
}

function base128(value: number): number[] {
  const digits = [value & 0x7f];
  for (let left = value >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80);
  return digits;
}

export interface Extension {
  readonly oid: string;
  readonly isCritical?: boolean;
  readonly value: Uint8Array;
}

export interface CertificateOptions {
  readonly subject: string;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly from: Date;
  readonly until: Date;
  readonly extensions: readonly Extension[];
}

export function spki(key: KeyObject): Buffer {
  return key.export({ type: "spki", format: "der" });
}

/** RFC 5280, section 4.2.1.2, method 1, near enough: any name for a key will do. */
export function keyName(key: KeyObject): Buffer {
  return createHash("sha1").update(spki(key)).digest();
}

const ecdsaWithSha256 = der.sequence(der.oid("1.2.840.10045.4.3.2"));

/** What is signed of a certificate. */
export function toBeSigned(options: CertificateOptions): Buffer {
  const { subject, issuer, publicKey, from, until, extensions } = options;
  return der.sequence(
    der.explicit(0, der.integer(2)),
    der.integer(4_711),
    ecdsaWithSha256,
    nameOf(issuer),
    der.sequence(der.time(from), der.time(until)),
    nameOf(subject),
    spki(publicKey),
    der.explicit(3, der.sequence(...extensions.map(extension))),
  );
}

export function certificate(options: CertificateOptions): Buffer {
  const signed = toBeSigned(options);
  return der.sequence(signed, ecdsaWithSha256, der.bits(sign("sha256", signed, options.signer)));
}

function nameOf(text: string): Buffer {
  if (text === "") return der.sequence();
  return der.sequence(der.set(der.sequence(der.oid("2.5.4.3"), der.utf8(text))));
}

function extension({ oid, isCritical = false, value }: Extension): Buffer {
  return der.sequence(der.oid(oid), ...(isCritical ? [der.true] : []), der.octets(value));
}
