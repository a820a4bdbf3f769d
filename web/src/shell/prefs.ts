import { useSyncExternalStore } from "react";
import { type LogTemplate, readTemplates } from "../model/logLinks";

/** What a person chose by hand. Kept in this browser only, never in a URL. */
export interface Prefs {
  theme: "system" | "light" | "dark";
  /** Undefined follows the browser. */
  language: "en" | "ko" | undefined;
  density: "normal" | "dense";
  /** Width of the waterfall's name column and of the details panel, pixels. */
  nameWidth: number;
  panelWidth: number;
  /** Whether the search shows its query as TraceQL too. */
  filterText: boolean;
  /** Whether the search shows durations over time. */
  heatmap: boolean;
  /** Links from spans to logs. */
  logLinks: LogTemplate[];
}

export const defaultPrefs: Prefs = {
  theme: "system",
  language: undefined,
  density: "normal",
  nameWidth: 380,
  panelWidth: 420,
  filterText: false,
  heatmap: true,
  logLinks: [],
};

const key = "spanloom.prefs";

/** readPrefs takes what is valid in stored text and the default for all else. */
export function readPrefs(text: string | null): Prefs {
  let stored: Partial<Record<keyof Prefs, unknown>> = {};
  try {
    const value: unknown = JSON.parse(text ?? "{}");
    if (value && typeof value === "object") stored = value;
  } catch {
    // Whatever another version or a person left there is not worth an error.
  }
  const oneOf = <T>(value: unknown, values: readonly T[], otherwise: T): T =>
    values.includes(value as T) ? (value as T) : otherwise;
  const width = (value: unknown, otherwise: number) =>
    typeof value === "number" && value >= 120 && value <= 2000 ? Math.round(value) : otherwise;
  return {
    theme: oneOf(stored.theme, ["system", "light", "dark"] as const, defaultPrefs.theme),
    language: oneOf(stored.language, ["en", "ko", undefined] as const, undefined),
    density: oneOf(stored.density, ["normal", "dense"] as const, defaultPrefs.density),
    nameWidth: width(stored.nameWidth, defaultPrefs.nameWidth),
    panelWidth: width(stored.panelWidth, defaultPrefs.panelWidth),
    filterText: stored.filterText === true,
    heatmap: stored.heatmap !== false,
    logLinks: readTemplates(stored.logLinks),
  };
}

class PrefsStore {
  #value: Prefs;
  #listeners = new Set<() => void>();

  constructor() {
    this.#value = readPrefs(this.#stored());
    // Another tab changed them: follow.
    addEventListener("storage", (e) => {
      if (e.key === key) this.#set(readPrefs(e.newValue));
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
      this.#set({ ...this.#value }),
    );
    this.#apply();
  }

  get = () => this.#value;

  subscribe = (listener: () => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  change(part: Partial<Prefs>) {
    this.#set({ ...this.#value, ...part });
    try {
      localStorage.setItem(key, JSON.stringify(this.#value));
    } catch {
      // Forbidden in some frames: the choice then lasts as long as the page.
    }
  }

  #stored(): string | null {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  }

  #set(value: Prefs) {
    this.#value = value;
    this.#apply();
    for (const listener of this.#listeners) listener();
  }

  #apply() {
    const root = document.documentElement;
    root.dataset["theme"] = resolvedTheme(this.#value);
    root.dataset["density"] = this.#value.density;
    root.lang = resolvedLanguage(this.#value);
  }
}

export function resolvedTheme(p: Prefs): "light" | "dark" {
  if (p.theme !== "system") return p.theme;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

export function resolvedLanguage(p: Prefs): "en" | "ko" {
  if (p.language) return p.language;
  for (const language of navigator.languages ?? [navigator.language]) {
    if (/^ko\b/i.test(language)) return "ko";
    if (/^en\b/i.test(language)) return "en";
  }
  return "en";
}

export const prefs = new PrefsStore();

export function usePrefs(): Prefs {
  return useSyncExternalStore(prefs.subscribe, prefs.get);
}
