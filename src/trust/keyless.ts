import type { Verifier } from "@sigstore/verify";
import { BpfcacheError } from "../core/errors.js";
import { loadSigstoreTypes, loadSigstoreVerify } from "./packages.js";
import type { Certified } from "./signature.js";

/** Who a certificate says has signed, and who vouches for that. */
export interface CertifiedIdentity {
  readonly identity: string;
  readonly issuer: string;
}

/** Tells whose signatures with certificates are, by one trusted root. */
export class KeylessVerifier {
  readonly #verifier: Verifier;

  /** Throws USAGE for a root that cannot be read. */
  constructor(root: unknown, name: string) {
    try {
      const { TrustedRoot } = loadSigstoreTypes();
      const { toTrustMaterial, Verifier } = loadSigstoreVerify();
      const parsed = TrustedRoot.fromJSON(root);
      // What the root names is demanded. One without a log is of a site that has none; the time when a certificate was
      // used then comes from an authority for timestamps, and without either nothing is accepted.
      this.#verifier = new Verifier(toTrustMaterial(parsed), {
        ctlogThreshold: Math.min(1, parsed.ctlogs.length),
        tlogThreshold: Math.min(1, parsed.tlogs.length),
        timestampThreshold: 1,
      });
    } catch (cause) {
      throw new BpfcacheError("USAGE", `${name} is not a trusted root of Sigstore's`, { cause });
    }
  }

  /** Throws an Error that says what is wrong. */
  identify({ bundle, artifact }: Certified): CertifiedIdentity {
    const { toSignedEntity } = loadSigstoreVerify();
    const signer = this.#verifier.verify(toSignedEntity(bundle, artifact));
    const identity = signer.identity?.subjectAlternativeName;
    const issuer = signer.identity?.extensions?.issuer;
    if (identity === undefined || identity === "") throw new Error("its certificate names nobody");
    if (issuer === undefined || issuer === "")
      throw new Error("its certificate does not say who issued the identity");
    return { identity, issuer };
  }
}
