import { z } from "zod";
import type { ManagedProgram, UnmanagedProgram } from "../../programs/description.js";
import type { ProgramList } from "../../programs/programs.js";
import { bytes, count, digest, listOf, platform, reference, schemaOf, time } from "./words.js";

const programKeys = {
  id: count,
  name: z.string(),
  type: z.string(),
  tag: z.string(),
  loadedAt: time,
};

const unmanaged = schemaOf<UnmanagedProgram>()(z.object(programKeys));

const location = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("image"),
    reference,
    platform,
    rootDigest: digest,
    manifestDigest: digest,
    layerDigest: digest,
    objectDigest: digest,
    pullPolicy: z.enum(["Always", "IfNotPresent", "Never"]),
  }),
  z.object({ kind: z.literal("file"), path: z.string(), objectDigest: digest }),
]);

const texts = z.record(z.string(), z.string()).readonly();

export const program = schemaOf<ManagedProgram>()(
  z.object({
    ...programKeys,
    state: z.enum(["loaded", "unloading", "gone", "archived"]),
    kernelName: z.string(),
    reference: reference.nullable(),
    objectDigest: digest.nullable(),
    location: location.nullable(),
    metadata: texts,
    globalData: texts.describe("values as they lie in memory, in hexadecimal"),
    mapIds: listOf(count),
    mapOwner: count.nullable(),
    mapsUsedBy: listOf(count),
    pin: z.string(),
    mapPinPath: z.string(),
    attachPoints: listOf(z.string()),
    links: listOf(z.object({ id: count, type: z.string(), target: z.string() })),
    gplCompatible: z.boolean(),
    btfId: count.nullable(),
    bytesTranslated: bytes,
    jited: z.boolean(),
    bytesJited: bytes,
    bytesMemlock: bytes,
    verifiedInstructions: count.nullable(),
    bootId: z.string(),
  }),
);

export const programList = schemaOf<ProgramList>()(
  z.object({ programs: listOf(program), unmanaged: listOf(unmanaged), archived: listOf(program) }),
);
