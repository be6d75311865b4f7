/**
 * Takes the files of a bundle. Nothing stands at the place it is for until `commit` has put all of it there at once,
 * safely on the disk. Errors are those of the file system; `writeFailure` says what they mean.
 */
export interface BundleSink {
  /**
   * A regular file; `/` is between the parts of its path, and each path is given once. Fulfilled as soon as there is
   * room for the next one, so a failure may come from a later call.
   */
  write(path: string, bytes: Uint8Array): Promise<void>;
  commit(): Promise<void>;
  /** Gives up: nothing stays of what was written. */
  abandon(): Promise<void>;
}
