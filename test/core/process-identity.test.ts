import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, it } from "vitest";
import { livenessOf, thisProcess } from "../../src/core/process-identity.js";

it("this process is alive", () => {
  expect(livenessOf(thisProcess())).toBe("alive");
});

it.skipIf(process.platform !== "linux")(
  "another process with the same number is not the same process",
  () => {
    expect(livenessOf({ ...thisProcess(), startTime: "1" })).toBe("dead");
  },
);

it.skipIf(process.platform !== "linux")("what ran on an earlier boot is dead", () => {
  expect(livenessOf({ ...thisProcess(), bootId: "0f6b0e0c-0000-4000-8000-000000000000" })).toBe("dead");
});

it.skipIf(process.platform !== "linux")("of a process in another pid namespace nothing is known", () => {
  expect(livenessOf({ ...thisProcess(), pidNamespace: "pid:[1]" })).toBe("unknown");
});

it("a process that has ended is dead", async () => {
  const child = spawn(process.execPath, ["-e", "0"]);
  const pid = child.pid ?? 0;
  await once(child, "close");
  expect(livenessOf({ ...thisProcess(), pid })).toBe("dead");
});
