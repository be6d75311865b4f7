import { expect, it } from "vitest";
import { parseReference } from "../../src/core/reference.js";
import { Store } from "../../src/store/store.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { publicationOf } from "./publications.js";

it("an image that another process has moved on while it was pulled is described as it is now", () => {
  using directory = new TemporaryDirectory();
  const [store, other] = [0, 1].map(() => Store.open({ directory: directory.path })) as [Store, Store];
  const pulled = store.publish(publicationOf({ name: "image:v1" }));
  const moved = other.publish(publicationOf({ name: "image:v1", layers: [{ word: "later", bytes: 700 }] }));
  expect(moved.chain).not.toEqual(pulled.chain);
  expect(store.describe(pulled).rootDigest).toBe(moved.chain[0]);
  other.remove(parseReference(pulled.reference), undefined);
  expect(() => store.describe(pulled)).toThrow(expect.objectContaining({ code: "NOT_CACHED" }));
  store.close();
  other.close();
});
