import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestCertificates } from "../source/registry/certificates.js";

/** Writes a registry's directory of certificates as containers-certs.d(5) has them, and returns its path. */
export function writeCertsD(
  directory: string,
  { ca, client }: TestCertificates,
  ...kinds: readonly ("authority" | "client")[]
): string {
  mkdirSync(directory, { recursive: true });
  if (kinds.includes("authority")) writeFileSync(join(directory, "ca.crt"), ca);
  if (kinds.includes("client")) {
    writeFileSync(join(directory, "client.cert"), client.cert);
    writeFileSync(join(directory, "client.key"), client.key, { mode: 0o600 });
  }
  return directory;
}
