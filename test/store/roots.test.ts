import { expect, it } from "vitest";
import { openCache } from "../../src/open-cache.js";
import { checkClosure } from "../reliability/check-closure.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { bytecodeImage, imageIndex, minimalBpfElf, writeLayout } from "../support/image-builder.js";

it("an index that one platform keeps does not go on leading to what another platform had of it", async () => {
  using directory = new TemporaryDirectory();
  const child = bytecodeImage();
  const bytes = minimalBpfElf({ programs: [{ name: "arm" }] });
  const arm = bytecodeImage({ platform: "linux/arm64", objects: [{ path: "arm.o", bytes }] });
  const [index, alone] = ["registry.example/index:v1", "registry.example/child:v1"];
  const layout = directory.join("layout");
  writeLayout(layout, [
    { name: index, root: imageIndex([{ image: child }, { image: arm }]) },
    { name: alone, root: child },
  ]);
  const cache = await openCache({ directory: directory.join("cache") });
  await cache.seed([layout], { platform: "linux/amd64" });
  await cache.seed([layout], { platform: "linux/arm64" });
  // The child outlives the index's row for its platform, for it has a name of its own; then that goes too.
  cache.remove(index, { platform: "linux/amd64" });
  cache.remove(alone);
  await cache.close();
  expect(checkClosure(directory.join("cache"))).toEqual([]);
});
