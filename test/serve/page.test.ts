import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../src/open-cache.js";
import { bytecodeImage, minimalBpfElf } from "../support/image-builder.js";
import { requireTools } from "../support/tools.js";
import { ServedCache } from "./served-cache.js";

const hostile = "<script>alert(1)</script>&'\".o";
const image = bytecodeImage({
  objects: [{ path: hostile, bytes: minimalBpfElf({ programs: [{ name: "count_packets" }] }) }],
});
const many = Array.from({ length: 201 }, (_, i) => `many.example/image-${String(i).padStart(3, "0")}:v1`);

let served: ServedCache;

beforeAll(async () => {
  const plain = bytecodeImage({ objects: [{ path: "plain.o", bytes: minimalBpfElf({}) }] });
  served = await ServedCache.start({
    "a.example/hostile:v1": image,
    ...Object.fromEntries(many.map((name) => [name, plain])),
  });
});

afterAll(() => served.close());

describe("the page at /", () => {
  it("is HTML that may load and run nothing", async () => {
    const { headers } = await served.ask("/");
    expect(headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(headers.get("content-security-policy")).toContain("default-src 'none'");
  });

  it("names images, digests, platforms and programs", async () => {
    const page = await (await served.ask("/")).text();
    for (const text of [
      "a.example/hostile:v1",
      image.root.digest,
      "linux/amd64",
      "count_packets",
      "202 images",
    ])
      expect(page).toContain(text);
  });

  it("shows names as text, whatever is in them", async () => {
    const page = await (await served.ask("/")).text();
    expect(page).not.toContain("<script");
    expect(page).toContain("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#39;&quot;.o");
  });

  it("goes on on a second one", async () => {
    const page = await (await served.ask("/")).text();
    const next = /href="([^"]+)">more/.exec(page)?.[1] ?? "";
    const second = await (await served.ask(next)).text();
    expect(page).not.toContain(many[200]);
    expect(second).toContain(many[200]);
    expect(second).not.toContain(">more<");
  });

  it("of an empty cache says that it is empty", async () => {
    await using cache = await openCache();
    const server = await cache.serve();
    expect(await (await fetch(server.url)).text()).toContain("Nothing is cached here yet");
  });
});

const noBrowser = requireTools("chromium-headless-shell");

describe.skipIf(noBrowser)(`in Chromium${noBrowser ?? ""}`, () => {
  it("shows a table of images, and the hostile name as text", { timeout: 120_000 }, async () => {
    const { stdout } = await promisify(execFile)(
      "chromium-headless-shell",
      ["--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom", `${served.server.url}/`],
      { maxBuffer: 64 * 1024 * 1024 },
    );
    const rows = stdout.match(/<tr>/g) ?? [];
    expect(rows).toHaveLength(201); // 200 images and the head
    expect(stdout).toContain("<strong>a.example/hostile:v1</strong>");
    expect(stdout).toContain("object &lt;script&gt;alert(1)&lt;/script&gt;&amp;'\".o");
    expect(stdout).toContain('<a href="/?after=');
  });
});
