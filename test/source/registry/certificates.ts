import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface TestCertificates {
  readonly caFile: string;
  readonly ca: string;
  readonly key: string;
  readonly cert: string;
  /** A client's pair, by the same authority. */
  readonly client: { readonly key: string; readonly cert: string };
  remove(): void;
}

/** A private authority and a certificate by it for the names the tests use, made by openssl. */
export function makeCertificates(): TestCertificates {
  const directory = mkdtempSync(join(tmpdir(), "bpfcache-tls-"));
  const path = (name: string) => join(directory, name);
  const openssl = (...words: string[]) => execFileSync("openssl", words, { cwd: directory, stdio: "pipe" });
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl(
    "req",
    "-x509",
    ...curve,
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
    "-subj",
    "/CN=test authority",
    "-days",
    "2",
  );
  openssl("req", ...curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost");
  writeFileSync(
    path("names"),
    "subjectAltName=DNS:localhost,DNS:registry.example,DNS:registry-1.docker.io,IP:127.0.0.1\n",
  );
  const signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"];
  openssl("x509", "-req", "-in", "server.csr", ...signing, "-out", "server.pem");
  openssl("req", ...curve, "-keyout", "client.key", "-out", "client.csr", "-subj", "/CN=ann");
  const byAuthority = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
  openssl("x509", "-req", "-in", "client.csr", ...byAuthority, "-out", "client.pem");
  return {
    caFile: path("ca.pem"),
    ca: readFileSync(path("ca.pem"), "utf8"),
    key: readFileSync(path("server.key"), "utf8"),
    cert: readFileSync(path("server.pem"), "utf8"),
    client: { key: readFileSync(path("client.key"), "utf8"), cert: readFileSync(path("client.pem"), "utf8") },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
