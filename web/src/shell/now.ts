import { useSyncExternalStore } from "react";

/** One clock for all relative times of the page; it ticks only while someone looks at it. */
class Clock {
  #now = Date.now();
  #timer: ReturnType<typeof setInterval> | undefined;
  #listeners = new Set<() => void>();

  get = () => this.#now;

  subscribe = (listener: () => void) => {
    if (this.#listeners.size === 0) {
      this.#now = Date.now();
      this.#timer = setInterval(() => {
        this.#now = Date.now();
        for (const l of this.#listeners) l();
      }, 5000);
    }
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) clearInterval(this.#timer);
    };
  };
}

const clock = new Clock();

/** useNow is the time in milliseconds, at most five seconds old. */
export function useNow(): number {
  return useSyncExternalStore(clock.subscribe, clock.get);
}
