import { describe } from "vitest";
import { parseReference } from "../../../src/core/reference.js";
import { OrasSource } from "../../../src/source/oras/oras-source.js";
import { startTestRegistry } from "../../support/test-registry.js";
import { requireTools } from "../../support/tools.js";
import { describeImageSource, whatAnyHolds } from "../conformance.js";

const missing = requireTools("oras");

describe.skipIf(missing)(`the real oras${missing ?? ""}`, { timeout: 60_000 }, () => {
  describeImageSource(
    "oras",
    async (root, statements = []) => {
      const registry = await startTestRegistry({ referrers: true });
      registry.add("org/prog:v1", root);
      for (const { root: statement, tag } of statements)
        registry.add(tag === undefined ? "org/prog" : `org/prog:${tag}`, statement);
      const source = new OrasSource();
      return {
        source,
        reference: parseReference(registry.reference("org/prog:v1")),
        replace: (digest, bytes) => void registry.break({ path: digest }, { body: Buffer.from(bytes) }),
        async [Symbol.asyncDispose]() {
          await source.close();
          await registry.close();
        },
      };
    },
    // oras checks what it copies and says so in its own words.
    {
      ...whatAnyHolds,
      damage: { mismatch: "TOOL_FAILED", tooLong: "TOOL_FAILED", absentBlob: "NOT_FOUND" },
    },
  );
});
