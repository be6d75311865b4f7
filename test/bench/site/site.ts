import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

export interface SiteOptions {
  /** Whether TLS is spoken. */
  readonly isSecure: boolean;
  /** Whether it gives nothing without a Bearer token. */
  readonly hasTokens: boolean;
}

export type SiteQuestion =
  | { readonly ask: "delay"; readonly roundTripMs: number }
  | { readonly ask: "reset" }
  | { readonly ask: "count" };

export interface SiteAnswer {
  readonly requests?: number;
  readonly connections?: number;
  readonly host?: string;
  readonly directHost?: string;
  readonly storage?: string;
  readonly caFile?: string;
}

/** A real registry on loopback, behind a network that is as slow as it is told to be. */
export class Site {
  readonly #child: ChildProcess;
  /** What references begin with. */
  readonly host: string;
  /** The registry without the network in front of it. */
  readonly directHost: string;
  /** Where the registry keeps its content. */
  readonly storage: string;
  readonly caFile: string;
  readonly isSecure: boolean;

  private constructor(child: ChildProcess, isSecure: boolean, answer: SiteAnswer) {
    this.#child = child;
    this.isSecure = isSecure;
    this.host = answer.host ?? "";
    this.directHost = answer.directHost ?? "";
    this.storage = answer.storage ?? "";
    this.caFile = answer.caFile ?? "";
  }

  static async start(options: SiteOptions): Promise<Site> {
    const program = fileURLToPath(new URL("site-process.js", import.meta.url));
    const child = fork(program, [JSON.stringify(options)]);
    const [answer] = (await Promise.race([
      once(child, "message"),
      once(child, "exit").then(() => Promise.reject(new Error("the registry could not be started"))),
    ])) as [SiteAnswer];
    return new Site(child, options.isSecure, answer);
  }

  async setRoundTrip(roundTripMs: number): Promise<void> {
    await this.#ask({ ask: "delay", roundTripMs });
  }

  /** Counts requests from here on. */
  async reset(): Promise<void> {
    await this.#ask({ ask: "reset" });
  }

  async count(): Promise<number> {
    return (await this.#ask({ ask: "count" })).requests ?? Number.NaN;
  }

  /** What programs in Go take as the authorities that they trust. */
  get environment(): Readonly<Record<string, string>> {
    return this.isSecure ? { SSL_CERT_FILE: this.caFile } : {};
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.disconnect();
    await ended;
  }

  async #ask(question: SiteQuestion): Promise<SiteAnswer> {
    const answered = once(this.#child, "message");
    this.#child.send(question);
    const [answer] = (await answered) as [SiteAnswer];
    return answer;
  }
}
