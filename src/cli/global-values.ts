import { BpfcacheError } from "../core/errors.js";
import type { GlobalValue } from "../image/btf/encode-value.js";
import type { GlobalValues } from "../image/elf/set-globals.js";

const integer = /^-?(?:\d+|0x[0-9a-f]+)$/i;
const word = /^[A-Za-z_][\w.:-]*$/;

/**
 * The values of `--global NAME=VALUE`, or undefined when there is none: a decimal or hexadecimal integer; true or
 * false; text, bare when it is a word and as a JSON string otherwise; several of them with commas between (a comma
 * behind a single one makes it an array too); or the bytes as `hex:00ff`. What a word means, text or an
 * enumerator, the variable's type decides. Throws USAGE.
 */
export function parseGlobals(options: readonly string[]): GlobalValues | undefined {
  if (options.length === 0) return undefined;
  const values = new Map<string, GlobalValue>();
  for (const option of options) {
    const equals = option.indexOf("=");
    if (equals < 1) {
      throw new BpfcacheError("USAGE", `--global takes NAME=VALUE, not ${JSON.stringify(option)}`);
    }
    const name = option.slice(0, equals);
    if (values.has(name)) throw new BpfcacheError("USAGE", `--global sets ${name} twice`);
    values.set(name, parseValue(name, option.slice(equals + 1)));
  }
  return Object.fromEntries(values);
}

function parseValue(name: string, text: string): GlobalValue {
  if (text.startsWith("hex:")) return parseBytes(name, text.slice("hex:".length));
  if (text.startsWith('"') || !text.includes(",")) return parseOne(name, text);
  const parts = text.split(",");
  if (parts.at(-1) === "") parts.pop();
  return parts.map((part) => parseOne(name, part));
}

function parseOne(name: string, text: string): GlobalValue {
  if (integer.test(text)) return text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text);
  if (text === "true" || text === "false") return text === "true";
  if (word.test(text)) return text;
  const quoted = text.startsWith('"') ? parseText(text) : undefined;
  if (quoted !== undefined) return quoted;
  throw new BpfcacheError("USAGE", `--global ${name}: ${JSON.stringify(text)} is not a value`, {
    hint: "Values are like 7, -1, 0x1f, true, eth0, '\"two words\"', 80,443 or hex:00ff.",
  });
}

function parseText(text: string): string | undefined {
  try {
    return JSON.parse(text) as string;
  } catch {
    return undefined;
  }
}

function parseBytes(name: string, digits: string): Uint8Array {
  if (digits.length % 2 === 0 && /^[0-9a-f]*$/i.test(digits)) return Buffer.from(digits, "hex");
  throw new BpfcacheError("USAGE", `--global ${name}: hex: takes two hexadecimal digits for each byte`);
}
