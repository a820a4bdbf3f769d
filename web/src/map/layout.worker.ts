import type { Task } from "./layout";
import { place } from "./place";

/** Lays graphs out beside the page: a question is a number with a task, the answer the number with what was placed. */
addEventListener("message", (e: MessageEvent<{ n: number; task: Task }>) => {
  const { n, task } = e.data;
  const begin = performance.now();
  try {
    postMessage({ n, placed: place(task), took: performance.now() - begin });
  } catch (cause) {
    postMessage({ n, error: String(cause) });
  }
});
