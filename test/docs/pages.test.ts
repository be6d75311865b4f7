import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DockerRegistry } from "../real/docker-registry.js";
import { requireKernel, requireTools } from "../support/tools.js";
import { anchorsOf, type Block, blocksOf, linksOf } from "./markdown.js";
import { ReaderOfPage, startDocumentedRegistry } from "./reader-site.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const docs = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md"));
const pages = ["README.md", "CONTRIBUTING.md", ...docs.map((name) => `docs/${name}`)];

/** What the front page says first: setting up this very checkout, which is what runs this test. */
const setUp = /^npm ci && npm (run demo|test)\n$/;

function textOf(page: string): string {
  return readFileSync(join(root, page), "utf8");
}

/** Without what a program prints, and pictures. */
function toFollow(page: string): Block[] {
  return blocksOf(textOf(page)).filter(({ language, text }) => language !== "" && !setUp.test(text));
}

// Some load programs into the kernel.
const missing =
  requireKernel() ??
  requireTools("bash", "docker-registry", "oras", "skopeo", "cosign", "jq", "curl", "strace");

describe.skipIf(missing)(`every block of every page can be followed${missing ?? ""}`, () => {
  let registry: DockerRegistry | undefined;

  beforeAll(async () => {
    registry = await startDocumentedRegistry();
  });

  afterAll(() => registry?.[Symbol.asyncDispose]());

  describe.each(pages.filter((page) => toFollow(page).length > 0))("%s", (page) => {
    let reader: ReaderOfPage | undefined;

    beforeAll(() => {
      if (registry !== undefined) reader = new ReaderOfPage(registry);
    });

    afterAll(() => reader?.[Symbol.asyncDispose]());

    for (const block of toFollow(page)) {
      it(`${block.language} at line ${block.line}`, { timeout: 120_000 }, async () => {
        const ended = await reader?.follow(block);
        if (ended === undefined) return;
        const { status, stdout, stderr } = ended;
        expect(status, `${block.text}${stdout}${stderr}`).toBe(0);
      });
    }
  });
});

describe.each(pages)("%s", (page) => {
  it("links to what is there", () => {
    const broken = linksOf(textOf(page)).filter((link) => {
      if (/^https?:/.test(link)) return false;
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? page : relative(root, join(root, dirname(page), path));
      if (!existsSync(join(root, target))) return true;
      return anchor !== undefined && !anchorsOf(textOf(target)).includes(anchor);
    });
    expect(broken).toEqual([]);
  });
});
