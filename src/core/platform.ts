import { endianness } from "node:os";
import { BpfcacheError } from "./errors.js";

/** What an image is for, in the words of Go's GOOS and GOARCH (OCI image-spec, image-index.md, "platform"). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string | undefined;
}

export type ByteOrder = "little" | "big";

const part = /^[a-z0-9][a-z0-9._-]{0,31}$/;

/** Names other tools use, in GOARCH's spelling. */
const architectureAliases: ReadonlyMap<string, Platform> = new Map([
  ["x86_64", { os: "linux", architecture: "amd64" }],
  ["x86-64", { os: "linux", architecture: "amd64" }],
  ["x64", { os: "linux", architecture: "amd64" }],
  ["i386", { os: "linux", architecture: "386" }],
  ["i686", { os: "linux", architecture: "386" }],
  ["ia32", { os: "linux", architecture: "386" }],
  ["aarch64", { os: "linux", architecture: "arm64" }],
  ["armhf", { os: "linux", architecture: "arm", variant: "v7" }],
  ["armel", { os: "linux", architecture: "arm", variant: "v6" }],
  ["powerpc64le", { os: "linux", architecture: "ppc64le" }],
  ["loongarch64", { os: "linux", architecture: "loong64" }],
  ["mipsel", { os: "linux", architecture: "mipsle" }],
]);

const bigEndian = new Set(["s390x", "s390", "ppc64", "ppc", "mips", "mips64", "armbe", "arm64be", "sparc64"]);

/**
 * Parses `os/arch[/variant]`, accepting the names of uname and Debian for the architecture.
 * Throws USAGE for anything else.
 */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split("/");
  const [os, architecture, variant] = parts;
  if (
    parts.length > 3 ||
    os === undefined ||
    architecture === undefined ||
    !parts.every((word) => part.test(word))
  ) {
    throw new BpfcacheError("USAGE", `${JSON.stringify(text)} is not a platform`, {
      hint: 'Write it as os/arch or os/arch/variant, for example "linux/amd64" or "linux/arm/v7".',
    });
  }
  return normalizePlatform({ os, architecture, variant });
}

/** One spelling per platform: aliases resolved, arm64's only variant dropped, arm's default written out (containerd's rules). */
export function normalizePlatform(platform: Platform): Platform {
  const alias = architectureAliases.get(platform.architecture);
  const architecture = alias?.architecture ?? platform.architecture;
  const variant = platform.variant || alias?.variant;
  if (architecture === "arm64" && (variant === "v8" || variant === "8"))
    return { os: platform.os, architecture };
  if (architecture === "amd64" && variant === "v1") return { os: platform.os, architecture };
  if (architecture === "arm") return { os: platform.os, architecture, variant: armVariant(variant) };
  return variant === undefined
    ? { os: platform.os, architecture }
    : { os: platform.os, architecture, variant };
}

function armVariant(variant: string | undefined): string {
  if (variant === undefined) return "v7";
  return /^\d/.test(variant) ? `v${variant}` : variant;
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** Where this process runs. The os is always linux: that is what eBPF images are for, wherever the cache is filled. */
export function hostPlatform(): Platform {
  return normalizePlatform({ os: "linux", architecture: goArchitecture(process.arch, endianness()) });
}

/** GOARCH for Node's `process.arch`, which does not tell ppc64le from ppc64. */
function goArchitecture(arch: string, order: "LE" | "BE"): string {
  if (arch === "ppc64") return order === "LE" ? "ppc64le" : "ppc64";
  return arch;
}

export function byteOrderOf(platform: Platform): ByteOrder {
  return bigEndian.has(platform.architecture) ? "big" : "little";
}

/**
 * The platforms that can serve `wanted`, best first: newer arm and amd64 variants run the older ones' code
 * (containerd's platforms package), and an entry that names no variant fits any.
 */
export function platformFallbacks(wanted: Platform): readonly Platform[] {
  const { os, architecture, variant } = normalizePlatform(wanted);
  const level = variant === undefined ? undefined : Number(/^v(\d)$/.exec(variant)?.[1]);
  const older: Platform[] = [];
  if (level !== undefined && (architecture === "arm" || architecture === "amd64")) {
    const oldest = architecture === "arm" ? 5 : 2;
    for (let v = level - 1; v >= oldest; v--) older.push({ os, architecture, variant: `v${v}` });
  }
  const exact: Platform = variant === undefined ? { os, architecture } : { os, architecture, variant };
  const bare: Platform[] = variant === undefined || architecture === "arm" ? [] : [{ os, architecture }];
  return [exact, ...older, ...bare];
}

export function samePlatform(a: Platform, b: Platform): boolean {
  return formatPlatform(normalizePlatform(a)) === formatPlatform(normalizePlatform(b));
}
