import { slots } from "../model/colour";

/** The colours and sizes that canvas code needs, out of the same tokens.css as everything else. */
export interface Tokens {
  services: string[];
  text: string;
  textMuted: string;
  background: string;
  line: string;
  lineStrong: string;
  accent: string;
  error: string;
  warn: string;
  hit: string;
  font: string;
  row: number;
}

/** readTokens asks the document once; call it again when theme or density change. */
export function readTokens(): Tokens {
  const style = getComputedStyle(document.documentElement);
  const value = (name: string) => style.getPropertyValue(name).trim();
  return {
    services: Array.from({ length: slots }, (_, i) => value(`--svc-${i}`)),
    text: value("--text"),
    textMuted: value("--text-2"),
    background: value("--bg"),
    line: value("--line"),
    lineStrong: value("--line-strong"),
    accent: value("--accent"),
    error: value("--error"),
    warn: value("--warn"),
    hit: value("--hit"),
    font: value("--font"),
    row: Number.parseInt(value("--row"), 10) || 24,
  };
}
