import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BpfcacheError } from "../../../src/core/errors.js";
import { FileCredentials } from "../../../src/source/credentials/file-credentials.js";

let home: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "bpfcache-credentials-"));
});

afterEach(async () => {
  await rm(home, { recursive: true, force: true });
});

async function file(path: string, content: unknown): Promise<string> {
  const whole = join(home, path);
  await mkdir(dirname(whole), { recursive: true });
  await writeFile(whole, typeof content === "string" ? content : JSON.stringify(content));
  return whole;
}

/** An executable that logs each call and answers with a shell script. */
async function helper(name: string, script: string): Promise<NodeJS.ProcessEnv> {
  const path = await file(
    `bin/docker-credential-${name}`,
    `#!/bin/sh\necho "$@" >> "${home}/calls"\n${script}\n`,
  );
  await chmod(path, 0o755);
  return environment({ PATH: `${join(home, "bin")}:/usr/bin:/bin` });
}

function environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { HOME: home, ...more };
}

function auth(user: string): { auth: string } {
  return { auth: Buffer.from(user).toString("base64") };
}

async function userFor(
  host: string,
  repository: string,
  env = environment(),
  authFile?: string,
): Promise<unknown> {
  const credential = await new FileCredentials({ authFile, environment: env }).credentialFor(
    host,
    repository,
  );
  return credential?.kind === "password" ? `${credential.username}:${credential.password}` : credential;
}

async function codeOf(work: Promise<unknown>): Promise<BpfcacheError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof BpfcacheError) return error;
  }
  throw new Error("it did not fail with a BpfcacheError");
}

describe("where credentials are found", () => {
  it("nowhere means anonymous", async () => {
    expect(await userFor("quay.io", "a/b")).toBeUndefined();
  });

  it.each([
    [".docker/config.json", {}],
    ["elsewhere/config.json", { DOCKER_CONFIG: "elsewhere" }],
    [".config/containers/auth.json", {}],
    ["xdg/containers/auth.json", { XDG_CONFIG_HOME: "xdg" }],
    ["run/containers/auth.json", { XDG_RUNTIME_DIR: "run" }],
    ["any.json", { REGISTRY_AUTH_FILE: "any.json" }],
  ])("in %s with %o", async (path, variables) => {
    await file(path, { auths: { "quay.io": auth("ann:secret") } });
    const absolute = Object.fromEntries(
      Object.entries(variables).map(([name, value]) => [name, join(home, value)]),
    );
    expect(await userFor("quay.io", "a/b", environment(absolute))).toBe("ann:secret");
  });

  it("in the old .dockercfg", async () => {
    await file(".dockercfg", { "quay.io": auth("ann:old") });
    expect(await userFor("quay.io", "a/b")).toBe("ann:old");
  });

  it("in DOCKER_AUTH_CONFIG itself", async () => {
    const inline = JSON.stringify({ auths: { "quay.io": auth("ann:inline") } });
    expect(await userFor("quay.io", "a/b", environment({ DOCKER_AUTH_CONFIG: inline }))).toBe("ann:inline");
  });

  it("in --authfile alone when it is given, a Kubernetes secret for example", async () => {
    await file(".docker/config.json", {
      auths: { "quay.io": auth("ann:home"), "ghcr.io": auth("ann:home") },
    });
    const secret = await file("secret/.dockerconfigjson", { auths: { "quay.io": auth("ann:secret") } });
    expect(await userFor("quay.io", "a/b", environment(), secret)).toBe("ann:secret");
    expect(await userFor("ghcr.io", "a/b", environment(), secret)).toBeUndefined();
  });

  it("in the next file when the first has nothing for the registry", async () => {
    await file(".docker/config.json", { auths: { "ghcr.io": auth("ann:docker") } });
    await file(".config/containers/auth.json", { auths: { "quay.io": auth("ann:podman") } });
    expect(await userFor("quay.io", "a/b")).toBe("ann:podman");
  });

  it("after a login without a restart", async () => {
    const credentials = new FileCredentials({ environment: environment() });
    expect(await credentials.credentialFor("quay.io", "a/b")).toBeUndefined();
    await file(".docker/config.json", { auths: { "quay.io": auth("ann:new") } });
    expect(await credentials.credentialFor("quay.io", "a/b")).toMatchObject({ password: "new" });
  });
});

