import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BpfcacheError } from "../../src/core/errors.js";
import { parseReference } from "../../src/core/reference.js";

const hex = "0123456789abcdef".repeat(4);
const digest = `sha256:${hex}`;

function errorOf(text: string): BpfcacheError {
  try {
    parseReference(text);
  } catch (error) {
    if (error instanceof BpfcacheError) return error;
  }
  throw new Error(`${text} was accepted`);
}

describe("parseReference", () => {
  it.each([
    ["busybox", "docker.io/library/busybox:latest"],
    ["busybox:1.36", "docker.io/library/busybox:1.36"],
    ["org/prog", "docker.io/org/prog:latest"],
    ["docker.io/busybox", "docker.io/library/busybox:latest"],
    ["index.docker.io/org/prog", "docker.io/org/prog:latest"],
    ["quay.io/bpfman-bytecode/go-xdp-counter", "quay.io/bpfman-bytecode/go-xdp-counter:latest"],
    ["quay.io/test:5000", "quay.io/test:5000"],
    ["localhost/prog", "localhost/prog:latest"],
    ["localhost:5000/prog:v1", "localhost:5000/prog:v1"],
    ["localhost:5000", "docker.io/library/localhost:5000"],
    ["127.0.0.1:5000/a/b/c:v1", "127.0.0.1:5000/a/b/c:v1"],
    ["[::1]:5000/prog:v1", "[::1]:5000/prog:v1"],
    ["[2001:DB8::1]/prog", "[2001:db8::1]/prog:latest"],
    ["Quay.IO/org/prog", "quay.io/org/prog:latest"],
    [`test.com/repo@${digest}`, `test.com/repo@${digest}`],
    [`test.com/repo:v1@${digest}`, `test.com/repo:v1@${digest}`],
    [`test.com/repo@sha512:${hex}${hex}`, `test.com/repo@sha512:${hex}${hex}`],
    ["x.io/a", "x.io/a:latest"],
    ["x.io/a__b/c-d/e---f/g.h", "x.io/a__b/c-d/e---f/g.h:latest"],
    [`x.io/a:${"t".repeat(128)}`, `x.io/a:${"t".repeat(128)}`],
  ])("%s is %s", (text, canonical) => {
    expect(parseReference(text).toString()).toBe(canonical);
  });

  it.each([
    ["quay.io/Org/prog", "must be lower case", "Did you mean quay.io/org/prog?"],
    [hex, "bare digest", `REPOSITORY@sha256:${hex}`],
    ["docker://quay.io/org/prog", 'begins with a scheme, "docker://"', "Write it without: quay.io/org/prog"],
    ["https://quay.io/org/prog", 'begins with a scheme, "https://"', "Write it without: quay.io/org/prog"],
    ["oci://quay.io/org/prog", "scheme", "quay.io/org/prog"],
    ["", "empty", ""],
    ["quay.io//prog", "empty part", ""],
    ["quay.io/prog/", "empty part", ""],
    ["quay.io/a b", "white space", ""],
    ["quay.io/org/prog:", "tag", ""],
    ["quay.io/org/prog:-x", "tag", ""],
    [`quay.io/org/prog:${"t".repeat(129)}`, "tag", ""],
    ["quay.io/org/prog@sha256:abc", "64 lower-case hex digits", ""],
    [`quay.io/org/prog@sha256:${hex.toUpperCase()}`, "lower-case", ""],
    [`quay.io/org/prog@md5:${hex}`, "unknown digest algorithm", ""],
    [`quay.io/org/prog@${hex}`, 'no "sha256:"', ""],
    ["quay.io:99999/prog", "not a port", ""],
    ["[::1/prog", "not a host", ""],
    ["[::zz]:5000/prog", "not a host", ""],
    ["-bad.io/prog", "not a host", ""],
    ["quay.io/_prog", "not a valid part", ""],
    ["quay.io/a..b", "not a valid part", ""],
    ["quay.io/../etc", "not a valid part", ""],
    [`quay.io/${"a".repeat(256)}`, "longer than 255", ""],
    [`quay.io/a:${"a".repeat(2000)}`, "longer than 2000 bytes", ""],
  ])("%s is refused: %s", (text, reason, hint) => {
    const error = errorOf(text);
    expect(error.code).toBe("USAGE");
    expect(error.message).toContain(reason);
    expect(error.hint ?? "").toContain(hint);
  });

  it("parses its own canonical form to the same", () => {
    const component = fc.stringMatching(/^[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,2})[a-z0-9]{1,8}){0,2}$/);
    const host = fc.constantFrom(
      "quay.io",
      "localhost",
      "localhost:5000",
      "[::1]:5000",
      "docker.io",
      "10.0.0.1:80",
    );
    const tag = fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/));
    const named = fc.record({
      host,
      path: fc.array(component, { minLength: 1, maxLength: 4 }),
      tag,
      pinned: fc.boolean(),
    });
    fc.assert(
      fc.property(named, ({ host, path, tag, pinned }) => {
        const text = `${host}/${path.join("/")}${tag === null ? "" : `:${tag}`}${pinned ? `@${digest}` : ""}`;
        const canonical = parseReference(text).toString();
        expect(parseReference(canonical).toString()).toBe(canonical);
      }),
    );
  });

  it("accepts or refuses any text, and never fails otherwise", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
        try {
          parseReference(text);
        } catch (error) {
          expect(error).toBeInstanceOf(BpfcacheError);
          expect((error as BpfcacheError).code).toBe("USAGE");
        }
      }),
    );
  });
});
