import { BpfcacheError } from "../core/errors.js";

const powers = ["", "k", "m", "g", "t"];

/**
 * A number of bytes: `1000000`, or with a unit. K, KiB, M, MiB, G, GiB, T and TiB are powers of 1024, as Docker and
 * systemd read them; KB, MB, GB and TB are powers of 1000. Throws USAGE.
 */
export function parseSize(text: string): number {
  const { number, power = "", suffix = "" } = pattern.exec(text)?.groups ?? {};
  const base = suffix.toLowerCase() === "b" && power !== "" ? 1000 : 1024;
  const bytes = Math.round(Number(number) * base ** powers.indexOf(power.toLowerCase()));
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new BpfcacheError("USAGE", `${JSON.stringify(text)} is not a size`, {
    hint: "Write a number of bytes, or one with K, M, G or T, such as 500M or 1.5GiB.",
  });
}

const pattern = /^(?<number>\d+(?:\.\d+)?) ?(?:(?<power>[kmgt])(?<suffix>i?b)?|b)?$/i;
