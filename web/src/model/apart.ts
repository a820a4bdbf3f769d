/** Which spans are set against the rest: the slow ones, the failed ones, or those of a part of the heatmap. */
export type Apart =
  | { kind: "slow" }
  | { kind: "failed" }
  /** Starts in [from, to) in ms since the epoch, durations in [least, most) in ns; most 0 is open. */
  | { kind: "area"; from: number; to: number; least: number; most: number };

export function parseApart(text: string | null): Apart | undefined {
  if (text === "slow" || text === "failed") return { kind: text };
  const m = /^(\d{1,15})-(\d{1,15})-(\d{1,19})-(\d{1,19})$/.exec(text ?? "");
  if (!m) return undefined;
  const [from, to, least, most] = m.slice(1).map(Number) as [number, number, number, number];
  if (from >= to || (most !== 0 && least >= most) || !Number.isSafeInteger(most)) return undefined;
  return { kind: "area", from, to, least, most };
}

export function formatApart(a: Apart | undefined): string | undefined {
  if (!a) return undefined;
  return a.kind === "area" ? `${a.from}-${a.to}-${a.least}-${a.most}` : a.kind;
}