describe("which credential is chosen", () => {
  it("Docker Hub's, under any of its names", async () => {
    for (const key of [
      "https://index.docker.io/v1/",
      "index.docker.io",
      "docker.io",
      "registry-1.docker.io",
    ]) {
      await file(".docker/config.json", { auths: { [key]: auth("ann:hub") } });
      expect(await userFor("docker.io", "library/x")).toBe("ann:hub");
    }
  });

  it("the one of the longest namespace", async () => {
    await file(".config/containers/auth.json", {
      auths: {
        "quay.io": auth("u:host"),
        "quay.io/org": auth("u:org"),
        "quay.io/org/program": auth("u:program"),
        "quay.io/orga": auth("u:other"),
      },
    });
    expect(await userFor("quay.io", "org/program")).toBe("u:program");
    expect(await userFor("quay.io", "org/else")).toBe("u:org");
    expect(await userFor("quay.io", "organ/x")).toBe("u:host");
  });

  it("the one of a URL with a scheme and a protocol version", async () => {
    await file(".docker/config.json", { auths: { "https://r.example:5000/v2/": auth("u:p") } });
    expect(await userFor("r.example:5000", "a")).toBe("u:p");
    expect(await userFor("r.example", "a")).toBeUndefined();
  });

  it("the one of a Kubernetes pattern, within one label", async () => {
    await file(".docker/config.json", { auths: { "*.example.com": auth("u:p") } });
    expect(await userFor("eu.example.com", "a")).toBe("u:p");
    expect(await userFor("a.eu.example.com", "a")).toBeUndefined();
    expect(await userFor("example.com", "a")).toBeUndefined();
  });

  it("a password may have colons, and fields may stand in for auth", async () => {
    await file(".docker/config.json", {
      auths: { a: auth("u:p:q"), b: { username: "u", password: "p" }, c: {} },
    });
    expect(await userFor("a", "x")).toBe("u:p:q");
    expect(await userFor("b", "x")).toBe("u:p");
    expect(await userFor("c", "x")).toBeUndefined();
  });

  it("identity and registry tokens are told apart from passwords", async () => {
    await file(".docker/config.json", {
      auths: { a: { ...auth("00000000-0000:"), identitytoken: "refresh" }, b: { registrytoken: "bearer" } },
    });
    expect(await userFor("a", "x")).toMatchObject({ kind: "identity-token", token: "refresh" });
    expect(await userFor("b", "x")).toMatchObject({ kind: "registry-token", token: "bearer" });
  });
});

describe("files that are wrong", () => {
  it("an empty one is one without credentials", async () => {
    await file(".docker/config.json", "");
    expect(await userFor("quay.io", "a/b")).toBeUndefined();
  });

  it.each([
    ["not JSON", '{"auths": {"quay.io": {"auth": "c2VjcmV0"'],
    ["of another shape", '{"auths": ["c2VjcmV0"]}'],
    ["with an auth that is no pair", '{"auths": {"quay.io": {"auth": "c2VjcmV0"}}}'],
  ])("%s: USAGE, and the text is not quoted", async (_, text) => {
    await file(".docker/config.json", text);
    const failure = await codeOf(userFor("quay.io", "a/b"));
    expect(failure.code).toBe("USAGE");
    expect(failure.message).toContain("config.json");
    expect(`${failure.message}${failure.hint}`).not.toMatch(/c2VjcmV0|secret/);
  });

  it("missing though named: USAGE", async () => {
    expect((await codeOf(userFor("quay.io", "a/b", environment(), join(home, "none")))).code).toBe("USAGE");
    const env = environment({ REGISTRY_AUTH_FILE: join(home, "none") });
    expect((await codeOf(userFor("quay.io", "a/b", env))).code).toBe("USAGE");
  });
});

