import { useSyncExternalStore } from "react";
import { resolvedLanguage, usePrefs } from "../shell/prefs";
import type { Dict } from "./en";
import { type Format, makeFormat } from "./format";

export type { Dict } from "./en";
export type { Format } from "./format";

type Language = "en" | "ko";

/** A reader loads the texts of one language: each is a tenth of all the code. */
const dictionaries: Record<Language, () => Promise<Dict>> = {
  en: async () => (await import("./en")).en,
  ko: async () => (await import("./ko")).ko,
};

export interface I18n {
  t: Dict;
  f: Format;
}

const made = new Map<Language, I18n>();
const loading = new Map<Language, Promise<void>>();
const listeners = new Set<() => void>();

/** loadLanguage makes a language ready; it must have been called for one before anything is rendered. */
export function loadLanguage(language: Language): Promise<void> {
  let load = loading.get(language);
  if (!load) {
    load = dictionaries[language]().then((t) => {
      made.set(language, { t, f: makeFormat(language) });
      for (const l of listeners) l();
    });
    // What failed may be tried again.
    load.catch(() => loading.delete(language));
    loading.set(language, load);
  }
  return load;
}

/** Texts and formats of a language; of one that is there until it is loaded. */
function ready(language: Language): I18n {
  return made.get(language) ?? made.values().next().value!;
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useI18n(): I18n {
  const language = resolvedLanguage(usePrefs());
  if (!made.has(language)) loadLanguage(language).catch(() => {});
  return useSyncExternalStore(subscribe, () => ready(language));
}
