/** Lets this thread do nothing meanwhile: for what has to be synchronous, and waits seldom and briefly. */
export function blockFor(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
