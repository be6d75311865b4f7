import { fileURLToPath } from "node:url";

/**
 * The file of a program that a child process runs. All else is bundled into a folder one deep, as this one is: from there
 * and from here alike, the way to any other begins with one step up.
 */
export function programFile(path: string): string {
  return fileURLToPath(new URL(`../${path}`, import.meta.url));
}
