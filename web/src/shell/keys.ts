import { useEffect, useRef } from "react";
import type { Dict } from "../i18n";

export type Where = "anywhere" | "lists" | "waterfall" | "time" | "find" | "details" | "map";

/**
 * Every shortcut of the UI, in the order the help shows them. A combination is the key's name,
 * `N` for shift and n, `mod+k` for Ctrl or Command, `g o` for one after the other.
 */
export const shortcuts = [
  { id: "focusSearch", where: "anywhere", combos: ["/"] },
  { id: "palette", where: "anywhere", combos: ["mod+k"] },
  { id: "goOverview", where: "anywhere", combos: ["g o"] },
  { id: "goSearch", where: "anywhere", combos: ["g s"] },
  { id: "goMap", where: "anywhere", combos: ["g m"] },
  { id: "goDoctor", where: "anywhere", combos: ["g d"] },
  { id: "goMesh", where: "anywhere", combos: ["g e"] },
  { id: "goStatus", where: "anywhere", combos: ["g t"] },
  { id: "goHelp", where: "anywhere", combos: ["g h"] },
  { id: "copyLink", where: "anywhere", combos: ["y"] },
  { id: "help", where: "anywhere", combos: ["?"] },
  { id: "close", where: "anywhere", combos: ["Escape"] },
  { id: "listDown", text: "down", where: "lists", combos: ["j", "ArrowDown"] },
  { id: "listUp", text: "up", where: "lists", combos: ["k", "ArrowUp"] },
  { id: "listOpen", text: "open", where: "lists", combos: ["Enter"] },
  { id: "openTab", where: "lists", combos: ["o"] },
  { id: "down", where: "waterfall", combos: ["j", "ArrowDown"] },
  { id: "up", where: "waterfall", combos: ["k", "ArrowUp"] },
  { id: "right", where: "waterfall", combos: ["ArrowRight"] },
  { id: "left", where: "waterfall", combos: ["ArrowLeft"] },
  { id: "home", where: "waterfall", combos: ["Home"] },
  { id: "end", where: "waterfall", combos: ["End"] },
  { id: "foldAll", where: "waterfall", combos: ["["] },
  { id: "unfoldAll", where: "waterfall", combos: ["]"] },
  { id: "level", where: "waterfall", combos: ["1", "2", "3", "4", "5", "6", "7", "8", "9"] },
  { id: "hop", where: "waterfall", combos: ["h"] },
  { id: "nextView", where: "waterfall", combos: ["v"] },
  { id: "panLeft", where: "time", combos: ["a"] },
  { id: "panRight", where: "time", combos: ["d"] },
  { id: "zoomIn", where: "time", combos: ["w"] },
  { id: "zoomOut", where: "time", combos: ["s"] },
  { id: "fit", where: "time", combos: ["z"] },
  { id: "all", where: "time", combos: ["0"] },
  { id: "findInTrace", where: "find", combos: ["f"] },
  { id: "nextHit", where: "find", combos: ["n"] },
  { id: "previousHit", where: "find", combos: ["N"] },
  { id: "nextError", where: "find", combos: ["e"] },
  { id: "previousError", where: "find", combos: ["E"] },
  { id: "critical", where: "find", combos: ["c"] },
  { id: "intoPanel", where: "details", combos: ["Enter"] },
  { id: "backToRow", where: "details", combos: ["Escape"] },
  { id: "mapLeft", where: "map", combos: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"] },
  { id: "mapOpen", where: "map", combos: ["Enter"] },
  { id: "mapFold", where: "map", combos: ["x"] },
  { id: "mapFocus", where: "map", combos: ["f"] },
  { id: "mapTable", where: "map", combos: ["v"] },
  { id: "mapZoomIn", text: "zoomIn", where: "map", combos: ["+", "="] },
  { id: "mapZoomOut", text: "zoomOut", where: "map", combos: ["-"] },
  { id: "mapFit", where: "map", combos: ["0"] },
] as const satisfies readonly Shortcut[];

interface Shortcut {
  id: string;
  text?: keyof Dict["keys"];
  where: Where;
  combos: readonly string[];
}

export type Action = (typeof shortcuts)[number]["id"];
export type Handlers = Partial<Record<Action, (event: KeyboardEvent, key: string) => void>>;

/** Characters that a key gives on a US keyboard, for layouts whose letters are not Latin. */
const codes: Record<string, [plain: string, shifted: string]> = {
  Slash: ["/", "?"],
  BracketLeft: ["[", "{"],
  BracketRight: ["]", "}"],
};

/**
 * keyOf names what was pressed: the letter on the key cap for Latin layouts, the physical key for
 * others, so that with Hangul input on, `ㅓ` is j. Undefined while a character is being composed and
 * for Alt combinations, which belong to the browser and the input method.
 */
export function keyOf(e: KeyboardEvent): string | undefined {
  if (e.isComposing || e.key === "Process" || e.key === "Dead" || e.keyCode === 229) return undefined;
  const altGr = e.getModifierState?.("AltGraph") ?? false;
  if (e.altKey && !altGr) return undefined;
  const mod = (e.ctrlKey || e.metaKey) && !altGr;
  const name = plainKey(e);
  if (name === undefined) return undefined;
  return mod ? `mod+${name.toLowerCase()}` : name;
}

function plainKey(e: KeyboardEvent): string | undefined {
  if (e.key.length > 1) return e.key;
  if (/^[a-z]$/i.test(e.key)) return e.shiftKey ? e.key.toUpperCase() : e.key.toLowerCase();
  if (/^[\x20-\x7e]$/.test(e.key)) return e.key;
  const letter = /^Key([A-Z])$/.exec(e.code)?.[1];
  if (letter) return e.shiftKey ? letter : letter.toLowerCase();
  const digit = /^Digit(\d)$/.exec(e.code)?.[1];
  if (digit) return digit;
  return codes[e.code]?.[e.shiftKey ? 1 : 0];
}

/** Whether typing belongs to what has the focus. */
export function takesText(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (
    target.isContentEditable ||
    target instanceof HTMLTextAreaElement ||
    target instanceof HTMLSelectElement
  )
    return true;
  return target instanceof HTMLInputElement && !/^(checkbox|radio|button|submit|range)$/.test(target.type);
}

const named = /^(Arrow|Home$|End$|Enter$)/;

/** Keys that an element with the focus answers itself must reach it. */
function belongsToTarget(key: string, where: Where, target: EventTarget | null): boolean {
  if (!named.test(key)) return false;
  if (!(target instanceof Element)) return true;
  if (key === "Enter" && target.closest("a,button,summary,label")) return true;
  return !target.closest(`[data-keys~="${where}"]`);
}

class Hub {
  #stack: Handlers[] = [];
  #prefix = "";
  #prefixAt = 0;

  add(handlers: Handlers, frame: boolean): () => void {
    if (this.#stack.length === 0) document.addEventListener("keydown", this.#onKey);
    if (frame) this.#stack.unshift(handlers);
    else this.#stack.push(handlers);
    return () => {
      this.#stack.splice(this.#stack.indexOf(handlers), 1);
      if (this.#stack.length === 0) document.removeEventListener("keydown", this.#onKey);
    };
  }

  #onKey = (e: KeyboardEvent) => {
    if (e.defaultPrevented) return;
    const key = keyOf(e);
    if (key === undefined || key === "Shift" || key === "Control" || key === "Meta") return;
    // An editor in a shadow root is behind the element that the document sees.
    const typing = takesText(e.composedPath()[0] ?? e.target);
    if (typing && key !== "Escape" && key !== "mod+k") return;
    // A modal dialog has the keyboard to itself.
    if (document.querySelector("dialog[open]")) return;

    const prefix = e.timeStamp - this.#prefixAt < 1200 ? this.#prefix : "";
    this.#prefix = "";
    const wanted = prefix ? `${prefix} ${key}` : key;
    if (this.#run(wanted, e, key) || (prefix && this.#run(key, e, key))) return;
    if (shortcuts.some((s) => s.combos.some((c) => c.startsWith(`${key} `)))) {
      this.#prefix = key;
      this.#prefixAt = e.timeStamp;
    }
  };

  #run(combo: string, e: KeyboardEvent, key: string): boolean {
    for (let i = this.#stack.length - 1; i >= 0; i--) {
      const handlers = this.#stack[i]!;
      for (const s of shortcuts as readonly Shortcut[]) {
        const handler = handlers[s.id as Action];
        if (!handler || !s.combos.includes(combo) || belongsToTarget(key, s.where, e.target)) continue;
        e.preventDefault();
        handler(e, key);
        return true;
      }
    }
    return false;
  }
}

const hub = new Hub();

/**
 * useShortcuts answers shortcuts while the component is mounted; the last mounted is asked first, the frame around all
 * pages last: its effects run after those of a page that is mounted with it.
 */
export function useShortcuts(handlers: Handlers, frame = false): void {
  const latest = useRef(handlers);
  latest.current = handlers;
  useEffect(() => {
    // The set of actions may change from render to render, so each is looked up when it is due.
    const live: Handlers = new Proxy({}, { get: (_, id) => latest.current[id as Action] });
    return hub.add(live, frame);
  }, [frame]);
}

/** Keys as they are shown to people. */
export function comboKeys(combo: string, mac: boolean): string[] {
  const names: Record<string, string> = {
    ArrowDown: "↓",
    ArrowUp: "↑",
    ArrowLeft: "←",
    ArrowRight: "→",
    Escape: "Esc",
  };
  if (combo.startsWith("mod+")) return [mac ? "⌘" : "Ctrl", combo.slice(4).toUpperCase()];
  if (/^[A-Z]$/.test(combo)) return ["Shift", combo];
  return [names[combo] ?? combo];
}
