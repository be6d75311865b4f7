import { readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { BpfcacheError } from "../../core/errors.js";
import { type RegistriesConf, readRegistriesConf } from "./registries-conf.js";
import { isAbsence } from "./toml-file.js";

export interface RegistriesPlaces {
  /** The one file to read, with the files in the directory of its name and `.d`. It must exist. */
  readonly registriesConf?: string | undefined;
  readonly environment: NodeJS.ProcessEnv;
  /** `/etc`, unless a test says otherwise. */
  readonly systemDirectory: string;
}

/**
 * Every file of Podman's configuration, later ones overriding earlier ones: the user's own file or else the system's
 * or the one that CONTAINERS_REGISTRIES_CONF names, then the files of registries.conf.d in the order of their names.
 * With a file of his own the user has only his own directory, as in Podman. Throws USAGE.
 */
export function readRegistriesFiles(places: RegistriesPlaces): readonly RegistriesConf[] {
  const { registriesConf, environment, systemDirectory } = places;
  if (registriesConf !== undefined) return [readNamed(registriesConf), ...dropIns(registriesConf)];
  const system = join(systemDirectory, "containers", "registries.conf");
  const config = environment["XDG_CONFIG_HOME"] || join(environment["HOME"] || homedir(), ".config");
  const user = join(config, "containers", "registries.conf");
  const named = environment["CONTAINERS_REGISTRIES_CONF"];
  if (named) return [readNamed(named), ...dropIns(system), ...dropIns(user)];
  const usersOwn = readRegistriesConf(user);
  if (usersOwn !== undefined) return [usersOwn, ...dropIns(user)];
  const systems = readRegistriesConf(system);
  return [...(systems === undefined ? [] : [systems]), ...dropIns(system), ...dropIns(user)];
}

function readNamed(path: string): RegistriesConf {
  const conf = readRegistriesConf(path);
  if (conf !== undefined) return conf;
  throw new BpfcacheError("USAGE", `the configuration file ${path} does not exist`);
}

function dropIns(path: string): RegistriesConf[] {
  const directory = `${path}.d`;
  return namesIn(directory)
    .filter((name) => name.endsWith(".conf"))
    .map((name) => readRegistriesConf(join(directory, name)))
    .filter((conf) => conf !== undefined);
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (cause) {
    if (isAbsence(cause)) return [];
    throw new BpfcacheError("USAGE", `the directory ${directory} cannot be read`, { cause });
  }
}
