/** What a user shows to a registry. Never stored, never logged; `from` says where it was found, for messages. */
export type Credential =
  | { readonly kind: "password"; readonly username: string; readonly password: string; readonly from: string }
  /** An OAuth2 refresh token, as `docker login` keeps for some registries: it buys access tokens. */
  | { readonly kind: "identity-token"; readonly token: string; readonly from: string }
  /** A finished Bearer token. */
  | { readonly kind: "registry-token"; readonly token: string; readonly from: string };

export interface CredentialProvider {
  /**
   * The credential for a repository of a registry, or undefined to stay anonymous. `host` is the registry as references
   * name it (docker.io, localhost:5000). Asked only once a registry demands it. Throws USAGE when a file with
   * credentials cannot be read, TOOL_FAILED when a helper program fails, INTERRUPTED when aborted.
   */
  credentialFor(host: string, repository: string, signal?: AbortSignal): Promise<Credential | undefined>;
}
