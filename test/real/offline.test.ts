import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { User } from "../cli/command.js";
import { type Ended, mainProgram, run } from "../reliability/processes.js";
import { because, requireTools } from "../support/tools.js";

// "Offline" is a promise to people who may not open a connection. It is shown in two ways: in a network namespace
// that has no interface up, not even loopback, everything works that should; and the kernel is asked which sockets were made.

const layout = join(import.meta.dirname, "..", "..", "examples", "layout");
const reference = "registry.example/bpfcache/xdp-counter:v1";

const missing = requireTools("strace", "unshare") ?? because(process.getuid?.() !== 0, "needs root");

describe.skipIf(missing)(`without a network${missing ?? ""}`, { timeout: 120_000 }, () => {
  let user: User;

  beforeAll(() => {
    user = new User();
  });

  afterAll(() => user[Symbol.dispose]());

  /** Runs bpfcache in a network namespace of its own, under strace; the trace is in `calls`. */
  async function offline(...args: string[]): Promise<Ended & { readonly calls: string[] }> {
    const trace = user.path("trace");
    const ended = await run(
      "unshare",
      [
        ...["--net", "strace", "-f", "-qq", "-e", "trace=network,execve", "-o", trace],
        ...[process.execPath, mainProgram, ...args],
      ],
      { env: user.environment, cwd: user.path("") },
    );
    return { ...ended, calls: readFileSync(trace, "utf8").split("\n").filter(Boolean) };
  }

  /** Calls on sockets that could reach a network: libuv's own pairs and pipes are local. */
  function internetCalls(calls: readonly string[]): string[] {
    return calls.filter((call) => /AF_INET|AF_NETLINK|AF_PACKET|sin_addr|nscd|resolved?\b/.test(call));
  }

  const verbs: readonly (readonly [string, ...string[]])[] = [
    ["seed", layout, "--platform", "all"],
    ["list"],
    ["inspect", reference],
    ["cat", reference, "-o", "/dev/null"],
    ["export", "--all", "--offline", "-o", "site.tar"],
    ["scrub", "--offline"],
    ["pull", "--pull-policy", "Never", reference],
    ["pull", "--offline", reference],
    ["pull", "--offline", "--via", "oras", "--referrers", reference],
    ["prefetch", "--offline", reference],
    ["pin", reference],
    ["unpin", reference],
    ["usage"],
    ["remove", reference],
  ];

  it.each(verbs.map((args) => [args.join(" ").replace(layout, "LAYOUT"), args] as const))(
    "%s works, and opens no socket",
    async (_, args) => {
      const { status, stderr, calls } = await offline(...args);
      expect(status, stderr).toBe(0);
      expect(internetCalls(calls)).toEqual([]);
    },
  );

  it("what is not here is NOT_CACHED with --offline, and no socket is opened to find that out", async () => {
    const { status, calls } = await offline("pull", "--offline", "quay.io/org/other:v1");
    expect(status).toBe(4);
    expect(internetCalls(calls)).toEqual([]);
  });

  it("the trace would have shown a connection", async () => {
    const { status, calls } = await offline("pull", "127.0.0.1:9/org/other:v1");
    expect(status).toBe(6);
    expect(internetCalls(calls)).not.toEqual([]);
  });

  it.each([
    ["pull", "quay.io/org/other:v1"],
    ["pull", "--via", "oras", "quay.io/org/other:v1"],
    ["push", "quay.io/org/other:v1"],
  ])("%s runs no other program with --offline, though a credential helper is named", async (...words) => {
    const authFile = user.path("config.json");
    writeFileSync(authFile, JSON.stringify({ credsStore: "of-a-test" }));
    const { status, calls } = await offline(...words, "--offline", "--authfile", authFile);
    expect(status).not.toBe(0);
    expect(calls.filter((call) => call.includes("execve("))).toHaveLength(1); // node itself
  });
});
