import { parseReference } from "../../../src/core/reference.js";
import { RegistrySource } from "../../../src/source/registry/registry-source.js";
import { startTestRegistry } from "../../support/test-registry.js";
import { describeImageSource } from "../conformance.js";

describeImageSource("a registry", async (root) => {
  const registry = await startTestRegistry();
  registry.add("org/prog:v1", root);
  const source = new RegistrySource();
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
