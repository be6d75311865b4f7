import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bytecodeImage } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { requireTools } from "../support/tools.js";
import { json, sampleImage, User } from "./command.js";
import { type Screen, watchOnTerminal } from "./tmux.js";

const noTerminal = requireTools("tmux");
const amd64 = ["--platform", "linux/amd64"];

/** A program that is asked for credentials, says nothing, and does not end when it is told to. */
const deafHelper = `#!/bin/sh
trap '' TERM INT
echo $$ > "$HELPER_PID"
exec sleep 60
`;

/** One that has been killed may have nobody yet who takes notice of it. */
function isRunning(pid: string): boolean {
  return existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
}

/** How long a prefetch waits for a child that it has asked to end (src/core/run-program.ts). */
const politeMs = 2_000;

describe.skipIf(noTerminal)(
  `Ctrl-C in a prefetch with one image finished and one that never comes${noTerminal ?? ""}`,
  () => {
    let registry: TestRegistry;
    let locked: TestRegistry;
    let quick: string;
    let slow: string;

    beforeAll(async () => {
      registry = await startTestRegistry();
      locked = await startTestRegistry({ auth: { type: "basic", username: "somebody", password: "secret" } });
      registry.add("org/quick:v1", sampleImage());
      locked.add("org/slow:v1", bytecodeImage());
      // By the time that it is cached, the helper for the other one has been started.
      registry.break({ kind: "blob", path: "org/quick/" }, { stallMs: 1_500 });
      quick = registry.reference("org/quick:v1");
      slow = locked.reference("org/slow:v1");
    });

    afterAll(async () => {
      await registry.close();
      await locked.close();
    });

    class ImpatientUser extends User {
      constructor() {
        super();
        mkdirSync(this.path("bin"));
        writeFileSync(this.path("bin/docker-credential-deaf"), deafHelper);
        chmodSync(this.path("bin/docker-credential-deaf"), 0o755);
        writeFileSync(this.path("auth.json"), JSON.stringify({ credHelpers: { [locked.host]: "deaf" } }));
      }

      override get environment(): NodeJS.ProcessEnv {
        const PATH = `${this.path("bin")}:${super.environment["PATH"]}`;
        return { ...super.environment, PATH, HELPER_PID: this.path("helper.pid") };
      }

      prefetch(presses: number): Promise<Screen> {
        const words = ["prefetch", quick, slow, "--authfile", this.path("auth.json"), ...amd64];
        const keys = [
          { after: /^cached .*quick/, key: "C-c" },
          { after: /once more ends at once/, key: "C-c" },
        ];
        return watchOnTerminal(this, words, { columns: 100, keys: keys.slice(0, presses) });
      }

      /** Whether the helper was started, and whether it runs still. */
      async isHelperGone(): Promise<boolean> {
        const pid = readFileSync(this.path("helper.pid"), "utf8").trim();
        for (let i = 0; i < 60 && isRunning(pid); i++) await sleep(50);
        return !isRunning(pid);
      }
    }

    it.each([
      ["once lets what is under way end in order", 1],
      ["twice ends at once", 2],
    ])("%s, and keeps what is finished", async (_, presses) => {
      using user = new ImpatientUser();
      const { after, status, milliseconds } = await user.prefetch(presses);
      expect(status).toBe(130);
      if (presses === 1) expect(milliseconds).toBeGreaterThan(politeMs - 100);
      else expect(milliseconds).toBeLessThan(politeMs - 300);
      const text = after.join("\n");
      expect(text).toContain("stopping; what is complete stays (once more ends at once)");
      // Nothing of the display is left.
      expect(after.filter((line) => /^( {2}127|[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏])/.test(line))).toEqual([]);
      expect(await user.isHelperGone()).toBe(true);
      const { stdout } = await user.bpfcache(["list", "--json"]);
      expect(json(stdout).images).toMatchObject([{ reference: quick }]);
      expect((await user.bpfcache(["scrub", "--offline"])).status).toBe(0);
      // What it had begun is nobody's any more: the next one does not wait for it.
      writeFileSync(
        user.path("auth.json"),
        JSON.stringify({
          auths: { [locked.host]: { auth: Buffer.from("somebody:secret").toString("base64") } },
        }),
      );
      const words = ["pull", slow, "--authfile", user.path("auth.json"), "--progress", "plain", ...amd64];
      const pull = await user.bpfcache(words);
      expect(pull.status, pull.stderr).toBe(0);
      expect(pull.stderr).not.toContain("waiting");
    });
  },
);
