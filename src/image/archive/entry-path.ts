import { refusal } from "./refusal.js";

/** PATH_MAX of Linux; no longer name could be a file's. */
const maxPathLength = 4096;

/**
 * The path of an entry inside the layer, without `./` in front, or "" for the layer's root directory. Nothing is ever
 * written under this name, but it is compared, stored and printed. Throws INVALID_IMAGE for a path that
 * is absolute, climbs with `..`, or hides something from one reader or another.
 */
export function normalizeEntryPath(name: string): string {
  if (name === "") throw refusal("an entry has no name");
  const quoted = JSON.stringify(name.slice(0, 200));
  if (name.length > maxPathLength) throw refusal(`the name ${quoted}… is longer than ${maxPathLength}`);
  if (/\p{Cc}/u.test(name)) throw refusal(`the name ${quoted} contains NUL or another control character`);
  if (name.includes("\\")) throw refusal(`the name ${quoted} contains a backslash`);
  if (name.startsWith("/")) throw refusal(`the path ${quoted} is absolute`);
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw refusal(`the path ${quoted} leads out of the layer`);
  return parts.join("/");
}
