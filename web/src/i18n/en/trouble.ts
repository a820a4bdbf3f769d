const s = (n: number) => (n === 1 ? "" : "s");

/** What the overview says besides figures: the doctor's worst finding, and who is missing. */
export const trouble = {
  label: "What needs attention",
  more: (n: number, text: string) => `${text} more finding${s(n)}`,
  missing: (n: number, text: string) => `${text} service${s(n)} missing`,
  missingMore: (text: string) => `${text} more on the map`,
};
