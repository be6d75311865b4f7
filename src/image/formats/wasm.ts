import type { ImageManifest } from "../manifest.js";
import { annotationLabels } from "./annotations.js";
import { readArtifact } from "./artifact.js";
import type { ExtractedImage, ExtractOptions, ImageContent, ImageFormat } from "./format.js";

/** Of eunomia and wasm-to-oci, of solo.io's compat format, of the CNCF's layout and of the Bytecode Alliance. */
const moduleTypes: ReadonlySet<string> = new Set([
  "application/wasm",
  "application/vnd.wasm.content.layer.v1+wasm",
  "application/vnd.module.wasm.content.layer.v1+wasm",
  "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
]);

const configTypes: ReadonlySet<string> = new Set([
  "application/vnd.wasm.config.v0+json",
  "application/vnd.wasm.config.v1+json",
]);

/** A WebAssembly module, as eunomia-bpf and others ship them; an eBPF object can stand in its custom sections. */
export const wasmFormat: ImageFormat = {
  recognizes({ config, layers }: ImageManifest): boolean {
    return configTypes.has(config.mediaType) || layers.some(({ mediaType }) => moduleTypes.has(mediaType));
  },

  async extract(content: ImageContent, options: ExtractOptions): Promise<ExtractedImage> {
    const { objects, attachments } = await readArtifact(content, options, {
      what: "the WebAssembly image",
      expected: "anything",
      hint: "An object in a custom section of the module would be found, one compiled into its data is not.",
    });
    const labels = annotationLabels(content.manifest);
    // The architecture such a config names is the module's, wasm, and says nothing of the object.
    return { format: "wasm", platform: undefined, labels, objects, attachments };
  },
};
