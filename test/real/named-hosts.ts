import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";

/** Only root may mount; anybody else becomes root in a user namespace. */
const unshare = ["unshare", "--mount", ...(process.getuid?.() === 0 ? [] : ["--map-root-user"])] as const;

/**
 * Why nothing can be run with `withHosts` here, or undefined. Throws instead when BPFCACHE_REQUIRE_TOOLS is set, like
 * test/support/tools.ts.
 */
export function requireMountNamespaces(): string | undefined {
  try {
    const [program, ...options] = unshare;
    execFileSync(program, [...options, "true"], { stdio: "pipe" });
    return undefined;
  } catch {
    const reason = "needs mount namespaces";
    if (process.env["BPFCACHE_REQUIRE_TOOLS"])
      throw new Error(`${reason}, and BPFCACHE_REQUIRE_TOOLS forbids skipping`);
    return ` (skipped: ${reason})`;
  }
}

/**
 * The command that runs a command with an /etc/hosts of its own, in which the names lead to this machine: proxies are
 * never used for names that are loopback ones by themselves. Nobody else sees that file.
 */
export function withHosts(
  hostsFile: string,
  names: readonly string[],
  command: readonly string[],
): readonly [string, ...string[]] {
  writeFileSync(hostsFile, names.map((name) => `127.0.0.1 ${name}\n`).join(""));
  const script = 'mount --bind "$0" /etc/hosts && exec "$@"';
  return [...unshare, "sh", "-c", script, hostsFile, ...command];
}
