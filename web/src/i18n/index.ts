import { useMemo } from "react";
import { resolvedLanguage, usePrefs } from "../shell/prefs";
import { type Dict, en } from "./en";
import { type Format, makeFormat } from "./format";
import { ko } from "./ko";

export type { Dict } from "./en";
export type { Format } from "./format";

export const dictionaries: Record<"en" | "ko", Dict> = { en, ko };

export interface I18n {
  t: Dict;
  f: Format;
}

const made = new Map<"en" | "ko", I18n>();

/** i18nOf gives the texts and formats of a language; both are made once. */
export function i18nOf(language: "en" | "ko"): I18n {
  let found = made.get(language);
  if (!found) {
    found = { t: dictionaries[language], f: makeFormat(language) };
    made.set(language, found);
  }
  return found;
}

export function useI18n(): I18n {
  const language = resolvedLanguage(usePrefs());
  return useMemo(() => i18nOf(language), [language]);
}
