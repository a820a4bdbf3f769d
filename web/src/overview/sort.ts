import type { Service } from "../api/types";
import type { Column } from "../model/overviewUrl";

/** sortServices orders by a column; services without calls come last whichever way it goes. */
export function sortServices(services: readonly Service[], column: Column, descending: boolean): Service[] {
  const sign = descending ? -1 : 1;
  const byName = (a: Service, b: Service) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  if (column === "name") return [...services].sort((a, b) => sign * byName(a, b));
  const value = (s: Service) => {
    if (!s.red || s.red.n === 0) return undefined;
    return column === "errors" ? s.red.errorRate : s.red[column];
  };
  return [...services].sort((a, b) => {
    const x = value(a);
    const y = value(b);
    if (x === undefined || y === undefined)
      return Number(x === undefined) - Number(y === undefined) || byName(a, b);
    return sign * (x - y) || byName(a, b);
  });
}
