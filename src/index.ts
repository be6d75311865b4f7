export type { ExportedImage, ExportFormat } from "./bundle/bundle.js";
export type { MissingManifest } from "./bundle/closure.js";
export type { ExportResult } from "./bundle/export.js";
export type { PushedImage } from "./bundle/push.js";
export type { BytecodeCache } from "./cache.js";
export type { CallContext, CallName } from "./core/channels.js";
export type { Digest } from "./core/digest.js";
export { BpfcacheError, type ErrorCode, exitStatus } from "./core/errors.js";
export type { CacheEvent, EventSink } from "./core/events.js";
export { defaultLimits, type Limits } from "./core/limits.js";
export type { Platform } from "./core/platform.js";
export type { GlobalValue } from "./image/btf/encode-value.js";
export type { GlobalValues } from "./image/elf/set-globals.js";
export type { Attachment } from "./image/formats/format.js";
export { openCache } from "./open-cache.js";
export type {
  BatchOptions,
  CacheOptions,
  ExportOptions,
  PulledImage,
  PullOptions,
  PushedObject,
  PushOptions,
  RegistryConfig,
  ScrubOptions,
  SeedOptions,
} from "./options.js";
export type { ManagedProgram, UnmanagedProgram } from "./programs/description.js";
export type { ProgramLocation } from "./programs/location.js";
export type { LoadOptions, LoadVia, ProgramList, Programs } from "./programs/programs.js";
export type { BatchResult, FailedImage } from "./pull/batch.js";
export type { ListedImage } from "./pull/image-list.js";
export type { PullPolicy } from "./pull/policy.js";
export type { RestoredLayers } from "./pull/restore-layers.js";
export type { Verification } from "./pull/verify.js";
export { BytecodeReader, openReader, type ReaderOptions, type ReadOptions } from "./reader.js";
export type { RegistryServer, ServeOptions } from "./serve/server.js";
export type { Bytecode, BytecodeDescription } from "./store/bytecode.js";
export type {
  CachedImage,
  CachedObject,
  ImageDetails,
  InspectedLayer,
  InspectedObject,
} from "./store/catalog.js";
export type { Compaction } from "./store/compact.js";
export type { CounterName } from "./store/counters.js";
export type { ImageUsage, Usage } from "./store/disk-usage.js";
export type { RemovalReason, Removed } from "./store/evict.js";
export type { ListFilter } from "./store/list.js";
export type { Metrics } from "./store/metrics.js";
export type { PruneOptions, PruneResult } from "./store/prune.js";
export type { QuarantineNote } from "./store/quarantine.js";
export type { ReferrerRecord } from "./store/records.js";
export type { ScrubFinding, ScrubReport } from "./store/scrub/scrub.js";
export { openStore, type StateStore, type StateStoreOptions } from "./store/state-store.js";
export type { StateTree, TreeBytes, TreeChange, TreeEvent } from "./store/state-tree.js";
export type { Verdict } from "./store/verdicts.js";
export type { Decision, SignatureFinding } from "./trust/decide.js";
export type { TrustOptions } from "./trust/policy.js";
export type { Judgement } from "./trust/trust.js";