describe("helper programs", () => {
  it("get the registry on stdin, and nothing in their arguments but the verb", async () => {
    const env = await helper(
      "test",
      `read host; printf '{"ServerURL":"x","Username":"ann","Secret":"for-%s"}' "$host"`,
    );
    await file(".docker/config.json", { credHelpers: { "quay.io": "test" } });
    expect(await userFor("quay.io", "a/b", env)).toBe("ann:for-quay.io");
    expect(await readFile(join(home, "calls"), "utf8")).toBe("get\n");
  });

  it("are asked for Docker Hub by the name they know", async () => {
    const env = await helper("test", `read host; printf '{"Username":"ann","Secret":"%s"}' "$host"`);
    await file(".docker/config.json", { credsStore: "test" });
    expect(await userFor("docker.io", "library/x", env)).toBe("ann:https://index.docker.io/v1/");
  });

  it("for one registry come before the one for all, which comes before the file", async () => {
    const env = await helper("one", `printf '{"Username":"u","Secret":"one"}'`);
    await helper("all", `printf '{"Username":"u","Secret":"all"}'`);
    await file(".docker/config.json", {
      credHelpers: { "quay.io": "one" },
      credsStore: "all",
      auths: { "quay.io": auth("u:file"), "ghcr.io": auth("u:file") },
    });
    expect(await userFor("quay.io", "a", env)).toBe("u:one");
    expect(await userFor("ghcr.io", "a", env)).toBe("u:all");
  });

  it("that have nothing leave it to the file", async () => {
    const env = await helper("none", `echo "credentials not found in native keychain"; exit 1`);
    await file(".docker/config.json", { credsStore: "none", auths: { "quay.io": auth("u:file") } });
    expect(await userFor("quay.io", "a", env)).toBe("u:file");
    expect(await userFor("ghcr.io", "a", env)).toBeUndefined();
  });

  it("may answer with an identity token", async () => {
    const env = await helper("test", `printf '{"Username":"<token>","Secret":"refresh"}'`);
    await file(".docker/config.json", { credsStore: "test" });
    expect(await userFor("quay.io", "a", env)).toMatchObject({ kind: "identity-token", token: "refresh" });
  });

  it.each([
    ["fail", "echo oops-secret; exit 3", /exited with 3/],
    ["talk nonsense", "echo oops-secret", /not the JSON/],
    ["print without end", "yes oops-secret", /prints too much/],
  ])("that %s are TOOL_FAILED, and what they print is not shown", async (_, script, says) => {
    const env = await helper("bad", script);
    await file(".docker/config.json", { credsStore: "bad" });
    const failure = await codeOf(userFor("quay.io", "a", env));
    expect(failure.code).toBe("TOOL_FAILED");
    expect(failure.message).toMatch(says);
    expect(failure.message).not.toContain("oops-secret");
  });

  it("that are missing are TOOL_FAILED with the file that names them", async () => {
    await file(".docker/config.json", { credsStore: "missing" });
    const failure = await codeOf(userFor("quay.io", "a", environment({ PATH: home })));
    expect(failure.code).toBe("TOOL_FAILED");
    expect(failure.hint).toContain("config.json");
  });

  it("with impossible names are not run", async () => {
    await file(".docker/config.json", { credsStore: "../../bin/sh" });
    expect((await codeOf(userFor("quay.io", "a"))).code).toBe("USAGE");
  });

  it("are killed when the caller gives up", async () => {
    const env = await helper("slow", "exec sleep 20");
    await file(".docker/config.json", { credsStore: "slow" });
    const credentials = new FileCredentials({ environment: env });
    const started = Date.now();
    const failure = await codeOf(credentials.credentialFor("quay.io", "a", AbortSignal.timeout(200)));
    expect(failure.code).toBe("INTERRUPTED");
    expect(Date.now() - started).toBeLessThan(5_000);
  });

  it("run once for many repositories of a registry", async () => {
    const env = await helper("test", `printf '{"Username":"u","Secret":"p"}'`);
    await file(".docker/config.json", { credsStore: "test" });
    const credentials = new FileCredentials({ environment: env });
    await Promise.all(["a", "b", "c"].map((repository) => credentials.credentialFor("quay.io", repository)));
    await credentials.credentialFor("quay.io", "d");
    expect(await readFile(join(home, "calls"), "utf8")).toBe("get\n");
  });
});
