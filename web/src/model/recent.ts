/** Searches that were made in this browser, newest first, each once. */
export const recentKey = "spanloom.recentSearches";
export const mostRecent = 15;

export function readRecent(text: string | null): string[] {
  try {
    const list: unknown = JSON.parse(text ?? "[]");
    if (!Array.isArray(list)) return [];
    return list.filter((x): x is string => typeof x === "string" && x.length <= 4096).slice(0, mostRecent);
  } catch {
    return [];
  }
}

export function withRecent(list: readonly string[], query: string): string[] {
  if (!query || query.length > 4096) return [...list];
  return [query, ...list.filter((q) => q !== query)].slice(0, mostRecent);
}
