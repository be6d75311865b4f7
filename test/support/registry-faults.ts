import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** What an answer is about to be. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** How an answer goes wrong. Members combine; those left out leave that part of the answer right. */
export interface Fault {
  readonly status?: number;
  /** Set over the right ones; `undefined` takes one away. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** Other bytes than the right ones; Content-Length follows them, the digest header does not. */
  readonly body?: Uint8Array | string;
  /** Said in Content-Length whatever is sent; `none` sends the body chunked, without a length. */
  readonly contentLength?: number | "none";
  /** Send only this many bytes of the body and then close the connection as if all were well. */
  readonly truncateAt?: number;
  /** Send this many bytes and then reset the connection. With 0 not even the headers are sent. */
  readonly destroyAt?: number;
  /** Wait before anything is sent. */
  readonly delayMs?: number;
  /** Wait between the headers with the first half of the body, and the rest. */
  readonly stallMs?: number;
  /** As `stallMs`, until this is fulfilled. */
  readonly stallUntil?: Promise<void>;
  /** Answer 307 (or `status`) with this Location. */
  readonly redirect?: string;
}

/** The answer with its status, headers and body replaced; how it is sent is `send`'s. */
export function applyFault(answer: Answer, fault: Fault): Answer {
  const body = fault.body === undefined ? answer.body : Buffer.from(fault.body);
  const headers: Record<string, string | undefined> = { ...answer.headers, ...fault.headers };
  if (fault.body !== undefined) headers["content-length"] = String(body.byteLength);
  if (fault.redirect !== undefined) headers["location"] = fault.redirect;
  const kept = Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const status = fault.status ?? (fault.redirect === undefined ? answer.status : 307);
  return { status, headers: Object.fromEntries(kept), body };
}

/** Sends the answer, broken as the fault says. */
export async function send(response: ServerResponse, answer: Answer, fault: Fault = {}): Promise<void> {
  if (fault.delayMs !== undefined) await sleep(fault.delayMs, undefined, { ref: false });
  if (fault.destroyAt === 0) {
    response.socket?.resetAndDestroy();
    return;
  }
  const headers = { ...answer.headers };
  if (fault.contentLength === "none") delete headers["content-length"];
  else if (fault.contentLength !== undefined) headers["content-length"] = String(fault.contentLength);
  response.writeHead(answer.status, headers);

  const cut = fault.destroyAt ?? fault.truncateAt;
  if (cut !== undefined) {
    response.flushHeaders();
    if (cut > 0) await new Promise((flushed) => response.write(answer.body.subarray(0, cut), flushed));
    if (fault.destroyAt === undefined) response.socket?.end();
    else response.socket?.resetAndDestroy();
    return;
  }
  if (fault.stallMs !== undefined || fault.stallUntil !== undefined) {
    const half = answer.body.byteLength >> 1;
    response.write(answer.body.subarray(0, half));
    await (fault.stallUntil ?? sleep(fault.stallMs, undefined, { ref: false }));
    response.end(answer.body.subarray(half));
    return;
  }
  response.end(answer.body);
  if (fault.contentLength !== undefined && fault.contentLength !== "none") response.socket?.end();
}
