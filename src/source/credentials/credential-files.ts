import { statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { BpfcacheError, codeOf } from "../../core/errors.js";
import { type DockerConfig, parseDockerConfig } from "./docker-config.js";

/**
 * Every file of credentials there is, first to last: the one asked for alone, else what the environment names, then
 * Docker's, then Podman's places (containers-auth.json(5)). Throws USAGE when a file named on purpose is missing,
 * or any is unreadable or malformed.
 */
export async function readCredentialFiles(
  authFile: string | undefined,
  environment: NodeJS.ProcessEnv,
): Promise<DockerConfig[]> {
  if (authFile !== undefined) return [await readNamed(authFile)];
  const found: DockerConfig[] = [];
  const inline = environment["DOCKER_AUTH_CONFIG"];
  if (inline) found.push(parseDockerConfig(inline, "DOCKER_AUTH_CONFIG"));
  const named = environment["REGISTRY_AUTH_FILE"];
  if (named) found.push(await readNamed(named));
  for (const path of usualPlaces(environment)) {
    const text = await readIfPresent(path);
    if (text !== undefined) found.push(parseDockerConfig(text, path));
  }
  return found;
}

function usualPlaces(environment: NodeJS.ProcessEnv): string[] {
  const home = environment["HOME"] || homedir();
  const runtime = environment["XDG_RUNTIME_DIR"];
  return [
    join(environment["DOCKER_CONFIG"] || join(home, ".docker"), "config.json"),
    ...(runtime ? [join(runtime, "containers", "auth.json")] : []),
    join(environment["XDG_CONFIG_HOME"] || join(home, ".config"), "containers", "auth.json"),
    join(home, ".dockercfg"),
  ];
}

async function readNamed(path: string): Promise<DockerConfig> {
  const text = await readIfPresent(path);
  if (text === undefined) throw new BpfcacheError("USAGE", `the credentials file ${path} does not exist`);
  return parseDockerConfig(text, path);
}

async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    // Most are not there, and they are looked for at every request: this way that takes a microsecond.
    if (statSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
    return await readFile(path, "utf8");
  } catch (cause) {
    const code = codeOf(cause);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new BpfcacheError("USAGE", `the credentials file ${path} cannot be read (${code})`, { cause });
  }
}
