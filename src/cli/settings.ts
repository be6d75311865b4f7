import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { BpfcacheError } from "../core/errors.js";
import { defaultLimits, type Limits } from "../core/limits.js";
import { formatPlatform, hostPlatform, type Platform, parsePlatform } from "../core/platform.js";
import type { CacheOptions } from "../options.js";
import { type PullPolicy, parsePullPolicy, pullPolicies } from "../pull/policy.js";
import type { Arguments } from "./arguments.js";
import { type ProgressStyle, progressStyles } from "./progress.js";
import { parseSize } from "./size.js";
import type { GlobalOptionSpec, VerbSpec } from "./verb.js";

export const globalOptions: readonly GlobalOptionSpec[] = [
  {
    name: "cache-dir",
    value: "DIR",
    summary: "where the cache is",
    environment: "BPFCACHE_DIR",
    default: () => defaultDirectory(process.env),
  },
  {
    name: "config",
    value: "FILE",
    summary: "settings, over those of the system's and the user's file (BPFCACHE_CONFIG)",
    isPerCall: true,
  },
  {
    name: "platform",
    value: "OS/ARCH[/VARIANT]",
    summary: "what images are for; all takes in every one",
    default: () => formatPlatform(hostPlatform()),
  },
  {
    name: "pull-policy",
    value: "POLICY",
    summary: "when to ask the registry: Always, IfNotPresent or Never",
    choices: pullPolicies,
    default: "IfNotPresent",
  },
  { name: "max-age", value: "AGE", summary: "ask again for what was checked longer ago, such as 30m or 7d" },
  {
    name: "max-size",
    value: "SIZE",
    summary: "what the cache may take, such as 500M; unused images are evicted",
  },
  { name: "offline", summary: "open no connection" },
  {
    name: "via",
    value: "PROGRAM",
    summary: "what speaks to registries: http or oras",
    choices: ["http", "oras"],
    default: "http",
  },
  { name: "jobs", value: "N", summary: "images at a time", default: "16" },
  { name: "authfile", value: "FILE", summary: "credentials, in the form of Docker's config.json" },
  { name: "ca-file", value: "FILE", summary: "certificates (PEM) to trust besides the system's" },
  { name: "plain-http", value: "HOST", multiple: true, summary: "speak http to this registry" },
  { name: "hosts-dir", value: "DIR", summary: "mirrors, as containerd's hosts.toml files have them" },
  { name: "registries-conf", value: "FILE", summary: "mirrors, as Podman's registries.conf has them" },
  {
    name: "policy",
    value: "FILE",
    summary: "which images are trusted; /etc/bpfcache/policy.toml when that is there",
    environment: "BPFCACHE_POLICY",
    default: systemPolicy,
  },
  {
    name: "trusted-root",
    value: "FILE",
    summary: "check keyless signatures by this trusted_root.json alone",
  },
  { name: "json", summary: "print the result as one JSON document", isPerCall: true },
  {
    name: "progress",
    value: "STYLE",
    summary: "auto, tty, plain, json or quiet",
    choices: progressStyles,
    default: "auto",
  },
  { name: "verbose", summary: "also show each request" },
  { name: "help", short: "h", summary: "show help", isPerCall: true },
];

/** What options, environment and configuration files say. */
export interface Settings {
  readonly directory: string;
  readonly platform: Platform | undefined;
  /** All that `--platform` names, with commas between: for the verbs that take several. */
  readonly platforms: readonly Platform[];
  /** `--platform all`: for the verbs that take in many. */
  readonly allPlatforms: boolean;
  readonly pullPolicy: PullPolicy | undefined;
  readonly maxAgeMs: number | undefined;
  /** What the cache is kept to, in bytes. */
  readonly maxBytes: number | undefined;
  readonly isOffline: boolean;
  readonly via: "http" | "oras" | undefined;
  readonly jobs: number | undefined;
  readonly authFile: string | undefined;
  readonly caFile: string | undefined;
  readonly plainHttp: readonly string[];
  readonly hostsDirectory: string | undefined;
  readonly registriesConf: string | undefined;
  /** Bounds other than the defaults. */
  readonly limits: Partial<Limits>;
  readonly policyFile: string | undefined;
  readonly trustedRoot: string | undefined;
  readonly isJson: boolean;
  readonly progress: ProgressStyle;
  readonly isVerbose: boolean;
}

