import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { json, lastLine, User } from "../cli/command.js";
import { type Ended, mainProgram, run } from "../reliability/processes.js";
import { requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";
import { imageNamed, pushWithSkopeo } from "./images.js";

const login = { username: "me", password: "secret" };

/** What the helper program does once it has been asked: shell, with the registry in $host. */
const answers = {
  login: `printf '{"ServerURL":"%s","Username":"me","Secret":"secret"}' "$host"`,
  wrongPassword: `printf '{"ServerURL":"%s","Username":"me","Secret":"Sesame0pen"}' "$host"`,
  nothing: "echo 'credentials not found in native keychain'; exit 1",
  failure: "echo 'Sesame0pen: the keychain is locked'; exit 1",
  silence: "exec sleep 600",
};

/** A user whose PATH has a program docker-credential-bpfcachetest, which notes what it is asked. */
class UserWithHelper implements Disposable {
  readonly #user = new User();

  constructor(answer: keyof typeof answers, config: unknown) {
    const [bin, docker] = [this.#user.path("bin"), this.#user.path(".docker")];
    for (const directory of [bin, docker]) mkdirSync(directory);
    const helper = [
      "#!/bin/sh",
      "host=$(cat)",
      `echo "$1 $host" >> '${this.#notes}'`,
      `echo $$ > '${this.#pid}'`,
    ];
    const program = join(bin, "docker-credential-bpfcachetest");
    writeFileSync(program, [...helper, answers[answer], ""].join("\n"), { mode: 0o700 });
    writeFileSync(join(docker, "config.json"), JSON.stringify(config));
  }

  pull(reference: string, ...options: string[]): Promise<Ended> {
    const { environment } = this.#user;
    const PATH = [this.#user.path("bin"), environment["PATH"]].join(delimiter);
    const args = [mainProgram, "pull", reference, "--json", "--verbose", ...options];
    return run(process.execPath, args, { env: { ...environment, PATH } });
  }

  /** The action and the registry of each time the helper was run, since the last time this was read. */
  questions(): string[] {
    if (!existsSync(this.#notes)) return [];
    const lines = readFileSync(this.#notes, "utf8").trimEnd().split("\n");
    writeFileSync(this.#notes, "");
    return lines.filter((line) => line !== "");
  }

  /** Whether the helper that was run last still runs. */
  isHelperAlive(): boolean {
    return existsSync(`/proc/${readFileSync(this.#pid, "utf8").trim()}`);
  }

  get #notes(): string {
    return this.#user.path("questions");
  }

  get #pid(): string {
    return this.#user.path("pid");
  }

  [Symbol.dispose](): void {
    this.#user[Symbol.dispose]();
  }
}

const missing = requireTools("docker-registry", "htpasswd", "skopeo");
describe.skipIf(missing)(`a credential helper${missing ?? ""}`, () => {
  let registry: DockerRegistry;
  let reference: string;
  let otherReference: string;

  beforeAll(async () => {
    registry = await DockerRegistry.start({ basic: login });
    reference = registry.reference("org/pass:v1");
    otherReference = registry.reference("org/other:v1");
    await pushWithSkopeo(
      { [reference]: imageNamed("pass"), [otherReference]: imageNamed("other") },
      { login },
    );
  });
  afterAll(() => registry?.[Symbol.asyncDispose]());

  const forThisRegistry = () => ({ credHelpers: { [registry.host]: "bpfcachetest" } });

  // Together, because one of them takes as long as a helper may: 30 seconds.
  describe.concurrent("of the Docker configuration", () => {
    it.each([
      ["credHelpers", forThisRegistry],
      ["credsStore", () => ({ credsStore: "bpfcachetest", auths: { [registry.host]: {} } })],
    ])("in %s is asked once for the registry, and what it says is shown there", async (_, config) => {
      using user = new UserWithHelper("login", config());
      expect(json((await user.pull(reference)).stdout)).toMatchObject({ from: "registry", requests: 4 });
      expect(user.questions()).toEqual([`get ${registry.host}`]);
    });

    it("is not asked for another registry", async () => {
      using user = new UserWithHelper("login", { credHelpers: { "registry.example": "bpfcachetest" } });
      expect(lastLine((await user.pull(reference)).stderr).error?.code).toBe("UNAUTHORIZED");
      expect(user.questions()).toEqual([]);
    });

    it("is not run for what is in the cache", async () => {
      using user = new UserWithHelper("login", forThisRegistry());
      const { rootDigest } = json((await user.pull(reference)).stdout);
      expect(user.questions()).toHaveLength(1);
      expect(json((await user.pull(reference)).stdout)).toMatchObject({ from: "cache", requests: 0 });
      const byDigest = `${registry.host}/org/pass@${rootDigest}`;
      expect(json((await user.pull(byDigest, "--pull-policy", "Always")).stdout)).toMatchObject({
        requests: 0,
      });
      expect((await user.pull(otherReference, "--offline")).status).toBe(4);
      expect(user.questions()).toEqual([]);
    });

    it("is run before the registry is asked when it is known to want a login", async () => {
      using user = new UserWithHelper("login", forThisRegistry());
      await user.pull(reference);
      expect(json((await user.pull(otherReference)).stdout)).toMatchObject({ from: "registry", requests: 3 });
      expect(user.questions()).toHaveLength(2);
    });

    it("that knows nothing leaves the user unknown", async () => {
      using user = new UserWithHelper("nothing", forThisRegistry());
      expect(lastLine((await user.pull(reference)).stderr).error?.code).toBe("UNAUTHORIZED");
    });

    it.each([
      ["a wrong password", "wrongPassword", "UNAUTHORIZED"],
      ["a failure", "failure", "TOOL_FAILED"],
    ] as const)("that answers with %s has no word of its answer repeated", async (_, answer, code) => {
      using user = new UserWithHelper(answer, forThisRegistry());
      const { stdout, stderr } = await user.pull(reference);
      expect(lastLine(stderr).error).toMatchObject({ code });
      expect(stdout + stderr).not.toContain("Sesame0pen");
      expect(stdout + stderr).not.toContain(Buffer.from("me:Sesame0pen").toString("base64"));
    });

    it("that does not answer is killed after 30 seconds", async () => {
      using user = new UserWithHelper("silence", forThisRegistry());
      const { status, stderr } = await user.pull(reference);
      expect(status).toBe(14);
      expect(lastLine(stderr).error).toMatchObject({
        code: "TOOL_FAILED",
        message: expect.stringContaining("did not answer within 30 seconds"),
        hint: expect.stringContaining("config.json"),
      });
      expect(user.isHelperAlive()).toBe(false);
    }, 38_000);
  });
});
