import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openReader } from "../../src/reader.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { requireTools } from "../support/tools.js";
import { json, lastLine, type Running, sampleImage, User } from "./command.js";

const amd64 = ["--platform", "linux/amd64"];

describe("prefetch --follow", () => {
  let registry: TestRegistry;
  let user: User;
  let reference: string;
  let running: Running | undefined;

  beforeEach(async () => {
    registry = await startTestRegistry();
    registry.add("org/prog:v1", sampleImage("before"));
    reference = registry.reference("org/prog:v1");
    user = new User();
  });

  afterEach(async () => {
    running?.kill("SIGKILL");
    await running?.ended;
    running = undefined;
    user[Symbol.dispose]();
    await registry.close();
  });

  const start = (...args: readonly string[]): Running => {
    running = user.start(["prefetch", "--follow", "1s", "--progress", "json", ...amd64, ...args]);
    return running;
  };
  const followed = (process: Running, rest: string): Promise<unknown> =>
    process.line("stderr", new RegExp(`"event":"followed",${rest}`));
  /** The first program of what a loader gets now. */
  const program = (): string | undefined => {
    using reader = openReader({ directory: user.cache });
    return reader.bytecode(reference, { platform: "linux/amd64" }).programs[0]?.name;
  };

  it("asks with conditional requests, and takes in what a tag means later", async () => {
    const process = start(reference);
    await followed(process, '"images":1,"changed":1,"failed":0');
    await followed(process, '"images":1,"changed":0,"failed":0');
    expect(registry.requests.at(-1)).toMatchObject({ method: "GET", kind: "manifest", status: 304 });
    registry.add("org/prog:v1", sampleImage("after"));
    await followed(process, '"images":1,"changed":1,"failed":0');
    expect(program()).toBe("after");
  });

  it("leaves the old image readable until the new one is complete", async () => {
    const process = start(reference);
    await followed(process, '"images":1,"changed":1');
    let release = (): void => {};
    const stallUntil = new Promise<void>((resolve) => {
      release = resolve;
    });
    registry.break({ kind: "blob" }, { stallUntil });
    registry.add("org/prog:v1", sampleImage("after"));
    await process.line("stderr", /"event":"fetching"/);
    expect(program()).toBe("before");
    release();
    await followed(process, '"images":1,"changed":1');
    expect(program()).toBe("after");
  });

  it("reads its files again each round", async () => {
    const list = user.path("images.txt");
    writeFileSync(list, `${reference}\n`);
    const process = start("-f", list);
    await followed(process, '"images":1,"changed":1');
    registry.add("org/other:v1", sampleImage("other"));
    writeFileSync(list, `${reference}\n${registry.reference("org/other:v1")}\n`);
    await followed(process, '"images":2,"changed":1');
  });

  it("is ended by no failure: a registry that refuses, an image that is not there, a list that is gone", async () => {
    const list = user.path("images.txt");
    const process = start("-f", list);
    await process.line("stderr", /this round failed: cannot read .*images\.txt/);
    registry.break({}, { status: 403 });
    writeFileSync(list, `${reference}\n${registry.reference("org/none:v1")}\n`);
    await followed(process, '"images":0,"changed":0,"failed":2');
    registry.repair();
    await followed(process, '"images":1,"changed":1,"failed":1');
  });

  it("ends well at SIGTERM, in one JSON document if asked", async () => {
    const process = start(reference, "--json");
    await followed(process, '"images":1');
    process.kill("SIGTERM");
    const { status, stdout } = await process.ended;
    expect(status).toBe(0);
    expect(json(stdout)).toMatchObject({ images: [{ reference }], failed: [], rounds: expect.any(Number) });
  });

  it("ends well at SIGTERM in the middle of a download, with nothing half", async () => {
    registry.break({ kind: "blob" }, { stallUntil: new Promise(() => {}) });
    const process = start(reference);
    await process.line("stderr", /"event":"fetching"/);
    process.kill("SIGTERM");
    expect(await process.ended).toMatchObject({ status: 0 });
    const { stdout } = await user.bpfcache(["list", "--json"]);
    expect(json(stdout).images).toEqual([]);
  });

  it("says a line a round where no JSON is asked for", async () => {
    const process = user.start(["prefetch", "--follow", "1s", reference, ...amd64]);
    running = process;
    await process.line("stdout", /^1 cached, \d requests, /);
    await process.line("stdout", /^1 cached \(1 of them before\), 1 request, 0 B in /);
  });

  it.each([
    ["prefetch", "--follow", "1s"],
    ["prefetch", "--follow", "1s", "-f", "-"],
    ["prefetch", "--follow", "0s", "x.example/y"],
    ["prefetch", "--follow", "soon", "x.example/y"],
    ["prefetch", "--follow", "1s", "--explain", "x.example/y"],
  ])("refuses what makes no sense: %s %s %s %s %s", async (...args) => {
    const { status, stderr } = await user.bpfcache([...args.filter(Boolean), "--json"]);
    expect(status).toBe(2);
    expect(lastLine(stderr).error?.code).toBe("USAGE");
  });

  const missing = requireTools("systemd-notify", "python3");
  it.skipIf(missing)(
    `tells systemd when it is ready, how it is, and that it ends${missing ?? ""}`,
    async () => {
      const socket = user.path("notify");
      // Node.js has no datagram sockets of the file system.
      const listener = spawn("python3", [
        "-uc",
        `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound")
while True: print(repr(s.recv(4096).decode()))`,
        socket,
      ]);
      const lines = createInterface({ input: listener.stdout })[Symbol.asyncIterator]();
      expect((await lines.next()).value).toBe("bound");
      const environment = { ...user.environment, NOTIFY_SOCKET: socket };
      const { MAIN = "", NODE = "" } = user.environment;
      const child = spawn(NODE, [MAIN, "prefetch", "--follow", "1m", reference, ...amd64], {
        env: environment,
      });
      const exited = once(child, "exit");
      const said: string[] = [];
      for await (const line of lines) {
        said.push(line);
        if (/READY=1/.test(line)) child.kill("SIGTERM");
        if (/STOPPING=1/.test(line)) break;
      }
      listener.kill();
      await exited;
      expect(said.join("\n")).toMatch(/READY=1\\nSTATUS=1 cached, 0 failed; the next round is in \d+ s/);
    },
  );
});
