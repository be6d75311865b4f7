import { statSync } from "node:fs";
import { join } from "node:path";
import { BpfcacheError } from "../../core/errors.js";
import { readHostCertificates } from "../registry/host-certificates.js";
import { HostsFile } from "./hosts-file.js";
import type { ConnectionSettings } from "./location.js";
import { isAbsence } from "./toml-file.js";

/** A directory of the tree that exists: it has a hosts.toml, or else certificates as Docker keeps them. */
export interface HostsDirectory {
  readonly hosts: HostsFile | undefined;
  readonly certificates: ConnectionSettings | undefined;
}

/** containerd's tree of directories, one for each registry host. Each is read once, when it is first asked for. */
export class HostsTree {
  readonly #root: string;
  readonly #isNamed: boolean;
  readonly #read = new Map<string, HostsDirectory | undefined>();

  /** `isNamed` when the user named it: then it has to exist. */
  constructor(root: string, isNamed: boolean) {
    this.#root = root;
    this.#isNamed = isNamed;
  }

  /** The directory of a registry, by the names containerd knows it under. Throws USAGE. */
  ofHost(host: string): HostsDirectory | undefined {
    for (const name of directoryNames(host)) {
      const found = this.#directory(name);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** The directory for registries that have none of their own. Throws USAGE. */
  default(): HostsDirectory | undefined {
    return this.#directory("_default");
  }

  #directory(name: string): HostsDirectory | undefined {
    if (this.#read.has(name)) return this.#read.get(name);
    const found = this.#readDirectory(name);
    this.#read.set(name, found);
    return found;
  }

  #readDirectory(name: string): HostsDirectory | undefined {
    if (this.#isNamed && !isDirectory(this.#root)) {
      throw new BpfcacheError("USAGE", `the directory of hosts.toml files, ${this.#root}, does not exist`);
    }
    const path = join(this.#root, name);
    if (!isDirectory(path)) return undefined;
    const hosts = HostsFile.read(path);
    if (hosts !== undefined) return { hosts, certificates: undefined };
    const certificates = readHostCertificates(name, [this.#root]);
    return {
      hosts,
      certificates: certificates === undefined ? undefined : { ...certificates, skipsVerification: false },
    };
  }
}

/** `host_port_` is for file systems without colons. */
function directoryNames(host: string): readonly string[] {
  const withoutColon = host.replace(/:(\d+)$/, "_$1_");
  return withoutColon === host ? [host] : [withoutColon, host];
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (cause) {
    if (isAbsence(cause)) return false;
    throw new BpfcacheError("USAGE", `the directory ${path} cannot be read`, { cause });
  }
}
