import { renameSync } from "node:fs";
import { join } from "node:path";
import { BpfcacheError } from "../core/errors.js";
import { recountBytes } from "./content-bytes.js";
import { copyNow } from "./copy.js";
import { requireFreeSpace } from "./directory.js";
import type { Environment } from "./environment.js";
import { namesIn, syncDirectory } from "./files.js";
import { discard } from "./replace-files.js";
import { rebuildUsageIndex } from "./usage.js";

/** Raised by one with every change of the format that an older version cannot read. */
export const schemaVersion = 2;

/** One step forward. It is one transaction: the old schema or the new one, never half. */
interface Migration {
  readonly to: number;
  /** What it changes besides the trees it adds, which are there, and empty, when it runs. */
  readonly apply?: (environment: Environment) => void;
}

const migrations: readonly Migration[] = [
  // Adds the trees quarantine, verdicts and trees, the order of uses and the sum of all bytes.
  {
    to: 2,
    apply: (environment) => {
      rebuildUsageIndex(environment);
      recountBytes(environment);
    },
  },
];

const schemaKey = Buffer.from("schema");

/** The environment's schema; undefined when it is new. */
export function schemaOf(environment: Environment): number | undefined {
  return environment.tree("meta").get(schemaKey)?.readUInt32BE();
}

/** Only inside `commit`. */
export function putSchema(environment: Environment, version: number): void {
  const value = Buffer.alloc(4);
  value.writeUInt32BE(version);
  environment.tree("meta").put(schemaKey, value);
}

/** Throws USAGE for a schema that a newer bpfcache has written. */
export function refuseNewer(version: number, directory: string): void {
  if (version <= schemaVersion) return;
  throw new BpfcacheError(
    "USAGE",
    `the cache in ${directory} has schema ${version}; this bpfcache knows up to ${schemaVersion}`,
    { hint: "Use the newer bpfcache that wrote it, or another directory. Nothing was changed." },
  );
}

/**
 * Brings an older schema forward, step by step. Before the first one a compact copy goes to `schema-N.backup`, N being
 * the old version; it is kept until the next migration. To go back: let no process use the cache, and move the backup's
 * data.mdb over the cache's. Of many processes one migrates and the others wait; one that dies leaves the old schema or
 * the new one, and the next goes on from there. Throws CACHE_FULL, with nothing changed.
 */
export function migrate(environment: Environment): void {
  environment.exclusively("migrate", () => {
    const from = environment.snapshot(() => schemaOf(environment)) ?? schemaVersion;
    if (from >= schemaVersion) return; // Another process has done it meanwhile.
    backUp(environment, from);
    for (const { to, apply } of migrations) {
      if (to <= from) continue;
      environment.commit(() => {
        apply?.(environment);
        putSchema(environment, to);
      });
    }
  });
}

function backUp(environment: Environment, version: number): void {
  const { directory } = environment;
  requireFreeSpace(directory, environment.liveBytes, "a backup of the cache");
  const { path } = copyNow(directory, "backup");
  for (const name of namesIn(directory))
    if (/^schema-\d+\.backup$/.test(name)) discard(join(directory, name));
  renameSync(path, join(directory, `schema-${version}.backup`));
  syncDirectory(directory);
}
