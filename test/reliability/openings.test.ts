import { expect, it } from "vitest";
import { Environment } from "../../src/store/environment.js";
import { report } from "./figures.js";
import { fixture, run, TemporaryDirectory } from "./processes.js";
import { times } from "./soak.js";

const milliseconds = times(5_000, 180_000);

it("opening the database while others write takes none of their commits back", {
  timeout: 60_000 + 2 * milliseconds,
}, async () => {
  using directory = new TemporaryDirectory();
  const path = directory.join("cache");
  Environment.open({ directory: path }).close();
  let openings = 0;
  let isOver = false;
  const writers = ["first", "second", "third"].map((name) =>
    run(process.execPath, [fixture("counting-writer.js"), path, name, String(milliseconds)]),
  );
  const ends = Promise.all(writers).finally(() => {
    isOver = true;
  });
  while (!isOver) {
    Environment.open({ directory: path, readOnly: true }).close();
    openings++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  const commits = (await ends).map(({ stdout, stderr }) => stdout + stderr);
  expect(commits.filter((text) => !/^\d+\n$/.test(text))).toEqual([]);
  const total = commits.reduce((sum, text) => sum + Number(text), 0);
  report("12 openings beside writers", `${openings} openings, ${total} commits, none taken back`);
});
