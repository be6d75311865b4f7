import { parseReference } from "../../../src/core/reference.js";

import { startTestRegistry } from "../../support/test-registry.js";
import { describeImageSource } from "../conformance.js";
import { sourceFor } from "./support.js";

describeImageSource("a registry", async (root, statements = []) => {
  const registry = await startTestRegistry({ referrers: true });
  registry.add("org/prog:v1", root);
  for (const { root: statement, tag } of statements)
    registry.add(tag === undefined ? "org/prog" : `org/prog:${tag}`, statement);
  const source = sourceFor();
  return {
    source,
    reference: parseReference(registry.reference("org/prog:v1")),
    replace: (digest, bytes) => void registry.break({ path: digest }, { body: Buffer.from(bytes) }),
    async [Symbol.asyncDispose]() {
      await source.close();
      await registry.close();
    },
  };
});
