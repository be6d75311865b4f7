/** Response headers as undici hands them out: lower-case names, a list where a header came more than once. */
export type ResponseHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** The first value of a header. */
export function header(headers: ResponseHeaders, name: string): string | undefined {
  return headerValues(headers, name)[0];
}

export function headerValues(headers: ResponseHeaders, name: string): readonly string[] {
  const value = headers[name];
  if (value === undefined) return [];
  return typeof value === "string" ? [value] : value;
}

/** A media type without its parameters, lower case: `application/json; charset=utf-8` is `application/json`. */
export function contentType(headers: ResponseHeaders): string | undefined {
  const type = header(headers, "content-type")?.split(";")[0]?.trim().toLowerCase();
  return type === "" ? undefined : type;
}

/** Content-Length as a number, or undefined when it is missing or not one. */
export function contentLength(headers: ResponseHeaders): number | undefined {
  const value = header(headers, "content-length");
  return value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}
