import { chmodSync, chownSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Store } from "../../src/store/store.js";
import { run, TemporaryDirectory } from "../reliability/processes.js";
import { requireRoot } from "../support/tools.js";
import { readAll, referenceOf, seedImages } from "./support.js";

const notRoot = requireRoot();
const program = fileURLToPath(new URL("fixtures/as-user.js", import.meta.url));
const group = 54_321;
const [loader, stranger, owner] = [
  { uid: 54_322, gid: group },
  { uid: 54_323, gid: 54_323 },
  { uid: 54_324, gid: 54_324 },
];

describe.skipIf(notRoot)(`a cache shared with a group${notRoot ?? ""}`, () => {
  let parent: TemporaryDirectory;
  let directory: string;
  let umask: number;

  beforeEach(async () => {
    umask = process.umask(0o077);
    parent = new TemporaryDirectory();
    chmodSync(parent.path, 0o755);
    directory = parent.join("cache");
    await seedImages(directory, parent.join("layout"), 1);
  });

  afterEach(() => {
    process.umask(umask);
    parent[Symbol.dispose]();
  });

  function share(mode: number): void {
    chownSync(directory, 0, group);
    chmodSync(directory, mode);
    Store.open({ directory }).close();
  }

  function modeOf(name: string): string {
    const { mode, gid } = statSync(join(directory, name));
    return `${(mode & 0o777).toString(8)} ${gid === group ? "group" : gid}`;
  }

  async function as(user: { uid: number; gid: number }, action: string): Promise<unknown> {
    const args = [program, directory, String(user.uid), String(user.gid), action, referenceOf(0)];
    const { stdout, stderr } = await run(process.execPath, args);
    expect(stderr).toBe("");
    return JSON.parse(stdout);
  }

  it("is private at first", async () => {
    expect([modeOf("data.mdb"), modeOf("lock.mdb")]).toEqual(["600 0", "600 0"]);
    expect(await as(loader, "read")).toMatchObject({ code: "USAGE" });
  });

  it("is readable by the group that may read the directory, which cannot write", async () => {
    share(0o750);
    expect([modeOf("data.mdb"), modeOf("lock.mdb")]).toEqual(["640 group", "660 group"]);
    expect(await as(loader, "read")).toEqual({ ok: true });
    expect(await as(loader, "write")).toMatchObject({ code: "USAGE" });
    expect(await as(loader, "write-data")).toMatchObject({ code: "EACCES" });
    expect(await as(stranger, "read")).toMatchObject({ code: "USAGE" });
  });

  it("stays so when it is compacted", async () => {
    share(0o750);
    const store = Store.open({ directory });
    await store.compact();
    store.close();
    expect([modeOf("data.mdb"), modeOf("lock.mdb")]).toEqual(["640 group", "660 group"]);
    expect(await as(loader, "read")).toEqual({ ok: true });
  });

  it("is writable by a group that may write the directory", async () => {
    share(0o770);
    expect([modeOf("data.mdb"), modeOf("lock.mdb")]).toEqual(["660 group", "660 group"]);
    expect(await as(loader, "write")).toEqual({ ok: true });
    expect(readAll(directory)).toEqual([referenceOf(0)]);
  });

  it("refuses a reader that may not register in the lock file", async () => {
    share(0o750);
    chmodSync(join(directory, "lock.mdb"), 0o640);
    expect(await as(loader, "read")).toMatchObject({
      code: "USAGE",
      message: expect.stringContaining("lock.mdb"),
    });
  });

  it("gives nothing to others, though they may enter its directory", async () => {
    share(0o755);
    expect(await as(stranger, "read")).toMatchObject({ code: "USAGE" });
    expect(await as(stranger, "write-data")).toMatchObject({ code: "EACCES" });
    expect(await as(loader, "read")).toEqual({ ok: true });
  });

  it("belongs to its directory's owner when root makes or writes it", async () => {
    chownSync(directory, owner.uid, owner.gid);
    Store.open({ directory }).close();
    expect(await as(owner, "write")).toEqual({ ok: true });
    expect(await as(owner, "read")).toEqual({ ok: true });
  });
});
