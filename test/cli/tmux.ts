import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { mainProgram } from "../reliability/processes.js";
import type { User } from "./command.js";

export interface Screen {
  /** What the terminal showed while the command ran, each different one once; lines that it had to break are whole. */
  readonly during: readonly (readonly string[])[];
  /** What was left in the end, with what had scrolled away. */
  readonly after: readonly string[];
  readonly status: number;
  /** From the last key that was pressed to the end. */
  readonly milliseconds: number;
}

/**
 * Runs `bpfcache ARGS` in a terminal of its own (tmux), and looks at it all the time. What it prints goes into another
 * command when one is given.
 */
export async function watchOnTerminal(
  user: User,
  args: readonly string[],
  {
    columns,
    rows = 24,
    keys = [],
    into,
  }: { columns: number; rows?: number; keys?: readonly Key[]; into?: readonly string[] },
): Promise<Screen> {
  const socket = user.path("tmux");
  const [program, statusFile, config] = ["run.sh", "status", "tmux.conf"].map((name) => user.path(name));
  if (program === undefined || statusFile === undefined || config === undefined) throw new Error("no paths");
  rmSync(statusFile, { force: true });
  writeFileSync(config, "set -g remain-on-exit on\nset -g status off\n");
  const quoted = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(" ");
  const command = quoted([process.execPath, mainProgram, ...args]);
  const piped = into === undefined ? command : `${command} | ${quoted(into)}`;
  writeFileSync(
    program,
    `${piped}\necho \${PIPESTATUS[0]} >${statusFile}.new\nmv ${statusFile}.new ${statusFile}\n`,
  );
  const tmux = (...words: string[]): string =>
    spawnSync("tmux", ["-S", socket, "-f", config, ...words], {
      env: { ...user.environment, LC_ALL: "C.UTF-8" },
      encoding: "utf8",
    }).stdout;
  const size = ["-x", String(columns), "-y", String(rows)];
  tmux("-u", "new-session", "-d", ...size, `bash ${program}`);
  try {
    const during: string[][] = [];
    const left = [...keys];
    let pressedAt = Date.now();
    while (!existsSync(statusFile)) {
      const lines = linesOf(tmux("capture-pane", "-p", "-J"));
      if (lines.join("\n") !== during.at(-1)?.join("\n")) during.push(lines);
      if (left[0] !== undefined && lines.some((line) => left[0]?.after.test(line))) {
        pressedAt = Date.now();
        tmux("send-keys", left.shift()?.key ?? "");
      }
      await sleep(40);
    }
    const milliseconds = Date.now() - pressedAt;
    await sleep(100);
    const after = linesOf(tmux("capture-pane", "-p", "-J", "-S", "-"));
    return { during, after, status: Number(readFileSync(statusFile, "utf8")), milliseconds };
  } finally {
    tmux("kill-server");
  }
}

/** A key that is pressed once a line that matches is on the screen. */
export interface Key {
  readonly after: RegExp;
  readonly key: string;
}

/** Without what tmux says of the end of the program. */
function linesOf(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trimEnd())
    .filter((line) => line !== "" && !line.startsWith("Pane is dead"));
}
