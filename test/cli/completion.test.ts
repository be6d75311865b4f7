import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { verbs } from "../../src/cli/verbs.js";
import { mainProgram } from "../reliability/processes.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { requireTools } from "../support/tools.js";
import { sampleImage, User } from "./command.js";

let registry: TestRegistry;
let user: User;
let reference: string;
const names = verbs.flatMap(({ name, aliases = [] }) => [name, ...aliases].map((each) => each.split(" ")[0]));

beforeAll(async () => {
  registry = await startTestRegistry();
  registry.add("org/sample:v1", sampleImage());
  reference = registry.reference("org/sample:v1");
  user = new User();
  await user.bpfcache(["pull", reference, "--platform", "linux/amd64"]);
  // What the shells find under the name that they complete.
  writeFileSync(user.path("bpfcache"), `#!/bin/sh\nexec "${process.execPath}" "${mainProgram}" "$@"\n`, {
    mode: 0o755,
  });
  for (const shell of ["bash", "zsh", "fish"]) {
    const { status, stdout, stderr } = await user.bpfcache(["completion", shell]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    writeFileSync(user.path(`completion.${shell}`), stdout);
  }
});

afterAll(async () => {
  user[Symbol.dispose]();
  await registry.close();
});

function inShell(shell: string, args: readonly string[]): string {
  const { PATH, ...environment } = user.environment;
  const { stdout, stderr, status } = spawnSync(shell, args, {
    env: { ...environment, PATH: `${user.path(".")}:${PATH}` },
    encoding: "utf8",
    input: "",
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout;
}

/** What each shell offers for a line that ends at the cursor. */
const shells: Readonly<Record<string, (line: string) => string[]>> = {
  bash: (line) => {
    const script = `. "$HOME/completion.bash"; COMP_LINE=$1; COMP_POINT=\${#COMP_LINE}; compopt() { :; }; _bpfcache; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return lines(inShell("bash", ["--norc", "-c", script, "bash", line]));
  },
  fish: (line) => {
    const script = `source "$HOME/completion.fish"; complete -C '${line}'`;
    return lines(inShell("fish", ["--no-config", "-c", script])).map((each) => each.split("\t")[0] ?? "");
  },
};

function lines(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

describe.each(["bash", "fish"])("completion in %s", (shell) => {
  const missing = requireTools(shell);
  const complete = (line: string): string[] => shells[shell]?.(line) ?? [];

  it.skipIf(missing)(`offers every verb${missing ?? ""}`, () => {
    expect(complete("bpfcache ")).toEqual(expect.arrayContaining(names));
    expect(complete("bpfcache pre")).toEqual(["prefetch"]);
  });

  it.skipIf(missing)(`offers a verb's own options${missing ?? ""}`, () => {
    expect(complete("bpfcache prefetch --lo")).toEqual(expect.arrayContaining(["--lock", "--locked"]));
    expect(complete("bpfcache list --lo")).toEqual([]);
  });

  it.skipIf(missing)(`offers the values of options${missing ?? ""}`, () => {
    expect(complete("bpfcache list --progress ").sort()).toEqual(["auto", "json", "plain", "quiet", "tty"]);
    expect(complete("bpfcache --pull-policy N")).toEqual(["Never"]);
  });

  it.skipIf(missing)(`offers what is cached${missing ?? ""}`, () => {
    for (const verb of ["inspect", "rm", "cat"]) {
      const [offered = ""] = complete(`bpfcache ${verb} 127`);
      // Bash takes what stands before a colon for a word of its own: it is only offered the rest.
      expect(reference.endsWith(offered)).toBe(true);
      expect(offered).toContain("127");
    }
    expect(complete(`bpfcache inspect ${reference.slice(0, -1)}`)).toEqual([
      shell === "bash" ? "v1" : reference,
    ]);
  });

  it.skipIf(missing)(`knows verbs of two words${missing ?? ""}`, () => {
    expect(complete("bpfcache program ").sort()).toEqual(["get", "list", "load", "ls", "unload"]);
    expect(complete("bpfcache program load --map-o")).toEqual(["--map-owner"]);
    expect(complete("bpfcache program load 127")).toHaveLength(1);
    expect(complete("bpfcache list --map-o")).toEqual([]);
  });

  it.skipIf(missing)(`finds the verb behind global options${missing ?? ""}`, () => {
    if (shell === "bash") expect(complete("bpfcache --jobs 3 prefetch --locke")).toEqual(["--locked"]);
  });

  it.skipIf(missing)(`offers nothing, and says nothing, where no cache is${missing ?? ""}`, async () => {
    using other = new User();
    const { status, stdout, stderr } = await other.bpfcache(["completion", "references"]);
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "", stderr: "" });
  });
});

describe("completion in zsh", () => {
  const missing = requireTools("zsh");

  it.skipIf(missing)(`offers verbs, options and what is cached${missing ?? ""}`, () => {
    // A terminal within zsh, for completion is part of its line editor.
    const driver = user.path("drive.zsh");
    writeFileSync(
      driver,
      `zmodload zsh/zpty
zpty shell "HOME=$HOME BPFCACHE_DIR=$BPFCACHE_DIR PATH=$PATH TERM=dumb COLUMNS=200 zsh -f -i"
zpty -w shell "autoload -U compinit && compinit -u -D -d $HOME/zcompdump; PS1=; LISTMAX=1000; zstyle ':completion:*' list-prompt ''; . $HOME/completion.zsh; print REA''DY"
zpty -r shell seen '*READY*'
for line in "$@"; do
  zpty -w -n shell "$line"$'\\t\\t'
  sleep 2
  zpty -w -n shell $'\\025'
done
zpty -w shell "print DO''NE"
zpty -r shell seen '*DONE*'
print -r -- "$seen"
`,
    );
    const seen = inShell("zsh", [
      "-f",
      driver,
      "bpfcache pref",
      "bpfcache list --prog",
      "bpfcache inspect 127",
    ]);
    expect(seen).toContain("prefetch");
    expect(seen).toMatch(/--program|--progress/);
    expect(seen.replaceAll("\\", "")).toContain(reference);
  });
});

describe("the manual page", () => {
  const page = fileURLToPath(new URL("../../dist/bpfcache.1", import.meta.url));
  const text = readFileSync(page, "utf8");

  it("has every verb with its options, and is the package's", () => {
    for (const { name, options } of verbs) {
      expect(text).toContain(`.SS "bpfcache ${name}`);
      for (const option of options) expect(text).toContain(`\\-\\-${option.name.replaceAll("-", "\\-")}`);
    }
    const { man } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    expect(fileURLToPath(new URL(`../../${man}`, import.meta.url))).toBe(page);
  });

  const missing = requireTools("mandoc");

  it.skipIf(missing)(`is found faultless by mandoc${missing ?? ""}`, () => {
    const { stdout } = spawnSync("mandoc", ["-T", "lint", "-W", "warning", page], { encoding: "utf8" });
    // It has no date, so that the same source always gives the same page.
    const faults = stdout.split("\n").filter((line) => line !== "" && !line.includes("missing date"));
    expect(faults).toEqual([]);
  });
});
