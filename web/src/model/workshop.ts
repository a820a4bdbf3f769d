import type { Trace } from "./trace";
import { type FromWorker, parseSkeleton, type Question, type Result, type Task, tasks } from "./work";

/** Traces up to this many rows are worked on at once, on the page's own thread: it takes a few milliseconds. */
export const inlineRows = 20_000;
/** Answers up to this size are parsed at once. */
export const inlineBytes = 2 << 20;

type Waiting = { resolve: (value: never) => void; reject: (error: Error) => void };

class Workshop {
  #worker: Worker | undefined;
  #waiting = new Map<number, Waiting>();
  #next = 1;
  /** Under which key the worker holds a trace; one that it has let go is sent again. */
  #keys = new WeakMap<Trace, number>();

  ask<T>(question: Question): Promise<T> {
    const id = this.#next++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#started().postMessage({ id, ...question });
    });
  }

  #started(): Worker {
    if (this.#worker) return this.#worker;
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if ("error" in data) waiting?.reject(new Error(data.error));
      else waiting?.resolve(data.value as never);
    };
    worker.onerror = (e) => {
      // Did not load or ran out of memory: everybody who waits is told, and the next question starts a new one.
      const error = new Error(e.message || "worker");
      for (const w of this.#waiting.values()) w.reject(error);
      this.#waiting.clear();
      worker.terminate();
      this.#worker = undefined;
      this.#keys = new WeakMap();
    };
    this.#worker = worker;
    return worker;
  }

  async compute<T extends Task>(trace: Trace, task: T): Promise<Result<T>> {
    for (let attempt = 0; ; attempt++) {
      let key = this.#keys.get(trace);
      if (key === undefined) {
        key = this.#next++;
        this.#keys.set(trace, key);
        await this.ask({ do: "hold", key, trace });
      }
      try {
        return await this.ask<Result<T>>({ do: task, key });
      } catch (e) {
        if (attempt > 0 || !(e instanceof Error) || e.message !== "not held") throw e;
        this.#keys.delete(trace);
      }
    }
  }
}

const workshop = new Workshop();
const hasWorker = () => typeof Worker !== "undefined";

/** readSkeleton parses an answer; a large one in the worker, so that the page stays alive. */
export async function readSkeleton(pieces: Uint8Array[]): Promise<Trace> {
  const bytes = pieces.reduce((sum, p) => sum + p.byteLength, 0);
  if (bytes <= inlineBytes || !hasWorker()) return parseSkeleton(pieces);
  // Where workers are forbidden, slow is better than not at all.
  return workshop.ask<Trace>({ do: "parse", pieces }).catch(() => parseSkeleton(pieces));
}

const done = new WeakMap<Trace, Partial<Record<Task, unknown>>>();

/** computeTask gives a result at once for small traces and for what was computed before. */
export function computeTask<T extends Task>(trace: Trace, task: T): Result<T> | Promise<Result<T>> {
  let results = done.get(trace);
  if (!results) {
    results = {};
    done.set(trace, results);
  }
  if (results[task]) return results[task] as Result<T> | Promise<Result<T>>;
  if (trace.n <= inlineRows || !hasWorker()) {
    const value = tasks[task](trace);
    results[task] = value;
    return value as Result<T>;
  }
  const kept = results;
  const promise = workshop.compute(trace, task).catch(() => tasks[task](trace) as Result<T>);
  results[task] = promise;
  promise.then(
    (value) => {
      kept[task] = value;
    },
    () => {
      delete kept[task];
    },
  );
  return promise;
}
