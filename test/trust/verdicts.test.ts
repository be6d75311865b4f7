import { expect, it } from "vitest";
import { Environment } from "../../src/store/environment.js";
import { verdictKey } from "../../src/store/keys.js";
import type { VerdictRecord } from "../../src/store/records.js";
import { encodeRecord } from "../../src/store/values.js";
import { putVerdict, verdictsOf } from "../../src/store/verdicts.js";
import { failureOf, imageNamed, openTestCache, temporaryDirectory } from "../pull/support.js";
import { writeLayout } from "../support/image-builder.js";

const image = imageNamed("judged");
const absent = imageNamed("absent");
const reference = "registry.example/org/prog:v1";
const policy = 'default = "accept"';

function record(n: number, root = image.root.digest): VerdictRecord {
  const fingerprint = n.toString(16).padStart(64, "0");
  return { root, policy: fingerprint, rule: "", decision: "accept", reason: "", signers: [], decidedAt: n };
}

async function seeded(): Promise<string> {
  const directory = temporaryDirectory();
  const layout = temporaryDirectory();
  writeLayout(layout, [{ name: reference, root: image }]);
  await using cache = await openTestCache({ directory, trust: { policy } });
  await cache.seed([layout]);
  return directory;
}

function within<T>(directory: string, work: (environment: Environment) => T): T {
  const environment = Environment.open({ directory });
  try {
    return work(environment);
  } finally {
    environment.close();
  }
}

it("who tries many policies does not fill the cache: the newest verdicts stay", async () => {
  const directory = await seeded();
  const kept = within(directory, (environment) => {
    environment.commit(() => {
      for (let n = 1; n <= 40; n++) putVerdict(environment, record(Date.now() + n));
    });
    return environment.snapshot(() => verdictsOf(environment, image.root.digest));
  });
  expect(kept).toHaveLength(16);
  expect(kept[0]?.decidedAt).toBeGreaterThan(kept[15]?.decidedAt ?? 0);
});

it("there is no verdict on what is not here", async () => {
  const directory = await seeded();
  const { digest } = absent.root;
  const found = within(directory, (environment) => {
    environment.commit(() => putVerdict(environment, record(1, digest)));
    return environment.snapshot(() => verdictsOf(environment, digest));
  });
  expect(found).toEqual([]);
});

it("a damaged verdict is none, and scrub removes it and one that nothing needs", async () => {
  const directory = await seeded();
  within(directory, (environment) =>
    environment.commit(() => {
      const rows = environment.tree("verdicts");
      for (const key of rows.keys()) rows.put(key, Buffer.from("damaged"));
      const stray = record(7, absent.root.digest);
      rows.put(verdictKey(stray.root, stray.policy, stray.rule), encodeRecord(stray));
    }),
  );
  const cache = await openTestCache({ directory, trust: { policy } });
  expect(cache.bytecode(reference).bytes.byteLength).toBeGreaterThan(0);
  expect((await cache.scrub()).damaged).toHaveLength(2);
  await cache.scrub({ repair: true });
  expect((await cache.scrub()).damaged).toEqual([]);
});

it("scrub and repair under a policy that refuses an image do not bring it back", async () => {
  const directory = await seeded();
  const cache = await openTestCache({ directory, trust: { policy: 'default = "reject"' }, offline: true });
  expect(await failureOf(cache.pull(reference))).toMatchObject({ code: "UNTRUSTED" });
  expect((await cache.scrub({ repair: true })).damaged).toEqual([]);
});
