import { parseDigest } from "../../core/digest.js";
import type { Reference } from "../../core/reference.js";
import type { Descriptor } from "../../image/descriptor.js";
import { acceptedManifests, indexMediaTypes, manifestMediaTypes } from "../../image/media-types.js";
import type { Endpoint } from "./endpoint.js";
import { RegistryFailure } from "./failure.js";
import type { RegistryRequest } from "./registry-client.js";

/** Asks for what a reference names: by its digest if it has one, whatever its tag. */
export function manifestRequest(endpoint: Endpoint, reference: Reference): RegistryRequest {
  const { repository, digest, tag = "latest" } = reference;
  return {
    method: "GET",
    endpoint,
    path: `manifests/${digest ?? tag}`,
    headers: { accept: acceptedManifests },
    accepts: [200],
    what: digest === undefined ? `image ${repository}:${tag}` : `image ${repository}@${digest}`,
  };
}

/** Asks for one manifest or blob of a repository. */
export function contentRequest(
  endpoint: Endpoint,
  reference: Reference,
  descriptor: Descriptor,
): RegistryRequest {
  const { repository } = reference;
  // Descriptors come from documents of strangers; a digest becomes part of a URL (CVE-2024-3727).
  const digest = parseDigest(descriptor.digest);
  const isManifest =
    indexMediaTypes.has(descriptor.mediaType) || manifestMediaTypes.has(descriptor.mediaType);
  return {
    method: "GET",
    endpoint,
    path: isManifest ? `manifests/${digest}` : `blobs/${digest}`,
    headers: { accept: isManifest ? acceptedManifests : "*/*" },
    accepts: [200],
    what: `${isManifest ? "manifest" : "blob"} ${digest} of ${repository}`,
  };
}

/**
 * A layer that lives elsewhere would have us ask a stranger's server on a stranger's word (CVE-2020-15157). Throws
 * INVALID_IMAGE.
 */
export function refuseForeign({ mediaType, urls, digest }: Descriptor): void {
  const isForeign = /nondistributable|\.foreign\./.test(mediaType);
  if (!isForeign && (urls === undefined || urls.length === 0)) return;
  throw new RegistryFailure(
    "INVALID_IMAGE",
    `${digest} is a foreign layer, kept outside the registry; those are not fetched`,
    {
      hint: "Push the image again with a tool that puts all of its layers into the registry.",
    },
  );
}
