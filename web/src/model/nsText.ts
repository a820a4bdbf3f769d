/** nsText is a duration in ns as filters write it: the largest unit in which it is a short number. */
export function nsText(ns: number): string {
  const n = Math.max(0, Math.round(ns));
  const units: [number, string][] = [
    [1e9, "s"],
    [1e6, "ms"],
    [1e3, "us"],
  ];
  for (const [size, unit] of units) {
    // Fractions of very long durations are beyond what a number holds exactly.
    if (n >= size && n % (n < 1e13 ? size / 1000 : size) === 0) return `${n / size}${unit}`;
  }
  return `${n}ns`;
}
