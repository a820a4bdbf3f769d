/** Number of service colours. The backend keeps which service has which, so it is the same for all. */
export const slots = 20;

/** slotVar is the CSS variable of a service's colour; slots out of range wrap. */
export function slotVar(slot: number): string {
  return `var(--svc-${((Math.trunc(slot) % slots) + slots) % slots || 0})`;
}

/** change compares a figure with the hour before: 0.12 is 12 % more; undefined when there is nothing to compare. */
export function change(now: number, before: number | undefined): number | undefined {
  if (before === undefined || !(before > 0) || !Number.isFinite(now)) return undefined;
  return now / before - 1;
}
