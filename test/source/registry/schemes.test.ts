import { describe, expect, it } from "vitest";
import { ownLocation } from "../../../src/source/locations/location.js";
import { endpointOf } from "../../../src/source/registry/endpoint.js";
import { NetworkFailure } from "../../../src/source/registry/network-failure.js";
import { Schemes } from "../../../src/source/registry/schemes.js";
import type { Answer } from "../../../src/source/registry/transport.js";
import { failureOf } from "./support.js";

const answer = { status: 200, discard: async () => undefined } as unknown as Answer;
const usual = { plainHttp: [], isTlsLikely: false };
const insecure = endpointOf(
  { ...ownLocation({ host: "mirror.example", repository: "a" }), schemes: ["https:", "http:"] },
  usual,
);

function failing(code: string): NetworkFailure {
  return new NetworkFailure("mirror.example", "it failed", code, undefined);
}

describe("a host that may speak https or http", () => {
  it.each(["ECONNREFUSED", "EPROTO", "ECONNRESET", "ERR_SSL_WRONG_VERSION_NUMBER"])(
    "is asked over http after %s, and only so from then on",
    async (code) => {
      const schemes = new Schemes();
      const asked: string[] = [];
      const ask = async (origin: string) => {
        asked.push(origin);
        if (origin.startsWith("https:")) throw failing(code);
        return answer;
      };
      expect(await schemes.reach(insecure, ask)).toBe(answer);
      await schemes.reach(insecure, ask);
      expect(asked).toEqual(["https://mirror.example", "http://mirror.example", "http://mirror.example"]);
      expect(schemes.origin(insecure)).toBe("http://mirror.example");
      const secure = endpointOf(ownLocation({ host: "mirror.example", repository: "a" }), usual);
      expect(schemes.origin(secure)).toBe("https://mirror.example");
    },
  );

  it.each(["CERT_HAS_EXPIRED", "UND_ERR_CONNECT_TIMEOUT"])(
    "is not asked over http after %s",
    async (code) => {
      const asked: string[] = [];
      const ask = async (origin: string): Promise<Answer> => {
        asked.push(origin);
        throw failing(code);
      };
      expect((await failureOf(new Schemes().reach(insecure, ask))).code).toBe("UNREACHABLE");
      expect(asked).toEqual(["https://mirror.example"]);
    },
  );

  it("that speaks neither has its first failure told", async () => {
    const ask = async (origin: string): Promise<Answer> => {
      throw failing(origin.startsWith("https:") ? "EPROTO" : "ECONNRESET");
    };
    expect(await failureOf(new Schemes().reach(insecure, ask))).toMatchObject({ systemCode: "EPROTO" });
  });
});
