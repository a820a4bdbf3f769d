import { useSyncExternalStore } from "react";
import { useI18n } from "../i18n";
import css from "./toast.module.css";

/** One short message at a time, read out by screen readers and gone after a moment. */
class Toast {
  #text = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #listeners = new Set<() => void>();

  get = () => this.#text;
  subscribe = (listener: () => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  say(text: string) {
    clearTimeout(this.#timer);
    this.#set(text);
    this.#timer = setTimeout(() => this.#set(""), 2500);
  }

  #set(text: string) {
    this.#text = text;
    for (const l of this.#listeners) l();
  }
}

export const toast = new Toast();

export function ToastRegion() {
  const text = useSyncExternalStore(toast.subscribe, toast.get);
  return (
    <div role="status" className={text ? css["toast"] : "sr-only"}>
      {text}
    </div>
  );
}

/** useCopy puts text on the clipboard and says so. */
export function useCopy(): (text: string, said?: string) => void {
  const { t } = useI18n();
  return (text, said = t.app.copied) => {
    copyText(text).then(
      () => toast.say(said),
      () => toast.say(t.app.copyFailed),
    );
  };
}

async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Plain http on another host has no clipboard interface; a selection still works.
  const area = document.createElement("textarea");
  area.value = text;
  area.style.position = "fixed";
  area.style.opacity = "0";
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
  if (!done) throw new Error("copy");
}
