import { randomUUID } from "node:crypto";
import { type Liveness, livenessOf, thisProcess } from "../core/process-identity.js";

/**
 * A name for a file of this process, unlike any other. Whose it is stands in the name and not in the file, so that it
 * is there as soon as the file is and needs no second write.
 */
export function ownName(): string {
  const { pid, startTime, bootId, pidNamespace } = thisProcess();
  const unique = randomUUID().slice(0, 8);
  return [pid, startTime, bootId, encodeURIComponent(pidNamespace), unique].join("~");
}

export interface Owner {
  readonly liveness: Liveness;
  /** Whether it ran on this boot of this host. */
  readonly isOfThisBoot: boolean;
}

/** Who `ownName` gave the name to; undefined for a name of another kind. */
export function ownerOf(name: string): Owner | undefined {
  const [pid = "", startTime, bootId, pidNamespace, unique, ...rest] = name.split("~");
  if (!/^\d+$/.test(pid) || startTime === undefined || bootId === undefined) return undefined;
  if (pidNamespace === undefined || unique === undefined || rest.length > 0) return undefined;
  const identity = { pid: Number(pid), startTime, bootId, pidNamespace: decodeURIComponent(pidNamespace) };
  return { liveness: livenessOf(identity), isOfThisBoot: bootId === thisProcess().bootId };
}
