import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { thisProcess } from "../../src/core/process-identity.js";
import { ProgramStore } from "../../src/programs/program-store.js";
import { Environment } from "../../src/store/environment.js";
import { countingObject } from "./objects.js";
import { idsNamed, noKernel, ProgramSite, uniqueName } from "./support.js";

describe.skipIf(noKernel)(`after another boot${noKernel ?? ""}`, () => {
  const site = new ProgramSite();
  afterAll(() => site[Symbol.asyncDispose](), 60_000);

  it("images are there, programs are archived, and nothing is said to be damaged", async () => {
    const name = uniqueName("boot");
    const [first, second] = [randomUUID(), randomUUID()];
    const before = await site.open({ bootId: first });
    const reference = await site.seed(before, name, countingObject(name));
    const [loaded] = await before.programs.load(reference, { metadata: { kept: "yes" } });
    await before.close();

    const after = await site.open({ bootId: second });
    const { programs, archived } = await after.programs.list();
    expect(programs).toEqual([]);
    expect(archived).toEqual([{ ...loaded, state: "archived" }]);
    expect(after.list().map((image) => image.reference)).toEqual([reference]);
    expect(after.bytecode(reference).digest).toBe(loaded?.objectDigest);
    expect((await after.scrub()).damaged).toEqual([]);
    // What only looked like a reboot has left the program behind: its pins were ours, so they are taken away.
    expect(existsSync(loaded?.pin ?? "")).toBe(false);
    expect(idsNamed(name)).toEqual([]);

    const [again] = await after.programs.load(reference);
    const list = await after.programs.list();
    expect(list.programs).toEqual([again]);
    expect(list.archived).toHaveLength(1);
    await expect(after.programs.get(loaded?.id ?? 0)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await after.programs.unload(again?.id ?? 0);
    // A program of an earlier boot keeps nothing here.
    const { removed } = await after.prune({ maxBytes: 0 });
    expect(removed.map((each) => each.reference)).toContain(reference);
    await after.close();
  });

  it("a load that was under way has come to nothing, and holds its object no more", async () => {
    const name = uniqueName("pending");
    const [first, second] = [randomUUID(), randomUUID()];
    const before = await site.open({ bootId: first });
    const reference = await site.seed(before, name, countingObject(name));
    const object = before.bytecode(reference).digest;
    await before.close();
    const environment = Environment.open({ directory: site.directory, bootId: first });
    const store = new ProgramStore(environment);
    store.begin(
      {
        loadId: store.newLoadId(),
        bootId: first,
        owner: thisProcess(),
        object,
        directory: `/sys/fs/bpf/${name}`,
        staging: site.path("staging"),
        programs: [name],
        pinned: { programs: [name], maps: [] },
      },
      [{ name, describe: () => {} }],
    );
    expect(store.intents()).toHaveLength(1);
    environment.close();

    const after = await site.open({ bootId: second });
    after.remove(reference);
    const bytesHeld = after.usage().bytes;
    await after.programs.list();
    expect(after.usage().bytes).toBeLessThan(bytesHeld);
    expect((await after.scrub()).damaged).toEqual([]);
    await after.close();
  });
});
