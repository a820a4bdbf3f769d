/** Parameters of a URL that a page does not know: kept as they are, in order. */
export type Rest = [key: string, value: string][];

/** restOf collects the parameters whose key is not known. */
export function restOf(params: URLSearchParams, known: readonly string[]): Rest {
  return [...params].filter(([key]) => !known.includes(key));
}

/** build joins parts (an undefined or empty one is left out) and the rest to a query without "?". */
export function build(parts: [string, string | undefined][], rest: Rest): string {
  const all = [...parts.filter((p): p is [string, string] => p[1] !== undefined && p[1] !== ""), ...rest];
  return all.map(([k, v]) => `${component(k).replaceAll("=", "%3D")}=${component(v)}`).join("&");
}

/** Readable escapes: what may stand in a query bare, stands bare. */
function component(text: string): string {
  return encodeURIComponent(text.toWellFormed())
    .replace(/%20/g, "+")
    .replace(/%(3A|2F|2C|3D|3F|40|7E|21|2A)/gi, (m) => decodeURIComponent(m));
}
