import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { TemporaryDirectory } from "../reliability/processes.js";
import { execute } from "./images.js";

/** oras against a registry over http. */
export class Oras implements Disposable {
  readonly #directory = new TemporaryDirectory();

  /** Runs it where `files` are, and returns what it prints. */
  async run(
    command: string,
    args: readonly string[],
    files: Readonly<Record<string, Uint8Array | string>> = {},
  ): Promise<string> {
    const cwd = this.#directory.path;
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(cwd, name), bytes);
    const { stdout } = await execute("oras", [...command.split(" "), "--plain-http", ...args], { cwd });
    return stdout.trim();
  }

  /** Pushes a blob, and returns the descriptor that oras makes of it. */
  async pushBlob(repository: string, mediaType: string, bytes: Uint8Array | string): Promise<object> {
    const args = ["--descriptor", "--media-type", mediaType, repository, "blob"];
    return JSON.parse(await this.run("blob push", args, { blob: bytes })) as object;
  }

  /** Pushes a manifest as it is, and returns the descriptor that oras makes of it. */
  async pushManifest(
    reference: string,
    mediaType: string,
    manifest: object,
  ): Promise<{ readonly digest: string }> {
    const args = ["--descriptor", "--media-type", mediaType, reference, "manifest.json"];
    const printed = await this.run("manifest push", args, { "manifest.json": JSON.stringify(manifest) });
    return JSON.parse(printed) as { digest: string };
  }

  [Symbol.dispose](): void {
    this.#directory[Symbol.dispose]();
  }
}
