import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach } from "vitest";
import { BpfcacheError } from "../../../src/core/errors.js";
import { parseReference } from "../../../src/core/reference.js";
import type { Location } from "../../../src/source/locations/location.js";
import { type LocationOptions, Locations } from "../../../src/source/locations/locations.js";

const directories: string[] = [];

afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

/** A new directory with these files in it, by path; removed after the test. */
export function directoryWith(files: Readonly<Record<string, string>> = {}): string {
  const directory = mkdtempSync(join(tmpdir(), "bpfcache-locations-"));
  directories.push(directory);
  for (const [name, text] of Object.entries(files)) {
    const path = join(directory, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  return directory;
}

/** Locations that see nothing of this machine: `files` are below what stands for /etc. */
export function locationsWith(
  files: Readonly<Record<string, string>>,
  options: Partial<LocationOptions> = {},
): Locations {
  const systemDirectory = directoryWith(files);
  return new Locations({ environment: { HOME: systemDirectory }, systemDirectory, ...options });
}

export function locate(locations: Locations, reference: string): readonly Location[] {
  return locations.locationsOf(parseReference(reference));
}

/** Places as short text: `scheme host/repository`. */
export function placesOf(locations: Locations, reference: string): string[] {
  return locate(locations, reference).map(
    ({ host, repository, schemes }) => `${schemes?.join("") ?? ""}${host}/${repository}`,
  );
}

export function failureFrom(work: () => unknown): BpfcacheError {
  try {
    work();
  } catch (error) {
    if (error instanceof BpfcacheError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}
