import { createRequire } from "node:module";

// A loader reads without waiting, and most are under no policy at all: what deciding needs is loaded when there is
// something to decide, and synchronously, which `import` cannot do.
const require = createRequire(import.meta.url);

export function loadZod(): typeof import("zod") {
  return require("zod");
}

export function loadToml(): typeof import("smol-toml") {
  return require("smol-toml");
}

export function loadSigstoreBundle(): typeof import("@sigstore/bundle") {
  return require("@sigstore/bundle");
}

export function loadSigstoreVerify(): typeof import("@sigstore/verify") {
  return require("@sigstore/verify");
}

export function loadSigstoreTypes(): typeof import("@sigstore/protobuf-specs") {
  return require("@sigstore/protobuf-specs");
}
