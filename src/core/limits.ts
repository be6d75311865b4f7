const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

/** Every bound bpfcache puts on what it reads from elsewhere. Exceeding a size or a count is INVALID_IMAGE. */
export interface Limits {
  /** Manifest or index. 4 MiB is what registries must accept (distribution-spec, "Pushing Manifests") and peers enforce. */
  readonly manifestBytes: number;
  /** Image config; the same figure as containers/image uses. */
  readonly configBytes: number;
  /** One layer as the registry has it. Bytecode layers seen in the wild are 1.5 KB to 1.6 MB. */
  readonly layerBytes: number;
  /** One layer unpacked, counted on the inflated stream. */
  readonly inflatedBytes: number;
  /** Inflated to compressed: deflate cannot pass about 1032, so a higher figure would never trip. */
  readonly inflationRatio: number;
  /** How far back zstd may reach, and so what unpacking it holds. zstd's own program takes no more unless it is told to. */
  readonly zstdWindowBytes: number;
  /** One extracted eBPF object; bpfman (Go) has the same cap. */
  readonly objectBytes: number;
  readonly tarEntries: number;
  /** Files in an archive of images; their names and places are held while it is read, some 200 bytes each. */
  readonly archiveEntries: number;
  /** An archive of images unpacked. One that is compressed or piped takes this much of the disk for a while. */
  readonly archiveBytes: number;
  /** One label value: `io.ebpf.*` labels are JSON written by strangers. */
  readonly labelBytes: number;
  /** A token service's answer; as go-containerregistry. */
  readonly tokenBytes: number;
  /** How much of an error body is read for its message. */
  readonly errorBodyBytes: number;
  readonly redirects: number;
  /** An index may point at an index (distribution-spec conformance has one); three levels are followed. */
  readonly indexDepth: number;
  /** Signatures, attestations and SBOMs kept with one image. */
  readonly referrers: number;
  /** All of them together, with their content. */
  readonly referrerBytes: number;
  /** An SBOM that refers to an image may itself be referred to, by its signature: two steps from the image. */
  readonly referrerDepth: number;
  readonly referenceBytes: number;
  /** Attempts after the first one. */
  readonly retries: number;
  readonly connectTimeoutMs: number;
  readonly headersTimeoutMs: number;
  /** The longest silence in the middle of a body. */
  readonly bodyTimeoutMs: number;
  /** How long one run of oras may take. */
  readonly toolTimeoutMs: number;
  /** How long a lease holds without being renewed, against processes that cannot see whether its owner lives. */
  readonly leaseMs: number;
  /** The longest wait for what another process is fetching; after it, CACHE_BUSY. */
  readonly leaseWaitMs: number;
}

export const defaultLimits: Limits = Object.freeze({
  manifestBytes: 4 * MiB,
  configBytes: 4 * MiB,
  layerBytes: 64 * MiB,
  inflatedBytes: 256 * MiB,
  inflationRatio: 1000,
  zstdWindowBytes: 128 * MiB,
  objectBytes: 16 * MiB,
  tarEntries: 10_000,
  archiveEntries: 500_000,
  archiveBytes: 64 * GiB,
  labelBytes: 64 * KiB,
  tokenBytes: 64 * KiB,
  errorBodyBytes: 8 * KiB,
  redirects: 10,
  indexDepth: 3,
  referrers: 100,
  referrerBytes: 64 * MiB,
  referrerDepth: 2,
  referenceBytes: 2_000,
  retries: 5,
  connectTimeoutMs: 10_000,
  headersTimeoutMs: 30_000,
  bodyTimeoutMs: 30_000,
  toolTimeoutMs: 300_000,
  leaseMs: 10_000,
  leaseWaitMs: 600_000,
});

/** The defaults with some of them replaced. */
export function withLimits(overrides: Partial<Limits> | undefined): Limits {
  return overrides === undefined ? defaultLimits : { ...defaultLimits, ...overrides };
}
