import { homedir } from "node:os";
import { join } from "node:path";

/** The system's file, the user's, and the one that was named; each overrides those before it. */
export function configFilesFor(named: string | undefined, environment: NodeJS.ProcessEnv): readonly string[] {
  return [systemConfigFile, userConfigFile(environment), ...(named === undefined ? [] : [named])];
}

export const systemConfigFile = "/etc/bpfcache/config.toml";

export function userConfigFile(environment: NodeJS.ProcessEnv): string {
  return join(environment["XDG_CONFIG_HOME"] || join(homedir(), ".config"), "bpfcache", "config.toml");
}
