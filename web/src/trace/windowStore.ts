import { useSyncExternalStore } from "react";
import { clampWindow, fullWindow, isFull, type Span2 } from "../model/window";

/**
 * The visible part of the time axis, outside of React: panning changes it with every frame, and only
 * the axis and the canvases care. The URL follows when it rests.
 */
export class WindowStore {
  readonly duration: number;
  #value: Span2;
  #listeners = new Set<() => void>();

  constructor(duration: number, from: Span2 | undefined) {
    this.duration = duration;
    this.#value = from ? clampWindow(from, duration) : fullWindow(duration);
  }

  get = () => this.#value;

  subscribe = (listener: () => void) => {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  };

  set(next: Span2) {
    const w = clampWindow(next, this.duration);
    if (w[0] === this.#value[0] && w[1] === this.#value[1]) return;
    this.#value = w;
    for (const l of this.#listeners) l();
  }

  all() {
    this.set(fullWindow(this.duration));
  }

  /** As it stands in the URL: nothing when all is shown. */
  forUrl(): Span2 | undefined {
    return isFull(this.#value, this.duration) ? undefined : this.#value;
  }
}

export function useWindow(store: WindowStore): Span2 {
  return useSyncExternalStore(store.subscribe, store.get);
}
