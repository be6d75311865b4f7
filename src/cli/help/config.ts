import { systemConfigFile } from "../config/config-paths.js";
import { limitSpecs, settingSpecs, variableOf } from "../config/setting.js";
import { table } from "../terminal/table.js";
import type { GlobalOptionSpec } from "../verb.js";
import { paragraph } from "./layout.js";

/** Where settings come from, for readers of help and of the manual page. */
export const configurationRules: readonly string[] = [
  `Settings are read from ${systemConfigFile}, then from bpfcache/config.toml in the user's XDG configuration directory (~/.config unless XDG_CONFIG_HOME says otherwise), then from the file that --config or BPFCACHE_CONFIG names, then from the environment, then from options. Whatever comes later overrides what came before; bpfcache config show says where each value came from.`,
  "A file is TOML, and its keys are the names of the options. A key that is no setting is an error. Flags are true or false; --no-offline on the command line takes back a flag that is set elsewhere. A variable for several values has commas between them.",
  "The table [limits] has the bounds on what is read from elsewhere: sizes in bytes or as 64M, times in milliseconds.",
];

export const configurationExample = `  cache-dir = "/var/lib/bpfcache"
  pull-policy = "IfNotPresent"
  max-size = "500M"
  jobs = 16
  plain-http = ["registry.site:5000"]

  [limits]
  retries = 8
  connect-timeout-ms = 3000
`;

export function text(): string {
  const options = settingSpecs.filter((spec) => !limitSpecs.includes(spec));
  return [
    configurationRules.map((rule) => paragraph(rule)).join("\n"),
    `\nFor example:\n\n${configurationExample}\n`,
    table([["SETTING", "VARIABLE", "DEFAULT"], ...options.map(row)]),
    `\n${table([["LIMIT", "DEFAULT"], ...limitSpecs.map(({ name, default: value }) => [name, String(value)])])}`,
  ].join("");
}

function row(spec: GlobalOptionSpec): string[] {
  const { default: value, value: hasValue } = spec;
  const shown =
    typeof value === "function" ? "this host's" : (value ?? (hasValue === undefined ? "false" : ""));
  return [spec.name, variableOf(spec) ?? "", shown];
}
