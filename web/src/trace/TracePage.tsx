export function TracePage(_: { id: string }) {
  return null;
}