/** Throws USAGE for a value that makes no sense. */
export function readSettings(
  options: Arguments,
  environment: NodeJS.ProcessEnv,
  verb: Pick<VerbSpec, "options"> = { options: [] },
): Settings {
  const platform = options.value("platform");
  const platforms =
    platform === undefined || platform === "all" ? [] : platform.split(",").map(parsePlatform);
  const pullPolicy = options.value("pull-policy");
  const maxAge = options.value("max-age");
  const maxSize = options.value("max-size");
  const jobs = options.value("jobs");
  return {
    directory: options.value("cache-dir") ?? defaultDirectory(environment),
    platform: platforms[0],
    platforms,
    allPlatforms: platform === "all",
    pullPolicy: pullPolicy === undefined ? undefined : parsePullPolicy(pullPolicy),
    maxAgeMs: maxAge === undefined ? undefined : parseDuration(maxAge),
    maxBytes: maxSize === undefined ? undefined : parseSize(maxSize),
    isOffline: options.isSet("offline"),
    // A verb may have an option of this name for what is its own to choose.
    via: verb.options.some(({ name }) => name === "via") ? undefined : parseVia(options.value("via")),
    jobs: jobs === undefined ? undefined : parseJobs(jobs),
    authFile: options.value("authfile"),
    caFile: options.value("ca-file"),
    plainHttp: options.values("plain-http"),
    hostsDirectory: options.value("hosts-dir"),
    registriesConf: options.value("registries-conf"),
    limits: readLimits(options),
    policyFile: options.value("policy") ?? systemPolicy(),
    trustedRoot: options.value("trusted-root"),
    isJson: options.isSet("json"),
    progress: parseProgress(options.value("progress") ?? "auto"),
    isVerbose: options.isSet("verbose"),
  };
}

/** The settings as the library wants them. */
export function toCacheOptions(settings: Settings): CacheOptions {
  const { directory, platform, pullPolicy, maxBytes, isOffline, via, authFile, caFile, plainHttp } = settings;
  const { hostsDirectory, registriesConf, policyFile, trustedRoot } = settings;
  return {
    directory,
    platform,
    pullPolicy,
    maxBytes,
    offline: isOffline,
    via,
    authFile,
    caFile,
    plainHttp,
    limits: settings.limits,
    registryConfig: { hostsDirectory, registriesConf },
    trust: { policyFile, trustedRoot },
  };
}

/** What the operator of this host has set down for every use of the command. */
function systemPolicy(): string | undefined {
  const path = "/etc/bpfcache/policy.toml";
  return existsSync(path) ? path : undefined;
}

function defaultDirectory(environment: NodeJS.ProcessEnv): string {
  if (process.geteuid?.() === 0) return "/var/lib/bpfcache";
  return join(environment["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "bpfcache");
}

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** In milliseconds. Throws USAGE. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text);
  const unit = unitMs[match?.[2] ?? ""];
  if (match === null || unit === undefined) {
    throw new BpfcacheError("USAGE", `${JSON.stringify(text)} is not an age`, {
      hint: "Write a number and s, m, h or d, such as 30m.",
    });
  }
  return Number(match[1]) * unit;
}

function parseVia(text: string | undefined): Settings["via"] {
  if (text === undefined || text === "http" || text === "oras") return text;
  throw new BpfcacheError("USAGE", `--via takes http or oras, not ${JSON.stringify(text)}`);
}

function parseJobs(text: string): number {
  const jobs = Number(text);
  if (Number.isInteger(jobs) && jobs >= 1 && jobs <= 256) return jobs;
  throw new BpfcacheError("USAGE", `--jobs takes a whole number from 1 to 256, not ${JSON.stringify(text)}`);
}

/** Only a configuration file has them, in a table. */
function readLimits(options: Arguments): Partial<Limits> {
  const names = Object.keys(defaultLimits) as (keyof Limits)[];
  const entries = names.flatMap((name) => {
    const setting = limitSetting(name);
    const text = options.value(setting);
    return text === undefined ? [] : [[name, parseLimit(setting, text)]];
  });
  return Object.fromEntries(entries);
}

/** What a limit is called in a configuration file. */
export function limitSetting(name: keyof Limits): string {
  return `limits.${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function parseLimit(setting: string, text: string): number {
  const limit = setting.endsWith("-bytes") ? parseSize(text) : Number(text);
  if (Number.isSafeInteger(limit) && limit >= 0) return limit;
  throw new BpfcacheError("USAGE", `${setting} takes a whole number, not ${JSON.stringify(text)}`);
}

function parseProgress(text: string): ProgressStyle {
  const style = progressStyles.find((name) => name === text);
  if (style !== undefined) return style;
  throw new BpfcacheError(
    "USAGE",
    `--progress takes ${progressStyles.join(", ")}, not ${JSON.stringify(text)}`,
  );
}
