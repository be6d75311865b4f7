/** What the verifier had to say against a program, made readable. */
export interface VerifierLog {
  readonly program: string;
  /** The verifier's last word. */
  readonly reason: string;
  /** Where, as `file:line: source`, when the object has line information. */
  readonly source: string | undefined;
  /** The way there: source lines, with their instructions behind them, and the reason. */
  readonly lines: readonly string[];
}

/** Of a long log only the end matters: how the verifier came to where it stopped. */
const keptLines = 40;

const logPattern = /prog '([^']*)': -- BEGIN PROG LOAD LOG --\n([\s\S]*?)-- END PROG LOAD LOG --/;
/** `12: (61) r0 = *(u32 *)(r1 +0)   ; R0=…`: the registers' states are for who debugs the verifier. */
const instructionPattern = /^(\d+): \([0-9a-f]{2}\) ([^;]*)/;
/** `; return *x; @ xdp.c:12`, or on older kernels without the place. */
const sourcePattern = /^; (.*?)(?: @ (\S+:\d+))?$/;
const statePattern =
  /^(?:\d+: )?(?:R\d+(?:_\w+)?=|frame\d+: |from \d+ to \d+|last_idx|regs=|parent |mark_precise)/;
const summaryPattern =
  /^(?:processed \d+ insns|verification time|stack depth|arg#|func#|BPF program is too large)/;

/** The first log in what libbpf printed, or undefined when there is none. */
export function readVerifierLog(printed: string): VerifierLog | undefined {
  const [, program, log] = logPattern.exec(printed) ?? [];
  if (program === undefined || log === undefined) return undefined;
  const lines = log.split("\n").map((line) => line.trim());
  const words = lines.filter((line) => line !== "" && !isTrace(line) && !summaryPattern.test(line));
  const source = lines.findLast((line) => sourcePattern.test(line));
  return {
    program,
    reason: words.at(-1) ?? lines.findLast((line) => line !== "") ?? "it does not say why",
    source: source && readableLine(source)[0],
    lines: lines.flatMap(readableLine).slice(-keptLines),
  };
}

function isTrace(line: string): boolean {
  return instructionPattern.test(line) || sourcePattern.test(line) || statePattern.test(line);
}

function readableLine(line: string): string[] {
  const [, number, instruction] = instructionPattern.exec(line) ?? [];
  if (instruction !== undefined) return [`    ${number}: ${instruction.trim()}`];
  const [, text, place] = sourcePattern.exec(line) ?? [];
  if (text !== undefined) return [[place, text.trim()].filter(Boolean).join(": ")];
  return line === "" || statePattern.test(line) ? [] : [line];
}
