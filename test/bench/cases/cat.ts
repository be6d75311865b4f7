import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openCache } from "../../../src/index.js";
import { writeLayout } from "../../support/layout.js";
import { atMost, type BenchCase } from "../harness/bench-case.js";
import { commandLine, runProgram } from "../harness/children.js";
import { contest, resultOf } from "../harness/contest.js";
import { median, ratio } from "../harness/samples.js";
import { makeImages } from "../site/images.js";

const names = { cat: "bpfcache cat (a process)", node: "node -e 0 (a process)" } as const;

export const catCase: BenchCase = {
  name: "cat",
  title: "the whole process that reads one object",
  async run(context) {
    const layout = join(context.directory, "layout");
    const cache = join(context.directory, "cache");
    const reference = "registry.example/bench/cat:v0";
    const images = makeImages({ count: 1, objectBytes: 64 * 1_024 });
    writeLayout(
      layout,
      images.map(({ image }) => ({ name: reference, root: image })),
    );
    {
      await using opened = await openCache({ directory: cache, platform: "linux/amd64" });
      const { failed } = await opened.seed([layout]);
      if (failed.length > 0) throw new Error(JSON.stringify(failed[0]));
    }
    const program = [commandLine, "cat", reference, `--cache-dir=${cache}`, "--platform=linux/amd64"];
    const contestants = [
      { name: names.cat, run: () => runProgram(process.execPath, program) },
      { name: names.node, run: () => runProgram(process.execPath, ["-e", "0"]) },
    ];
    for (const { run } of contestants) await run();
    const results = await contest(contestants, { rounds: context.isQuick ? 11 : 41, cpu: true });
    const memory = { [names.cat]: program, [names.node]: ["-e", "0"] };
    const rows = [];
    for (const [name, args] of Object.entries(memory)) {
      rows.push({ name, values: await residentMb(join(context.directory, `memory ${name}`), args) });
    }
    return {
      tables: [
        { title: "wall time", unit: "ms", rows: [...results.values()] },
        { title: "most resident", unit: "MB", rows },
      ],
      goals: [
        atMost(
          "times as long as node -e 0",
          1.4,
          ratio(resultOf(results, names.cat), resultOf(results, names.node)),
        ),
        atMost("resident memory in MB", 70, median(rows[0]?.values ?? [])),
      ],
    };
  },
};

async function residentMb(file: string, args: readonly string[]): Promise<number[]> {
  const hook = new URL("../workers/tell-memory.js", import.meta.url).href;
  for (let run = 0; run < 5; run++)
    await runProgram(process.execPath, ["--import", hook, ...args], { env: { BPFCACHE_BENCH_MEMORY: file } });
  return readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((kilobytes) => Number(kilobytes) / 1_000);
}
