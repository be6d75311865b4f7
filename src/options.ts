import type { Writable } from "node:stream";
import type { ExportFormat } from "./bundle/bundle.js";
import type { Digest } from "./core/digest.js";
import type { EventSink } from "./core/events.js";
import type { Limits } from "./core/limits.js";
import type { Platform } from "./core/platform.js";
import type { PullPolicy } from "./pull/policy.js";
import type { CachedImage } from "./store/catalog.js";
import type { Verdict } from "./store/verdicts.js";
import type { TrustOptions } from "./trust/policy.js";

export interface CacheOptions {
  /** Where the database is. Without it a temporary one is made, and removed on close. */
  readonly directory?: string | undefined;
  /** What images are chosen for, `os/arch[/variant]`; this host's platform by default. */
  readonly platform?: string | Platform | undefined;
  /** Default IfNotPresent. */
  readonly pullPolicy?: PullPolicy | undefined;
  /** Never open a connection: every pull behaves as under Never. */
  readonly offline?: boolean | undefined;
  readonly limits?: Partial<Limits> | undefined;
  /** What speaks to registries: bpfcache itself (http, the default), or the `oras` program with its own credentials. */
  readonly via?: "http" | "oras" | undefined;
  /** Registries, as `host` or `host:port`, that are spoken to over http; loopback ones need not be named. */
  readonly plainHttp?: readonly string[] | undefined;
  /** Credentials in the form of Docker's config.json; by default the usual places are searched. */
  readonly authFile?: string | undefined;
  /** Certificates in PEM that are trusted besides the system's. */
  readonly caFile?: string | undefined;
  /** Where mirrors are configured; where containerd and Podman have it by default. */
  readonly registryConfig?: RegistryConfig | undefined;
  /**
   * What manifests, configs, layers and objects may take together, in bytes. A pull that brings them above 90 % of it
   * has the least recently used images evicted, down to 75 %; it fails (CACHE_FULL) when what may go is not enough.
   */
  readonly maxBytes?: number | undefined;
  /** What was used or pulled so recently is not evicted, in milliseconds; 60,000 by default. Uses are noted once a minute. */
  readonly evictionGraceMs?: number | undefined;
  /** The policy that says which images may be pulled and read; without one all may. */
  readonly trust?: TrustOptions | undefined;
  /** Receives the events of every call. It must not throw. */
  readonly onEvent?: EventSink | undefined;
  /** @internal Which boot this is said to be, for tests. */
  readonly bootId?: string | undefined;
}

export interface RegistryConfig {
  /** containerd's tree of hosts.toml files; /etc/containerd/certs.d by default. */
  readonly hostsDirectory?: string | undefined;
  /** Podman's registries.conf, read together with the directory of its name and `.d`. */
  readonly registriesConf?: string | undefined;
}

export interface PullOptions {
  readonly pullPolicy?: PullPolicy | undefined;
  readonly platform?: string | Platform | undefined;
  /** Under IfNotPresent: ask again when the last answer is older, in milliseconds. */
  readonly maxAgeMs?: number | undefined;
  /** Refuse (INVALID_IMAGE) an image whose labels or metadata claim what its objects do not have; else that is a warning. */
  readonly strict?: boolean | undefined;
  /**
   * Also keep signatures, attestations and SBOMs, for as long as the image. Asks the source, also for an image that is
   * here, unless the policy is Never. False unless said otherwise; `seed` keeps them unless told not to.
   */
  readonly referrers?: boolean | undefined;
  /** Aborting ends this call with INTERRUPTED; others that wait for the same image go on. */
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: EventSink | undefined;
}

export interface BatchOptions extends PullOptions {
  /** Root digests by canonical reference, which the images must be: tags are not asked about, and what is not in it fails. */
  readonly lock?: ReadonlyMap<string, Digest> | undefined;
  /** Take in every platform that the images name, side by side, instead of one. */
  readonly allPlatforms?: boolean | undefined;
  /** Images at a time; 16 by default. */
  readonly jobs?: number | undefined;
}

export interface SeedOptions extends Omit<BatchOptions, "lock" | "pullPolicy" | "maxAgeMs"> {
  /**
   * The repository, as `host/path`, that bare tags in a file belong to. For the one image of a file in which nothing
   * has a name, its whole reference; the tag is `latest` when there is none.
   */
  readonly as?: string | undefined;
  /** What the path `-` reads. */
  readonly input?: AsyncIterable<Uint8Array> | undefined;
  /** Let references that are cached already move to what the files name. */
  readonly overwrite?: boolean | undefined;
}

export interface ExportOptions {
  /** Where to: a path, or a stream that takes a tar archive and is left open. */
  readonly output: string | Writable;
  /** By default `oci-archive` for a stream and a path that ends in `.tar`, else `oci-dir`. */
  readonly format?: ExportFormat | undefined;
  /** Everything that is cached, instead of the references. */
  readonly all?: boolean | undefined;
  /** Every platform that is cached, by default. Each is `os/arch[/variant]`. */
  readonly platforms?: readonly (string | Platform)[] | undefined;
  /** The lock of an earlier export: what it has is left out, for a cache that has taken it in. */
  readonly since?: string | undefined;
  /** Where the lock of this one is written; by default to the path of the output with `.lock.json` behind it. */
  readonly lock?: string | undefined;
  /** Replace what is at the output and the lock. A directory is replaced only when it is an earlier export. */
  readonly overwrite?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: EventSink | undefined;
}

/** An object file to make an image of. */
export interface PushedObject {
  /** Its name in the image. */
  readonly name: string;
  readonly bytes: Uint8Array;
  /** `os/arch[/variant]`; the cache's platform by default. */
  readonly platform?: string | undefined;
}

export interface PushOptions {
  /** What the image is made of, one object a platform; without them what is cached is pushed. */
  readonly objects?: readonly PushedObject[] | undefined;
  /** Another reference that what is cached is pushed to. */
  readonly to?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ScrubOptions {
  /** Put right what is damaged. Without it nothing is changed. */
  readonly repair?: boolean | undefined;
  /** Aborting ends the call with INTERRUPTED; what was put right stays so. */
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: EventSink | undefined;
}

/** A pulled image: the JSON document `pull`. */
export interface PulledImage extends CachedImage {
  /** `cache`, or the source that bytes came from. */
  readonly from: string;
  readonly requests: number;
  readonly bytesFetched: number;
  /** The verdict of the trust policy; null when no policy was asked. */
  readonly trust: Verdict | null;
}
