import type { Environment } from "./environment.js";
import { decodeCount, encodeCount } from "./values.js";

/** The trees that images take their space with; the rest is indexes over them. */
export const contentTrees = ["manifests", "configs", "layers", "objects"] as const;

export type ContentTree = (typeof contentTrees)[number];

export const totalKey = Buffer.from("contentBytes");

/** Bytes of all manifests, configs, layers and objects: one row of meta, changed with every one of them. */
export function contentBytes(environment: Environment): number {
  const row = environment.tree("meta").get(totalKey);
  return (row && decodeCount(row)) ?? 0;
}

/** Only inside `commit`. */
export function putContent(environment: Environment, name: ContentTree, key: Buffer, value: Buffer): void {
  const replaced = sizeOf(environment, name, key);
  environment.tree(name).put(key, value);
  change(environment, value.length - replaced);
}

/** Returns the bytes that were freed; none when there is no such content. Only inside `commit`. */
export function removeContent(environment: Environment, name: ContentTree, key: Buffer): number {
  const bytes = sizeOf(environment, name, key);
  environment.tree(name).remove(key);
  change(environment, -bytes);
  return bytes;
}

/** The bytes that some content takes; none when it is not here. */
export function sizeOf(environment: Environment, name: ContentTree, key: Buffer): number {
  return environment.tree(name).view(key)?.length ?? 0;
}

/** The same total, from a walk through the content. */
export function countBytes(environment: Environment): number {
  let bytes = 0;
  for (const name of contentTrees)
    for (const key of environment.tree(name).keys()) bytes += sizeOf(environment, name, key);
  return bytes;
}

/** Counts anew and keeps that. Returns the total. Only inside `commit`. */
export function recountBytes(environment: Environment): number {
  const bytes = countBytes(environment);
  environment.tree("meta").put(totalKey, encodeCount(bytes));
  return bytes;
}

function change(environment: Environment, bytes: number): void {
  if (bytes === 0) return;
  // A total that damage has made too small must not keep anything from being removed.
  const total = Math.max(0, contentBytes(environment) + bytes);
  environment.tree("meta").put(totalKey, encodeCount(total));
}
