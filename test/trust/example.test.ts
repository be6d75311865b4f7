import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadPolicy, parsePolicy } from "../../src/trust/policy.js";
import { imageNamed, openTestCache, temporaryDirectory } from "../pull/support.js";
import { writeLayout } from "../support/image-builder.js";
import { cosignDocument, cosignLayer, cosignTag, signingKey } from "../support/signing.js";

const root = join(import.meta.dirname, "..", "..");
const examples = join(root, "examples");
const examplePolicy = join(examples, "policy.toml");

describe("examples/policy.toml", () => {
  it("lets in the examples that it pins, and not the one that nobody has signed", async () => {
    const cache = await openTestCache({ trust: { policyFile: examplePolicy } });
    const { images, failed } = await cache.seed([join(examples, "layout")]);
    expect(images.map(({ reference }) => reference.replace(/.*\//, "")).sort()).toEqual([
      "xdp-counter:v1",
      "xdp-pass:v1",
    ]);
    expect(failed).toMatchObject([
      { reference: "registry.example/bpfcache/tracepoint-counter:v1", code: "UNTRUSTED" },
    ]);
  });

  it("lets in what one of its keys has signed", async () => {
    const key = signingKey();
    const directory = temporaryDirectory();
    const policyFile = join(directory, "policy.toml");
    const text = readFileSync(examplePolicy, "utf8");
    writeFileSync(policyFile, text.replace(/-----BEGIN[\s\S]*?END PUBLIC KEY-----\n/, key.pem));
    const [signed, unsigned] = [imageNamed("signed"), imageNamed("unsigned")];
    writeLayout(join(directory, "layout"), [
      { name: "registry.example/org/prog:v1", root: signed },
      { name: "registry.example/org/other:v1", root: unsigned },
      {
        name: `registry.example/${cosignTag(signed.root)}`,
        root: cosignDocument([cosignLayer(signed.root.digest, key)]),
      },
    ]);
    const cache = await openTestCache({ trust: { policyFile } });
    const { images, failed } = await cache.seed([join(directory, "layout")]);
    expect(images.map(({ reference }) => reference)).toEqual(["registry.example/org/prog:v1"]);
    expect(failed).toMatchObject([{ reference: "registry.example/org/other:v1", code: "UNTRUSTED" }]);
  });
});

describe("the policy in the manual", () => {
  it("is understood, once its keys are there", () => {
    const page = readFileSync(join(root, "docs", "trust.md"), "utf8");
    const [, text = ""] = /```toml\n# all-kinds.toml\n([\s\S]*?)```/.exec(page) ?? [];
    const directory = temporaryDirectory();
    writeFileSync(join(directory, "cosign.pub"), signingKey().pem);
    const { rules, defaultAction } = parsePolicy(text, "trust.md", undefined, directory);
    expect(defaultAction).toBe("reject");
    expect(rules.map(({ action, conditions }) => [action, conditions?.needed])).toEqual([
      ["reject", 1],
      ["reject", 1],
      ["reject", 0],
      ["accept", undefined],
    ]);
  });
});

it("no policy is in force where none is named", () => {
  expect(loadPolicy(undefined)).toBeUndefined();
  expect(loadPolicy({})).toBeUndefined();
  expect(() => loadPolicy({ trustedRoot: "root.json" })).toThrow(/of no use without a trust policy/);
  expect(() => loadPolicy({ policy: "", policyFile: "policy.toml" })).toThrow(/given twice/);
});
