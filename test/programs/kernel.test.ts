import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BytecodeCache, ManagedProgram } from "../../src/index.js";
import { compile } from "../image/elf/clang.js";
import { because } from "../support/tools.js";
import { countingObject, kinds, objectOf } from "./objects.js";
import { bpftool, idsNamed, noKernel, ProgramSite, pinsUnder, uniqueName } from "./support.js";

const why = noKernel ?? "";

describe.skipIf(noKernel)(`a program in the kernel${why}`, () => {
  const site = new ProgramSite();
  let cache: BytecodeCache;
  beforeAll(async () => {
    cache = await site.open();
  });
  afterAll(() => site[Symbol.asyncDispose](), 60_000);

  it.each(kinds)(
    "of the section %s is in every field what bpftool says of a %s",
    async (section, type, result) => {
      const name = uniqueName("kind");
      const reference = await site.seed(cache, name, countingObject(name, section, result));
      const [loaded] = await cache.programs.load(reference, {
        programs: [name],
        metadata: { purpose: "test" },
      });
      if (loaded === undefined) throw new Error("nothing was loaded");
      const { programs } = await cache.programs.list();
      expect(programs.filter((program) => program.name === name)).toEqual([loaded]);
      expect(await cache.programs.get(loaded.id)).toEqual(loaded);
      expect(asBpftool(loaded)).toEqual(withoutUser(bpftool("prog", "show", "pinned", loaded.pin)));
      expect(loaded).toMatchObject({ name, type, reference, metadata: { purpose: "test" }, state: "loaded" });
      expect(loaded.objectDigest).toBe(cache.bytecode(reference).digest);
      const maps = loaded.mapIds.map((id) => bpftool("map", "show", "id", String(id)).name);
      expect(maps.sort()).toEqual(["counts", `${name.slice(0, 8)}.rodata`].sort());
      const detached = await cache.programs.unload(loaded.id);
      expect(detached.id).toBe(loaded.id);
      expect(idsNamed(name)).toEqual([]);
      expect(pinsUnder(dirname(loaded.mapPinPath))).toEqual([]);
      await expect(cache.programs.get(loaded.id)).rejects.toMatchObject({ code: "NOT_FOUND" });
    },
  );

  const noLibbpf = because(!hasKoffi(), "needs koffi");
  describe.skipIf(noLibbpf)(`as fdinfo shows it${noLibbpf ?? ""}`, () => {
    it.each(kinds)("of the section %s", async (section, _type, result) => {
      const name = uniqueName("fdinfo");
      const loaded = await loadOne(await site.seed(cache, name, countingObject(name, section, result)));
      const fdinfo = fdinfoOf(loaded.pin);
      expect(loaded).toMatchObject({
        id: Number(fdinfo.get("prog_id")),
        tag: fdinfo.get("prog_tag"),
        jited: fdinfo.get("prog_jited") === "1",
        bytesMemlock: Number(fdinfo.get("memlock")),
        verifiedInstructions: Number(fdinfo.get("verified_insns")),
      });
      expect(loaded.verifiedInstructions).toBeGreaterThan(0);
      await cache.programs.unload(loaded.id);
    });
  });

  it.each(["bpftool", "libbpf"] as const)("shares maps with its owner, loaded by %s", async (via) => {
    const [first, second] = [uniqueName("first"), uniqueName("second")];
    const owner = await loadOne(await site.seed(cache, first, countingObject(first)));
    const reference = await site.seed(cache, second, countingObject(second));
    const other = await loadOne(reference, { mapOwner: owner.id, globals: { step: 10 }, via });
    run(owner, 3);
    run(other, 2);
    expect(countSeenBy(owner)).toBe(23);
    expect(countSeenBy(other)).toBe(23);
    expect(other.mapOwner).toBe(owner.id);
    expect((await cache.programs.get(owner.id)).mapsUsedBy).toEqual([owner.id, other.id]);
    // The map lives on with whoever uses it.
    await cache.programs.unload(owner.id);
    run(other, 1);
    expect(countSeenBy(other)).toBe(33);
  });

  it("has the values of globals that it was loaded with", async () => {
    const name = uniqueName("globals");
    const loaded = await loadOne(await site.seed(cache, name, countingObject(name)), {
      globals: { step: 5 },
    });
    run(loaded, 2);
    expect(countSeenBy(loaded)).toBe(10);
    expect(loaded.globalData).toEqual({ step: "05000000" });
  });

  it.each(["bpftool", "libbpf"] as const)(
    "is the only one of its object that stays, loaded by %s",
    async (via) => {
      const [wanted, other] = [uniqueName("wanted"), uniqueName("other")];
      const bytes = objectOf([
        [wanted, "xdp", 2],
        [other, "tc", 0],
      ]);
      const reference = await site.seed(cache, wanted, bytes);
      const programs = await cache.programs.load(reference, { programs: [wanted], via });
      expect(programs.map(({ name }) => name)).toEqual([wanted]);
      expect(idsNamed(wanted)).toHaveLength(1);
      expect(idsNamed(other)).toEqual([]);
    },
  );

  it("shares its load's maps with what was loaded together with it, and is unloaded by itself", async () => {
    const names = [uniqueName("a"), uniqueName("b")] as const;
    const bytes = objectOf([
      [names[0], "xdp", 2],
      [names[1], "socket", 0],
    ]);
    const [a, b] = await cache.programs.load(await site.seed(cache, names[0], bytes));
    if (a === undefined || b === undefined) throw new Error("not both were loaded");
    expect(a.mapIds).toEqual(b.mapIds);
    expect([a.mapOwner, b.mapOwner]).toEqual([null, a.id]);
    await cache.programs.unload(a.id);
    expect(idsNamed(names[0])).toEqual([]);
    expect(idsNamed(names[1])).toEqual([b.id]);
    run(b, 1);
    expect(countSeenBy(b)).toBe(1);
  });

  it("is shown with the links by which others attach it", async () => {
    const name = uniqueName("linked");
    const reference = await site.seed(cache, name, countingObject(name, "raw_tracepoint/sched_switch", 0));
    const loaded = await loadOne(reference);
    expect(loaded.links).toEqual([]);
    const attach = site.path("attach");
    const source = fileURLToPath(new URL("fixtures/attach.c", import.meta.url));
    execFileSync("cc", ["-Wall", "-Werror", "-o", attach, source, "-lbpf"]);
    const loader = spawn(attach, [loaded.pin, "sched_switch"], { stdio: ["pipe", "pipe", "inherit"] });
    const ended = once(loader, "exit");
    try {
      await once(loader.stdout, "data");
      const { links } = await cache.programs.get(loaded.id);
      const shown = bpftool("link", "show") as unknown as { id: number; prog_id: number }[];
      const { id } = shown.find((link) => link.prog_id === loaded.id) ?? {};
      expect(links).toEqual([{ id, type: "raw_tracepoint", target: "sched_switch" }]);
    } finally {
      loader.stdin.end();
      await ended;
    }
    expect((await cache.programs.get(loaded.id)).links).toEqual([]);
  });

  it("is pinned where --pin says, and nothing is left there", async () => {
    const name = uniqueName("pin");
    const pin = `/sys/fs/bpf/${name}`;
    const reference = await site.seed(cache, name, countingObject(name));
    const loaded = await loadOne(reference, { pin });
    expect(loaded.pin).toBe(`${pin}/programs/${name}`);
    expect(bpftool("prog", "show", "pinned", loaded.pin).id).toBe(loaded.id);
    await expect(cache.programs.load(reference, { pin })).rejects.toMatchObject({ code: "USAGE" });
    expect(existsSync(loaded.pin)).toBe(true);
    await cache.programs.unload(loaded.id);
    expect(existsSync(pin)).toBe(false);
  });

  it("keeps its object from being evicted and removed", async () => {
    const name = uniqueName("kept");
    const reference = await site.seed(cache, name, countingObject(name));
    const loaded = await loadOne(reference);
    const { removed } = await cache.prune({ maxBytes: 0 });
    expect(removed.filter((each) => each.reference === reference)).toEqual([]);
    cache.remove(reference);
    expect((await cache.prune({ unreferenced: true })).removed).toEqual([]);
    const report = await cache.scrub({ repair: true });
    expect(report.damaged.concat(report.repaired)).toEqual([]);
    const before = cache.usage().bytes;
    await cache.programs.unload(loaded.id);
    expect(cache.usage().bytes).toBeLessThan(before);
    expect((await cache.scrub()).damaged).toEqual([]);
  });

  it("that was not loaded through this cache is unmanaged, and left alone", async () => {
    const name = uniqueName("foreign");
    const file = site.path("foreign.o");
    writeFileSync(file, countingObject(name));
    const pin = `/sys/fs/bpf/${name}`;
    execFileSync("bpftool", ["prog", "load", file, pin]);
    try {
      const [id = 0] = idsNamed(name);
      const { programs, unmanaged } = await cache.programs.list();
      expect(unmanaged.find((program) => program.id === id)).toMatchObject({
        name: name.slice(0, 15),
        type: "xdp",
      });
      expect(programs.map((program) => program.id)).not.toContain(id);
      await expect(cache.programs.unload(id)).rejects.toMatchObject({ code: "NOT_FOUND" });
      expect(idsNamed(name)).toEqual([id]);
    } finally {
      execFileSync("rm", [pin]);
    }
  });

  it("is known to be gone when somebody else has taken its pins away", async () => {
    const name = uniqueName("gone");
    const loaded = await loadOne(await site.seed(cache, name, countingObject(name)));
    execFileSync("rm", [loaded.pin]);
    expect(await cache.programs.get(loaded.id)).toMatchObject({ state: "gone" });
    await cache.programs.unload(loaded.id);
    expect(pinsUnder(dirname(loaded.mapPinPath))).toEqual([]);
  });

  it("that the verifier refuses is told of with the place and the reason, and nothing is left of it", async () => {
    const name = uniqueName("bad");
    const source = `SEC("xdp") int ${name}(struct xdp_md *context) {\n  return *(int *)(long)context->data;\n}`;
    const reference = await site.seed(cache, name, compile(source).bytes);
    for (const via of ["bpftool", "libbpf"] as const) {
      const failure = await cache.programs.load(reference, { via }).catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: "TOOL_FAILED", reference });
      expect((failure as Error).message).toMatch(
        /verifier refused .*: R1 offset is outside of the packet, at <stdin>:\d+/,
      );
      expect((failure as { log: string[] }).log).toContain("    1: r0 = *(u32 *)(r1 +0)");
    }
    expect((await cache.programs.list()).programs.filter((program) => program.name === name)).toEqual([]);
    expect(idsNamed(name)).toEqual([]);
    expect(stagedAs(name)).toEqual([]);
  });

  it("is not asked for when the byte order is another one", async () => {
    const name = uniqueName("big");
    const file = site.path("big.o");
    const source = `SEC("xdp") int ${name}(void *context) { return 2; }`;
    writeFileSync(file, compile(source, { byteOrder: "big" }).bytes);
    await expect(cache.programs.loadFile(file)).rejects.toMatchObject({ code: "PLATFORM_MISMATCH" });
  });

  it("with maps pinned by name is loaded by libbpf alone, into our directory", async () => {
    const name = uniqueName("byname");
    const map = `m_${name}`;
    const source = `struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32);
      __type(value, __u64); __uint(pinning, LIBBPF_PIN_BY_NAME); } ${map} SEC(".maps");
      SEC("xdp") int ${name}(void *context) { __u32 key = 0; return bpf_map_lookup_elem(&${map}, &key) ? 2 : 1; }`;
    const reference = await site.seed(cache, name, compile(source).bytes);
    await expect(cache.programs.load(reference)).rejects.toMatchObject({
      code: "USAGE",
      hint: expect.stringContaining("--via libbpf"),
    });
    const loaded = await loadOne(reference, { via: "libbpf" });
    expect(pinsUnder(loaded.mapPinPath)).toEqual([`${loaded.mapPinPath}/${map}`]);
    expect(existsSync(`/sys/fs/bpf/${map}`)).toBe(false);
  });

  it("is not loaded without bpftool, which is said", async () => {
    const path = process.env["PATH"];
    const name = uniqueName("tool");
    const reference = await site.seed(cache, name, countingObject(name));
    process.env["PATH"] = "/nowhere";
    try {
      await expect(cache.programs.load(reference)).rejects.toMatchObject({
        code: "TOOL_FAILED",
        message: "bpftool failed: there is no such program in PATH",
      });
    } finally {
      process.env["PATH"] = path;
    }
    expect(idsNamed(name)).toEqual([]);
    expect(stagedAs(name)).toEqual([]);
  });

  it.each(["bpftool", "libbpf"] as const)("is not loaded where nothing can be pinned, by %s", async (via) => {
    const name = uniqueName("nowhere");
    const reference = await site.seed(cache, name, countingObject(name));
    const pin = site.path("not-bpffs");
    const failure = cache.programs.load(reference, { pin, via });
    await expect(failure).rejects.toMatchObject({
      code: "USAGE",
      message: expect.stringContaining("is not on a BPF file system"),
    });
    expect(idsNamed(name)).toEqual([]);
    expect(existsSync(pin)).toBe(false);
    expect(stagedAs(name)).toEqual([]);
    cache.remove(reference);
    expect(cache.list().map((image) => image.reference)).not.toContain(reference);
    expect((await cache.scrub()).damaged).toEqual([]);
  });

  async function loadOne(
    reference: string,
    options: Parameters<BytecodeCache["programs"]["load"]>[1] = {},
  ): Promise<ManagedProgram> {
    const [loaded] = await cache.programs.load(reference, options);
    if (loaded === undefined) throw new Error("nothing was loaded");
    return loaded;
  }

  function run({ pin }: ManagedProgram, times: number): void {
    const packet = site.path("packet");
    writeFileSync(packet, Buffer.alloc(64));
    bpftool("prog", "run", "pinned", pin, "data_in", packet, "repeat", String(times));
  }

  function countSeenBy({ mapIds }: ManagedProgram): number {
    const id = mapIds.find((each) => bpftool("map", "show", "id", String(each)).name === "counts");
    return bpftool("map", "lookup", "id", String(id), "key", "0", "0", "0", "0").formatted.value;
  }
});

