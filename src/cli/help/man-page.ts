import { systemConfigFile } from "../config/config-paths.js";
import { settingSpecs, variableOf } from "../config/setting.js";
import { globalOptions } from "../settings.js";
import type { OptionSpec, VerbSpec } from "../verb.js";
import { verbs } from "../verbs.js";
import { configurationExample, configurationRules } from "./config.js";
import { exitCodeRows } from "./exit-codes.js";
import { optionMeaning } from "./layout.js";

/** bpfcache(1), in the man macros of groff and mandoc. */
export function text(): string {
  return [
    '.TH BPFCACHE 1 "" bpfcache "User Commands"',
    ".SH NAME",
    "bpfcache \\- a cache of eBPF images from OCI registries",
    ".SH SYNOPSIS",
    ".B bpfcache",
    "[\\fIoptions\\fR] \\fIVERB\\fR ...",
    ".SH DESCRIPTION",
    roff(
      "bpfcache pulls eBPF bytecode images from OCI registries once, checks every byte, and keeps them in an embedded database that program loaders read with no network and no daemon.",
    ),
    ".SH VERBS",
    ...verbs.flatMap(verbSection),
    ".SH OPTIONS",
    "They may stand before the verb or after it.",
    ...globalOptions.flatMap(optionItem),
    ".SH CONFIGURATION",
    ...configurationRules.flatMap((rule) => [roff(rule), ".PP"]),
    ".nf",
    ...configurationExample.trimEnd().split("\n").map(roff),
    ".fi",
    ".SH ENVIRONMENT",
    ...settingSpecs.flatMap(environmentItem),
    ...item("BPFCACHE_CONFIG", "A configuration file, as with --config."),
    ...item("NO_COLOR", "Text has no colours, whatever else asks for them."),
    ...item("FORCE_COLOR", "Text has colours where it would not."),
    ".SH FILES",
    ...item(systemConfigFile, "The system's settings."),
    ...item("~/.config/bpfcache/config.toml", "The user's settings."),
    ...item("/var/lib/bpfcache", "Root's cache; that of others is in their XDG cache directory."),
    '.SH "EXIT STATUS"',
    ...exitCodeRows().flatMap(([status, code, when]) => item(`${status} ${code}`.trim(), when)),
    ".SH EXAMPLES",
    ".nf",
    ...verbs.flatMap(({ examples }) => examples.slice(0, 1)).map((example) => roff(`bpfcache ${example}`)),
    ".fi",
    "",
  ].join("\n");
}

function verbSection({
  name,
  aliases = [],
  usage,
  summary,
  description,
  options,
  examples,
}: VerbSpec): string[] {
  return [
    `.SS "${roff([`bpfcache ${name}`, usage].join(" ").trim())}"`,
    roff(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`),
    ...(aliases.length === 0 ? [] : [roff(`Also called ${aliases.join(", ")}.`)]),
    ...(description === undefined ? [] : [".PP", roff(description)]),
    ...options.flatMap(optionItem),
    ".PP",
    ".nf",
    ...examples.map((example) => roff(`  bpfcache ${example}`)),
    ".fi",
  ];
}

function optionItem(option: OptionSpec): string[] {
  const { name, short, value } = option;
  const flags = [...(short === undefined ? [] : [`-${short}`]), `--${name}`].map(
    (flag) => `\\fB${roff(flag)}\\fR`,
  );
  return [
    ".TP",
    `${flags.join(", ")}${value === undefined ? "" : ` \\fI${roff(value)}\\fR`}`,
    roff(optionMeaning(option)),
  ];
}

function environmentItem(spec: (typeof settingSpecs)[number]): string[] {
  const variable = variableOf(spec);
  return variable === undefined ? [] : item(variable, `As --${spec.name}.`);
}

function item(term: string, meaning: string): string[] {
  return [".TP", `\\fB${roff(term)}\\fR`, roff(meaning)];
}

/** Text with what roff would obey made literal, and hyphens that can be searched for and copied. */
function roff(text: string): string {
  const escaped = text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll('"', "\\(dq")
    .replaceAll("…", "...")
    .replaceAll("~", "\\(ti")
    .replaceAll("^", "\\(ha");
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
