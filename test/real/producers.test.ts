import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import { mediaTypes } from "../../src/image/media-types.js";
import { openCache } from "../../src/index.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { gadgetTypes } from "../support/artifact-builder.js";
import { requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";
import { execute } from "./images.js";
import { Buildah } from "./producers-buildah.js";
import { Oras } from "./producers-oras.js";

// Images made by the tools that others make theirs with, in the registry that Debian ships, read by this library.

const objects = join(import.meta.dirname, "..", "..", "examples", "bpf", "objects");
const objectPath = (name: string): string => join(objects, name);
const objectBytes = (name: string): Buffer => readFileSync(objectPath(name));

const counter = { "linux/amd64": "xdp_counter.bpfel.o", "linux/s390x": "xdp_counter.bpfeb.o" };
const counterProgram = { name: "xdp_counter", type: "xdp" };

interface Expected {
  readonly rootDigest: string;
  /** The object's name by platform. */
  readonly objects: Readonly<Record<string, string>>;
  readonly program: { readonly name: string; readonly type: string };
}

/**
 * Pulls an image for each platform into one cache, where every object must be its file byte for byte under its name,
 * and the labels or metadata right; returns what `inspect` says for the last.
 */
async function pullEach(reference: string, { rootDigest, objects, program }: Expected) {
  await using cache = await openCache();
  const platforms = Object.keys(objects);
  for (const platform of platforms) {
    const pulled = await cache.pull(reference, { platform, strict: true });
    expect(pulled).toMatchObject({ from: "registry", rootDigest });
  }
  for (const [platform, object] of Object.entries(objects)) {
    const bytecode = cache.bytecode(reference, { platform });
    expect(Buffer.from(bytecode.bytes)).toEqual(objectBytes(object));
    expect(bytecode).toMatchObject({ platform, digest: digestOf(bytecode.bytes), programs: [program] });
    expect(bytecode.programs).toHaveLength(1);
  }
  const details = cache.inspect(reference, { platform: platforms.at(-1) });
  expect(details).toMatchObject({ rootDigest, warnings: [] });
  return details;
}

const missingRegistry = requireTools("docker-registry");
describe.skipIf(missingRegistry)(`from Debian's docker-registry${missingRegistry ?? ""}`, () => {
  let registry: DockerRegistry;
  beforeAll(async () => {
    registry = await DockerRegistry.start();
  });
  afterAll(() => registry?.[Symbol.asyncDispose]());

  const missingBuildah = requireTools("buildah");
  describe.skipIf(missingBuildah)(
    `an image that buildah built for three platforms${missingBuildah ?? ""}`,
    () => {
      let buildah: Buildah;
      beforeAll(async () => {
        buildah = new Buildah();
        for (const format of ["oci", "docker"] as const) {
          await buildah.build(format, {
            format,
            programs: { xdp_counter: "xdp" },
            maps: { packet_counts: "per_cpu_array" },
            objects: {
              "linux/amd64": objectPath("xdp_counter.bpfel.o"),
              "linux/arm64": objectPath("xdp_counter.bpfel.o"),
              "linux/s390x": objectPath("xdp_counter.bpfeb.o"),
            },
          });
        }
      }, 30_000);
      afterAll(() => buildah?.[Symbol.dispose]());

      const { ociIndex, ociLayerGzip, dockerList, dockerLayerGzip } = mediaTypes;
      it.each([
        ["in OCI's format", "oci", ["--format=oci"], ociIndex, ociLayerGzip],
        ["in Docker's format", "docker", ["--format=v2s2"], dockerList, dockerLayerGzip],
        ["in Docker's format under OCI's index", "docker", [], ociIndex, dockerLayerGzip],
      ])("is read, %s", async (how, list, options, rootMediaType, layerType) => {
        const reference = registry.reference(`by-buildah/${how.toLowerCase().replaceAll(/\W+/g, "-")}:v1`);
        const rootDigest = await buildah.push(list, reference, ...options);

        const details = await pullEach(reference, { rootDigest, objects: counter, program: counterProgram });
        expect(details).toMatchObject({
          format: "bpfman",
          rootMediaType,
          platforms: ["linux/amd64", "linux/arm64", "linux/s390x"],
          labels: { "io.ebpf.programs": '{"xdp_counter":"xdp"}' },
          layers: [{ mediaType: layerType }],
          objects: [{ name: "xdp_counter.bpfeb.o", maps: [{ name: "packet_counts", type: "percpu_array" }] }],
        });
      });

      const missingSkopeo = requireTools("skopeo");
      it.skipIf(missingSkopeo)(
        `is read when skopeo has packed its layers with zstd${missingSkopeo ?? ""}`,
        async () => {
          const [built, packed] = ["built", "packed"].map((tag) =>
            registry.reference(`by-skopeo/zstd:${tag}`),
          );
          await buildah.push("oci", built ?? "", "--format=oci");
          using directory = new TemporaryDirectory();
          const layout = `oci:${directory.path}:zstd`;
          const copy = ["copy", "-q", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"];
          // By way of a layout: from a registry to itself skopeo takes the packed layer that is there.
          const compress = ["--dest-compress", "--dest-compress-format=zstd", "--dest-compress-level=19"];
          await execute("skopeo", [...copy, ...compress, `docker://${built}`, layout]);
          await execute("skopeo", [...copy, layout, `docker://${packed}`]);
          const raw = await execute("skopeo", [
            "inspect",
            "--raw",
            "--tls-verify=false",
            `docker://${packed}`,
          ]);
          const rootDigest = digestOf(Buffer.from(raw.stdout));

          const details = await pullEach(packed ?? "", {
            rootDigest,
            objects: counter,
            program: counterProgram,
          });
          expect(details).toMatchObject({
            format: "bpfman",
            layers: [{ mediaType: `${mediaTypes.ociLayerTar}+zstd` }],
          });
        },
      );
    },
  );

  const missingOras = requireTools("oras");
  describe.skipIf(missingOras)(`what oras pushed${missingOras ?? ""}`, () => {
    let oras: Oras;
    beforeAll(() => {
      oras = new Oras();
    });
    afterAll(() => oras?.[Symbol.dispose]());

    const printDigest = ["--format", "go-template", "--template", "{{.digest}}"];
    const artifactType = "application/vnd.example.ebpf";

    it.each([
      ["with types of its own", ["--artifact-type", artifactType], ":application/octet-stream"],
      ["with oras's default types, which say tar", [], ""],
    ])("is read: an object as an artifact, %s", async (_, options, layerType) => {
      const object = "xdp_pass.bpfel.o";
      const reference = registry.reference(`by-oras/xdp-pass:v${options.length}`);
      const args = [...printDigest, ...options, reference, `${object}${layerType}`];
      const rootDigest = await oras.run("push", args, { [object]: objectBytes(object) });

      const details = await pullEach(reference, {
        rootDigest,
        objects: { "linux/amd64": object },
        program: { name: "xdp_pass", type: "xdp" },
      });
      expect(details).toMatchObject({
        format: "artifact",
        rootMediaType: mediaTypes.ociManifest,
        objects: [{ name: object, layerDigest: digestOf(objectBytes(object)) }],
      });
    });

    it("is read: an index of artifacts, each with its platform", async () => {
      const repository = registry.reference("by-oras/xdp-counter");
      const manifests: string[] = [];
      for (const [platform, object] of Object.entries(counter)) {
        const types = ["--artifact-type", artifactType, "--artifact-platform", platform];
        const args = [...printDigest, ...types, repository, `${object}:application/octet-stream`];
        manifests.push(await oras.run("push", args, { [object]: objectBytes(object) }));
      }
      await oras.run("manifest index create", [`${repository}:v1`, ...manifests]);
      const rootDigest = await oras.run("resolve", [`${repository}:v1`]);

      const details = await pullEach(`${repository}:v1`, {
        rootDigest,
        objects: counter,
        program: counterProgram,
      });
      expect(details).toMatchObject({ format: "artifact", platforms: Object.keys(counter) });
    });

    it("is read: blobs and manifests in the shape of an Inspektor Gadget image", async () => {
      const repository = registry.reference("gadget/count-execs");
      const gadgets = {
        "linux/amd64": "tracepoint_counter.bpfel.o",
        "linux/s390x": "tracepoint_counter.bpfeb.o",
      };
      const { rootDigest } = await pushGadget(oras, repository, gadgets);

      const details = await pullEach(`${repository}:v1`, {
        rootDigest,
        objects: gadgets,
        program: { name: "count_exec", type: "tracepoint" },
      });
      expect(details).toMatchObject({
        format: "gadget",
        platforms: Object.keys(gadgets),
        metadata: { name: "count execs" },
        objects: [{ maps: [{ name: "execs_by_uid" }] }],
        attachments: [
          { kind: "metadata", mediaType: gadgetTypes.config },
          { kind: "wasm", mediaType: gadgetTypes.wasm, size: emptyModule.length },
        ],
      });
    });
  });
});

const gadgetYaml = `name: count execs
description: counts programs started, by user
toppers:
  execs:
    mapName: execs_by_uid
    structName: count
`;
const emptyModule = Buffer.from("\0asm\x01\0\0\0", "latin1");

/**
 * Pushes what `ig image build` would make of these objects: the manifests have no mediaType, and annotations are on
 * the index, its entries, the manifests and their configs.
 */
async function pushGadget(
  oras: Oras,
  repository: string,
  byPlatform: Readonly<Record<string, string>>,
): Promise<{ readonly rootDigest: string }> {
  const annotations = {
    "io.inspektor-gadget.builder.version": "v0.48.1",
    "org.opencontainers.image.created": "2024-01-01T00:00:00Z",
    "org.opencontainers.image.title": "count execs",
    "org.opencontainers.image.url": "",
  };
  const config = await oras.pushBlob(repository, gadgetTypes.config, gadgetYaml);
  const wasm = await oras.pushBlob(repository, gadgetTypes.wasm, emptyModule);
  const manifests: object[] = [];
  for (const [platform, object] of Object.entries(byPlatform)) {
    const program = await oras.pushBlob(repository, gadgetTypes.program, objectBytes(object));
    const manifest = await oras.pushManifest(repository, mediaTypes.ociManifest, {
      schemaVersion: 2,
      artifactType: gadgetTypes.artifact,
      config: { ...config, annotations },
      layers: [program, wasm],
      annotations,
    });
    const [os, architecture] = platform.split("/");
    manifests.push({ ...manifest, annotations, platform: { architecture, os } });
  }
  const { digest } = await oras.pushManifest(`${repository}:v1`, mediaTypes.ociIndex, {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests,
    annotations,
  });
  return { rootDigest: digest };
}
