/** Characters that are not seen and turn or break a line. A joiner between two pictures makes one of them and is kept (group 1). */
const unseen =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are meant
  /((?<=\p{Extended_Pictographic}\ufe0f?)\u200d(?=\p{Extended_Pictographic}))|[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

/**
 * visible shows what a name hides, for names come from whoever sends spans: a right-to-left override must not make "live" of "evil",
 * nor blanks a name that cannot be seen.
 */
export function visible(name: string): string {
  const shown = name.replace(unseen, (_, joiner?: string) => joiner ?? "\ufffd");
  return shown.trim() === "" ? shown.replace(/\s/g, "␣") : shown;
}