function asBpftool(program: ManagedProgram): object {
  return {
    id: program.id,
    type: program.type,
    name: program.kernelName,
    tag: program.tag,
    gpl_compatible: program.gplCompatible,
    loaded_at: Date.parse(program.loadedAt) / 1_000,
    bytes_xlated: program.bytesTranslated,
    jited: program.jited,
    bytes_jited: program.bytesJited,
    bytes_memlock: program.bytesMemlock,
    map_ids: program.mapIds,
    btf_id: program.btfId,
  };
}

function withoutUser({ uid, ...rest }: { readonly uid: number }): object {
  return rest;
}

/** What has been laid ready for the loader, of an object that is called so. */
function stagedAs(name: string): readonly string[] {
  return readdirSync("/dev/shm").filter((directory) => existsSync(`/dev/shm/${directory}/${name}.o`));
}

function hasKoffi(): boolean {
  try {
    createRequire(import.meta.url).resolve("koffi");
    return true;
  } catch {
    return false;
  }
}

/** By libbpf's own call: not the way that is tested. */
function fdinfoOf(pin: string): ReadonlyMap<string, string> {
  const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi");
  const descriptor = koffi.load("libbpf.so.1").func("int bpf_obj_get(const char *path)")(pin) as number;
  try {
    const lines = readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8").trim().split("\n");
    return new Map(lines.map((line) => line.split(":\t") as [string, string]));
  } finally {
    closeSync(descriptor);
  }
}
