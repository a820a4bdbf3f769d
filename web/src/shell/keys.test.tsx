import { render } from "@testing-library/react";
import type { ReactNode } from "react";
import { describe, expect, test } from "vitest";
import { en } from "../i18n/en";
import { comboKeys, type Handlers, keyOf, shortcuts, useShortcuts } from "./keys";

function press(target: EventTarget, init: KeyboardEventInit & { composing?: boolean }): KeyboardEvent {
  const e = new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...init });
  if (init.composing) Object.defineProperty(e, "isComposing", { value: true });
  target.dispatchEvent(e);
  return e;
}

function Frame({ children, ...handlers }: Handlers & { children: ReactNode }) {
  useShortcuts(handlers, true);
  return children;
}

function Listening(handlers: Handlers) {
  useShortcuts(handlers);
  return (
    <div data-keys="lists">
      <input aria-label="text" />
      <a href="/x">some trace</a>
      <div tabIndex={0} role="row" data-testid="row" />
    </div>
  );
}

describe("what was pressed", () => {
  const event = (key: string, code: string, more: KeyboardEventInit & { altGraph?: boolean } = {}) => {
    const e = new KeyboardEvent("keydown", { key, code, ...more });
    // The test's document takes any Alt for AltGraph.
    e.getModifierState = (name) => name === "AltGraph" && more.altGraph === true;
    return e;
  };
  test.each([
    ["j on a Latin keyboard", event("j", "KeyJ"), "j"],
    ["j with caps lock", event("J", "KeyJ"), "j"],
    ["shift and n", event("N", "KeyN", { shiftKey: true }), "N"],
    ["ㅓ with Hangul input on", event("ㅓ", "KeyJ"), "j"],
    ["ㄸ is shift and e", event("ㄸ", "KeyE", { shiftKey: true }), "E"],
    ["Cyrillic о", event("о", "KeyJ"), "j"],
    ["j on Dvorak, where another key has it", event("j", "KeyC"), "j"],
    ["c on Dvorak is not j", event("c", "KeyI"), "c"],
    ["? on a US keyboard", event("?", "Slash", { shiftKey: true }), "?"],
    ["a dead layout's slash", event("·", "Slash"), "/"],
    ["a bracket", event("[", "BracketLeft"), "["],
    ["control k", event("k", "KeyK", { ctrlKey: true }), "mod+k"],
    ["command ㅏ", event("ㅏ", "KeyK", { metaKey: true }), "mod+k"],
    ["an arrow", event("ArrowDown", "ArrowDown"), "ArrowDown"],
    ["alt j belongs to the browser", event("j", "KeyJ", { altKey: true }), undefined],
    [
      "AltGr 8 is a bracket in Germany",
      event("[", "Digit8", { ctrlKey: true, altKey: true, altGraph: true }),
      "[",
    ],
    ["a key of the input method", event("Process", "KeyJ"), undefined],
  ])("%s", (_, e, want) => {
    expect(keyOf(e)).toBe(want);
  });
  test("nothing while a character is being composed", () => {
    const e = event("ㅓ", "KeyJ");
    Object.defineProperty(e, "isComposing", { value: true });
    expect(keyOf(e)).toBeUndefined();
  });
});

describe("shortcuts", () => {
  test("act on the page, not in text fields, not while composing", () => {
    const calls: string[] = [];
    const { getByLabelText } = render(
      <Listening listDown={() => calls.push("down")} help={() => calls.push("help")} />,
    );
    press(document.body, { key: "j", code: "KeyJ" });
    press(document.body, { key: "ㅓ", code: "KeyJ" });
    press(document.body, { key: "ㅓ", code: "KeyJ", composing: true });
    press(getByLabelText("text"), { key: "j", code: "KeyJ" });
    press(getByLabelText("text"), { key: "?", code: "Slash", shiftKey: true });
    press(document.body, { key: "?", code: "Slash", shiftKey: true });
    expect(calls).toEqual(["down", "down", "help"]);
  });
  test("g and o follow each other; g alone does nothing", () => {
    const calls: string[] = [];
    render(<Listening goOverview={() => calls.push("overview")} openTab={() => calls.push("tab")} />);
    press(document.body, { key: "g", code: "KeyG" });
    press(document.body, { key: "o", code: "KeyO" });
    press(document.body, { key: "o", code: "KeyO" });
    expect(calls).toEqual(["overview", "tab"]);
  });
  test("arrows act inside the list alone; Enter on a link stays the link's", () => {
    const calls: string[] = [];
    const { getByTestId, getByText } = render(
      <Listening listDown={() => calls.push("down")} listOpen={() => calls.push("open")} />,
    );
    press(document.body, { key: "ArrowDown", code: "ArrowDown" });
    press(getByTestId("row"), { key: "ArrowDown", code: "ArrowDown" });
    press(getByText("some trace"), { key: "Enter", code: "Enter" });
    press(getByTestId("row"), { key: "Enter", code: "Enter" });
    expect(calls).toEqual(["down", "open"]);
  });
  test("the last mounted is asked first, and what it answers is prevented", () => {
    const calls: string[] = [];
    render(
      <>
        <Listening focusSearch={() => calls.push("frame")} />
        <Listening focusSearch={() => calls.push("page")} />
      </>,
    );
    expect(press(document.body, { key: "/", code: "Slash" }).defaultPrevented).toBe(true);
    expect(press(document.body, { key: "x", code: "KeyX" }).defaultPrevented).toBe(false);
    expect(calls).toEqual(["page"]);
  });
  test("the frame is asked last, although it is mounted after the page in it", () => {
    const calls: string[] = [];
    render(
      <Frame focusSearch={() => calls.push("frame")} help={() => calls.push("help")}>
        <Listening focusSearch={() => calls.push("page")} />
      </Frame>,
    );
    press(document.body, { key: "/", code: "Slash" });
    press(document.body, { key: "?", code: "Slash", shiftKey: true });
    expect(calls).toEqual(["page", "help"]);
  });
  test("an open dialog has the keyboard to itself", () => {
    const calls: string[] = [];
    render(<Listening listDown={() => calls.push("down")} />);
    const dialog = document.createElement("dialog");
    dialog.setAttribute("open", "");
    document.body.append(dialog);
    press(document.body, { key: "j", code: "KeyJ" });
    dialog.remove();
    expect(calls).toEqual([]);
  });
  test("every shortcut has a text, and no two of one place share a combination", () => {
    const seen = new Set<string>();
    for (const s of shortcuts) {
      expect(en.keys["text" in s ? s.text : s.id]).toBeTruthy();
      for (const combo of s.combos) {
        const key = `${s.where} ${combo}`;
        expect(seen.has(key), key).toBe(false);
        seen.add(key);
      }
    }
  });
  test("keys as people know them", () => {
    expect(comboKeys("mod+k", true)).toEqual(["⌘", "K"]);
    expect(comboKeys("N", false)).toEqual(["Shift", "N"]);
    expect(comboKeys("ArrowLeft", false)).toEqual(["←"]);
  });
});
