import { afterAll } from "vitest";
import { makeCertificates, type TestCertificates } from "./certificates.js";

/** Certificates for the tests of a file: made when the first of them asks, and removed behind the last. */
export function useCertificates(): Omit<TestCertificates, "remove"> {
  let made: TestCertificates | undefined;
  const all = (): TestCertificates => {
    made ??= makeCertificates();
    return made;
  };
  afterAll(() => made?.remove());
  return {
    get caFile() {
      return all().caFile;
    },
    get ca() {
      return all().ca;
    },
    get key() {
      return all().key;
    },
    get cert() {
      return all().cert;
    },
    get client() {
      return all().client;
    },
  };
}
