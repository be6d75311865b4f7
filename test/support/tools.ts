import { accessSync, constants, statfsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** With this set (as .ci/run does), a test that cannot run fails instead of being skipped. */
const required = Boolean(process.env["BPFCACHE_REQUIRE_TOOLS"]);

/**
 * Why a test that needs these programs must be skipped, or undefined when all of them are on PATH:
 *
 *     const missing = requireTools("skopeo", "docker-registry");
 *     describe.skipIf(missing)(`real registry${missing ?? ""}`, …);
 *
 * Throws instead when BPFCACHE_REQUIRE_TOOLS is set, so that nothing is skipped by mistake where all should run.
 */
export function requireTools(...names: readonly string[]): string | undefined {
  const missing = names.filter((name) => !onPath(name));
  return because(missing.length > 0, `needs ${missing.join(" and ")}`);
}

/** Why a test that loads programs into the kernel must be skipped: it needs root, bpftool and a mounted bpffs. */
export function requireKernel(): string | undefined {
  return (
    because(process.platform !== "linux" || process.getuid?.() !== 0, "needs root on Linux") ??
    requireTools("bpftool") ??
    because(!isBpffsMounted(), "needs bpffs: mount -t bpf bpf /sys/fs/bpf")
  );
}

/** Why a test that becomes other users, or mounts, must be skipped. */
export function requireRoot(): string | undefined {
  return because(process.getuid?.() !== 0, "needs root");
}

/** The reason as it stands in the name of a test that is skipped, or undefined when nothing is missing. */
export function because(isMissing: boolean, reason: string): string | undefined {
  if (!isMissing) return undefined;
  if (required) throw new Error(`${reason}, and BPFCACHE_REQUIRE_TOOLS forbids skipping`);
  return ` (skipped: ${reason})`;
}

function onPath(name: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function isBpffsMounted(): boolean {
  const bpffsMagic = 0xcafe4a11; // BPF_FS_MAGIC, linux/magic.h
  try {
    return statfsSync("/sys/fs/bpf").type === bpffsMagic;
  } catch {
    return false;
  }
}
