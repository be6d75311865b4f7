import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseReference } from "../../src/core/reference.js";
import { Environment } from "../../src/store/environment.js";
import { Store } from "../../src/store/store.js";
import { openTestCache, temporaryDirectory } from "../pull/support.js";
import { bytecodeImage, writeLayout } from "../support/image-builder.js";

function openStore(directory: string): { environment: Environment; store: Store } {
  // Both are of one process, so of one LMDB environment: what the store writes is seen here.
  const store = Store.open({ directory });
  return { store, environment: Environment.open({ directory }) };
}

/** The row as it is in the database. */
function row(environment: Environment, name: string): string | undefined {
  return environment.snapshot(() =>
    environment
      .tree("meta")
      .get(Buffer.from(`count\0${name}`))
      ?.toString("hex"),
  );
}

describe("a count", () => {
  it("is written with the next commit and not before", async () => {
    const directory = temporaryDirectory();
    const reference = parseReference("registry.example/org/prog:v1");
    writeLayout(join(directory, "layout"), [{ name: reference.toString(), root: bytecodeImage() }]);
    const cache = await openTestCache({ directory: join(directory, "cache") });
    await cache.seed([join(directory, "layout")]);
    await cache.close();
    const { environment, store } = openStore(join(directory, "cache"));
    const before = environment.lastTransaction;
    store.counters.add("hits", 3);
    expect(environment.lastTransaction).toBe(before);
    expect(row(environment, "hits")).toBeUndefined();
    expect(store.counters.all().hits).toBe(3);
    store.pin(reference, { owner: "", reason: "", pinnedAt: 0 });
    expect(row(environment, "hits")).toBe("010000000000000003"); // a format version, then eight bytes, big-endian
    store.close();
    environment.close();
  });

  it("adds up over all who have the cache open", () => {
    const directory = temporaryDirectory();
    for (const count of [1, 20, 300]) {
      using store = Store.open({ directory });
      store.counters.add("requests", count);
    }
    using store = Store.open({ directory });
    expect(store.counters.all().requests).toBe(321);
  });

  it("stays to be written when the commit that it was in is rolled back", () => {
    const { environment, store } = openStore(temporaryDirectory());
    store.counters.add("hits", 2);
    // Refused inside the transaction, which is rolled back.
    const absent = parseReference("registry.example/none:v1");
    expect(() => store.remove(absent, undefined)).toThrow("not in the cache");
    expect(row(environment, "hits")).toBeUndefined();
    store.close();
    expect(row(environment, "hits")).toBe("010000000000000002");
    environment.close();
  });

  it("that is damaged begins anew", () => {
    const { environment, store } = openStore(temporaryDirectory());
    environment.commit(() => environment.tree("meta").put(Buffer.from("count\0hits"), Buffer.from("?")));
    store.counters.add("hits");
    expect(store.counters.all().hits).toBe(1);
    store.close();
    environment.close();
  });

  it("is not made by who may only read", () => {
    const directory = temporaryDirectory();
    Store.open({ directory }).close();
    const environment = Environment.open({ directory });
    const before = environment.lastTransaction;
    const reader = Store.open({ directory, readOnly: true });
    reader.counters.add("hits");
    expect(reader.counters.all().hits).toBe(0);
    reader.close();
    expect(environment.lastTransaction).toBe(before);
    environment.close();
  });
});
