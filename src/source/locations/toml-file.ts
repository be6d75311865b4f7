import { readFileSync } from "node:fs";
import { parse, TomlError } from "smol-toml";
import type { z } from "zod";
import { BpfcacheError } from "../../core/errors.js";

/** A configuration file, or undefined when there is none. Throws USAGE, naming the place in it and never quoting it. */
export function readTomlFile<T>(path: string, schema: z.ZodType<T>): T | undefined {
  const text = readIfPresent(path);
  if (text === undefined) return undefined;
  const parsed = schema.safeParse(parseToml(text, path));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw malformed(path, `${keyPath(issue?.path ?? [])}: ${issue?.message ?? "is not valid"}`);
}

/** What is wrong with a configuration file, as USAGE. */
export function malformed(path: string, reason: string, cause?: unknown): BpfcacheError {
  return new BpfcacheError("USAGE", `${path} is malformed: ${reason}`, {
    cause,
    hint: "Correct the file, or name another one with --hosts-dir or --registries-conf.",
  });
}

function parseToml(text: string, path: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // Its further lines quote the file, which may hold a password in a header.
    const [first = ""] = error.message.replace(/^Invalid TOML document: /, "").split("\n");
    throw malformed(path, `line ${error.line}, column ${error.column}: ${first}`);
  }
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    if (isAbsence(cause)) return undefined;
    throw new BpfcacheError("USAGE", `the configuration file ${path} cannot be read`, { cause });
  }
}

/** Whether a file system call failed because there is nothing of that name. */
export function isAbsence(cause: unknown): boolean {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  return code === "ENOENT" || code === "ENOTDIR";
}

/** As it would be written in the file: `host."https://mirror.example".capabilities`. */
function keyPath(path: readonly PropertyKey[]): string {
  if (path.length === 0) return "its top";
  return path
    .map((key) => {
      if (typeof key === "number") return `[${key}]`;
      return `.${/^[\w-]+$/.test(String(key)) ? String(key) : JSON.stringify(key)}`;
    })
    .join("")
    .replace(/^\./, "");
}
