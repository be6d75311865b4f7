import { execFile, execFileSync } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mainProgram } from "../reliability/processes.js";
import { requireTools } from "../support/tools.js";
import { countingObject } from "./objects.js";
import { idsNamed, noKernel, ProgramSite, uniqueName } from "./support.js";

const examples = join(import.meta.dirname, "..", "..", "examples");
const execute = promisify(execFile);
const noCompiler = noKernel ?? requireTools("cc");

describe.skipIf(noKernel)(`examples that load programs${noKernel ?? ""}`, () => {
  const site = new ProgramSite();
  const name = uniqueName("example");
  let reference: string;
  beforeAll(async () => {
    const cache = await site.open();
    reference = await site.seed(cache, name, countingObject(name));
    await cache.close();
  });
  afterAll(() => site[Symbol.asyncDispose](), 60_000);

  it("load-program.js loads through the library in under 40 lines, and unloads", async () => {
    const program = join(examples, "load-program.js");
    expect(readFileSync(program, "utf8").trimEnd().split("\n").length).toBeLessThan(40);
    const { stdout } = await execute(process.execPath, [program, site.directory, reference, name]);
    expect(stdout).toMatch(new RegExp(`^\\d+ {2}${name} \\(xdp\\), tag [0-9a-f]{16}, maps \\d+, \\d+$`, "m"));
    expect(stdout).toMatch(
      /^ {4}of sha256:[0-9a-f]{64}\n {4}pinned at \/sys\/fs\/bpf\/bpfcache\/.*\nunloaded\n$/m,
    );
    expect(idsNamed(name)).toEqual([]);
  });

  it("load-program.js fails for an image that is not cached", async () => {
    const words = [join(examples, "load-program.js"), site.directory, "registry.example/no/such:v1"];
    await expect(execute(process.execPath, words)).rejects.toMatchObject({ code: 1 });
  });

  it.skipIf(noCompiler)(`loader.c gives libbpf what bpfcache cat prints${noCompiler ?? ""}`, async () => {
    const loader = site.path("loader");
    execFileSync("cc", ["-Wall", "-Werror", "-o", loader, join(examples, "loader.c"), "-lbpf"]);
    const command = site.path("bpfcache");
    writeFileSync(command, `#!/bin/sh\nexec '${process.execPath}' '${mainProgram}' "$@"\n`);
    chmodSync(command, 0o755);
    const env = {
      ...process.env,
      PATH: [join(command, ".."), process.env["PATH"]].join(delimiter),
      BPFCACHE_DIR: site.directory,
    };
    const { stdout } = await execute(loader, [reference], { env });
    expect(stdout).toMatch(new RegExp(`^${name} \\(xdp\\): loaded as descriptor \\d+$`, "m"));
    await expect(execute(loader, ["registry.example/no/such:v1"], { env })).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining("[NOT_CACHED]"),
    });
    expect(idsNamed(name)).toEqual([]);
  });
});
