import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { InstalledPackage } from "../package/installed.js";
import { requireKernel, requireTools } from "../support/tools.js";
import { blocksOf } from "./markdown.js";
import { ReaderOfPage, startDocumentedRegistry } from "./reader-site.js";

const readme = fileURLToPath(new URL("../../README.md", import.meta.url));
const missing = requireKernel() ?? requireTools("bash", "docker-registry", "oras");

it.skipIf(missing)(
  `a first session is the package installed in an empty directory, and what the front page says${missing ?? ""}`,
  { timeout: 300_000 },
  async () => {
    await using registry = await startDocumentedRegistry();
    const installed = InstalledPackage.make();
    try {
      const program = join(installed.directory, "node_modules", ".bin", "bpfcache");
      await using reader = new ReaderOfPage(registry, program);
      const session = blocksOf(readFileSync(readme, "utf8")).find(({ text }) =>
        text.startsWith("bpfcache prefetch"),
      );
      const words = ["prefetch", "list", "inspect", "cat", "program load", "export", "seed", "prune"];
      for (const word of words) expect(session?.text).toContain(`bpfcache ${word} `.trimEnd());
      const ended = session && (await reader.follow(session));
      expect(ended?.status, `${ended?.stdout}${ended?.stderr}`).toBe(0);
    } finally {
      installed.remove();
    }
  },
);
