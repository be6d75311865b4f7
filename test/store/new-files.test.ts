import { expect, it } from "vitest";
import { Shim } from "../reliability/faults/shim.js";
import { mainProgram, run, TemporaryDirectory } from "../reliability/processes.js";
import { requireTools } from "../support/tools.js";

const missing = requireTools("cc");

it.skipIf(missing)(`a file system without hard links is USAGE${missing ?? ""}`, async () => {
  using shim = new Shim();
  // Which call it is that makes the link, is found by striking at one after another.
  for (let call = 1; ; call++) {
    using directory = new TemporaryDirectory();
    const strike = shim.strike(directory.path, call, { errno: "EPERM", forGood: false });
    const env = { ...process.env, ...strike.environment };
    const args = [mainProgram, "prune", "--cache-dir", directory.path];
    const { status, stderr } = await run(process.execPath, args, { env });
    expect(strike.struck).toBeDefined();
    if (strike.struck?.name !== "link") continue;
    expect(stderr).toMatch(/^bpfcache: there are no hard links on the file system of \S+\.mdb \[USAGE\]$/m);
    expect(status).toBe(2);
    return;
  }
});
