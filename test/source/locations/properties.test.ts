import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BpfcacheError } from "../../../src/core/errors.js";
import { coveredBy } from "../../../src/core/reference-prefix.js";
import { locate, locationsWith } from "./support.js";

const label = fc.stringMatching(/^[a-z0-9]{1,5}$/);
const host = fc.array(label, { minLength: 2, maxLength: 4 }).map((labels) => labels.join("."));
const path = fc.array(label, { minLength: 1, maxLength: 4 });

/** Lines as they may stand in either file, and anything between. */
const line = fc.oneof(
  fc.constantFrom(
    "[[registry]]",
    "[[registry.mirror]]",
    "[aliases]",
    "[host]",
    '[host."https://m.example"]',
    '[host."https://m.example".header]',
    "blocked = true",
    "insecure = 1",
    "skip_verify = true",
  ),
  fc
    .tuple(
      fc.constantFrom(
        "prefix",
        "location",
        "server",
        "ca",
        "client",
        "capabilities",
        "proxy",
        "dial_timeout",
        "x",
      ),
      fc.oneof(fc.string(), host, fc.webUrl(), fc.constantFrom("pull", "*.example", "1s")),
      fc.boolean(),
    )
    .map(
      ([key, value, isList]) => `${key} = ${isList ? `[${JSON.stringify(value)}]` : JSON.stringify(value)}`,
    ),
  fc.string(),
);

describe("whatever a file holds", () => {
  it.each(["containers/registries.conf", "containerd/certs.d/m.example/hosts.toml"])(
    "%s gives locations or USAGE",
    (file) => {
      fc.assert(
        fc.property(fc.array(line, { maxLength: 8 }), (lines) => {
          const locations = locationsWith({ [file]: lines.join("\n") });
          try {
            for (const place of locate(locations, "m.example/a/b:v1")) {
              expect(URL.canParse(`https://${place.host}${place.apiPath}/${place.repository}`)).toBe(true);
            }
          } catch (error) {
            expect(error).toBeInstanceOf(BpfcacheError);
            expect(error).toMatchObject({ code: "USAGE" });
          }
        }),
        { numRuns: 300 },
      );
    },
  );
});

describe("a prefix", () => {
  it("of whole parts covers exactly itself", () => {
    fc.assert(
      fc.property(host, path, fc.nat(4), (name, parts, count) => {
        const prefix = [name, ...parts.slice(0, count)].join("/");
        expect(coveredBy(prefix, `${[name, ...parts].join("/")}:v1`)).toBe(prefix.length);
      }),
    );
  });

  it("that ends within a part covers nothing", () => {
    fc.assert(
      fc.property(host, path, label, (name, parts, more) => {
        const prefix = [name, ...parts].join("/");
        expect(coveredBy(prefix, `${prefix}${more}/image:v1`)).toBeUndefined();
        expect(coveredBy(name, `${name}:5000/image:v1`)).toBeUndefined();
      }),
    );
  });

  it("with a wild card covers any subdomain's host", () => {
    fc.assert(
      fc.property(host, host, path, (sub, domain, parts) => {
        const name = `${sub}.${domain}`;
        expect(coveredBy(`*.${domain}`, `${name}/${parts.join("/")}`)).toBe(name.length);
        expect(coveredBy(`*.${domain}`, `${domain}/${parts.join("/")}`)).toBeUndefined();
      }),
    );
  });
});
