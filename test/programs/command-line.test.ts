import { writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { json, lastLine, User } from "../cli/command.js";
import { compile } from "../image/elf/clang.js";
import { countingObject } from "./objects.js";
import { idsNamed, noKernel, uniqueName } from "./support.js";

describe("bpfcache program", () => {
  it.each([
    [["program"], /They are program load, program list, program get, program unload/],
    [["program", "sing"], /there is no verb "program sing"/],
    [["program", "load"], /either a reference or --file/],
    [["program", "get", "none"], /"none" is not the id of a program/],
    [["program", "load", "registry.example/a/b:v1", "--via", "oras"], /--via takes bpftool or libbpf here/],
    [["program", "load", "registry.example/a/b:v1", "--metadata", "word"], /--metadata takes KEY=VALUE/],
  ])("%j is a mistake that is explained", async (words, explanation) => {
    using user = new User();
    const { status, stderr } = await user.bpfcache(words);
    expect(stderr).toMatch(explanation);
    expect(status).toBe(2);
  });

  it("load of what is not cached says so, and does not fetch it", async () => {
    using user = new User();
    const { status, stderr } = await user.bpfcache(["program", "load", "registry.example/a/b:v1", "--json"]);
    expect(lastLine(stderr).error?.code).toBe("NOT_CACHED");
    expect(status).toBe(4);
  });

  it.skipIf(noKernel)(
    `loads, lists, shows and unloads${noKernel ?? ""}`,
    async () => {
      using user = new User();
      const name = uniqueName("cli");
      const reference = `registry.example/cli/${name.replaceAll("_", "-")}:v1`;
      writeFileSync(user.path("program.o"), countingObject(name));
      await user.bpfcache(["seed", user.path("program.o"), "--as", reference]);
      const options = ["--global", "step=3", "--metadata", "owner=tests", "--via", "libbpf", "--json"];
      const load = await user.bpfcache(["program", "load", reference, "--program", name, ...options]);
      expect(load.stderr).toBe("");
      const [program] = json(load.stdout).programs;
      try {
        expect(program).toMatchObject({
          name,
          type: "xdp",
          reference,
          metadata: { owner: "tests" },
          globalData: { step: "03000000" },
          location: { kind: "image", pullPolicy: "Never", objectDigest: program.objectDigest },
        });
        expect(json((await user.bpfcache(["program", "list", "--json"])).stdout).programs).toEqual([program]);
        expect(json((await user.bpfcache(["program", "get", String(program.id), "--json"])).stdout)).toEqual(
          program,
        );
        const table = (await user.bpfcache(["program", "ls"])).stdout;
        expect(table).toMatch(new RegExp(`^${program.id} +${name} +xdp +loaded .*${reference}$`, "m"));
        const shown = (await user.bpfcache(["program", "get", String(program.id)])).stdout;
        expect(shown).toMatch(new RegExp(`^tag +${program.tag}$`, "m"));
      } finally {
        const unload = await user.bpfcache(["program", "unload", String(program.id)]);
        expect(unload).toMatchObject({ status: 0, stdout: `unloaded ${program.id} (${name})\n` });
      }
      expect(idsNamed(name)).toEqual([]);
      expect((await user.bpfcache(["program", "unload", String(program.id)])).status).toBe(3);
    },
    120_000,
  );

  it.skipIf(noKernel)(`shows the verifier's log of what it refuses${noKernel ?? ""}`, async () => {
    using user = new User();
    const source = `SEC("xdp") int refused(struct xdp_md *context) { return *(int *)(long)context->data; }`;
    writeFileSync(user.path("refused.o"), compile(source).bytes);
    const { status, stderr } = await user.bpfcache(["program", "load", "--file", user.path("refused.o")]);
    expect(status).toBe(14);
    expect(stderr).toMatch(
      /^bpfcache: the kernel's verifier refused the program refused: .* \[TOOL_FAILED\]$/m,
    );
    expect(stderr).toMatch(/^ {6}1: r0 = \*\(u32 \*\)\(r1 \+0\)$/m);
  });
});
