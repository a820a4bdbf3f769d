import { useEffect, useMemo, useRef, useState } from "react";
import { type Arranged, arrange, planOf } from "./arrange";
import type { Graph } from "./graph";
import { keep, type Placed, type Task } from "./layout";

/** One worker for all layouts of the page; it starts with the first question. */
class Layouter {
  #worker: Worker | undefined;
  #n = 0;
  #waiting = new Map<number, { resolve: (p: Placed) => void; reject: (e: Error) => void }>();

  async place(task: Task): Promise<Placed> {
    this.#worker ??= this.#start();
    const n = ++this.#n;
    return new Promise((resolve, reject) => {
      this.#waiting.set(n, { resolve, reject });
      this.#worker!.postMessage({ n, task });
    });
  }

  #start(): Worker {
    const worker = new Worker(new URL("./layout.worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = (e: MessageEvent<{ n: number; placed?: Placed; took?: number; error?: string }>) => {
      const { n, placed, took, error } = e.data;
      const waiting = this.#waiting.get(n);
      this.#waiting.delete(n);
      if (took !== undefined) performance.mark("map layout", { detail: took });
      if (placed) waiting?.resolve(placed);
      else waiting?.reject(new Error(error));
    };
    worker.onerror = (e) => {
      for (const w of this.#waiting.values()) w.reject(new Error(e.message || "the layout's worker failed"));
      this.#waiting.clear();
      this.#worker = undefined;
    };
    return worker;
  }
}

const layouter = new Layouter();

/** Positions by the set of nodes, so that a refresh moves nothing; the oldest go first. */
const known = new Map<string, Placed>();

function remember(key: string, placed: Placed) {
  known.delete(key);
  known.set(key, placed);
  if (known.size > 40) known.delete(known.keys().next().value!);
}

function keyOf(task: Task): string {
  return JSON.stringify(task.nodes.map((n) => n.id).sort());
}

export interface Layout {
  /** What is on the screen: a graph and where its nodes are. */
  graph: Graph;
  arranged: Arranged;
  /** Changes when the picture as a whole is another one. */
  fitKey: string;
}

/**
 * useLayout places a graph. While a new layout is on its way the last picture stays. `scope` names what the person looks at: in
 * one scope a few new nodes are put in, and nothing else moves.
 */
export function useLayout(graph: Graph | undefined, scope: string) {
  const [, render] = useState(0);
  const [error, setError] = useState<unknown>();
  const [again, setAgain] = useState(0);
  const last = useRef<{ scope: string; placed: Placed } | undefined>(undefined);
  const picture = useRef<Layout | undefined>(undefined);

  const plan = useMemo(() => (graph ? planOf(graph) : undefined), [graph]);
  const tasks = useMemo(() => (plan ? [plan.base, ...plan.inner.values()] : []), [plan]);

  if (plan) {
    const key = keyOf(plan.base);
    if (!known.has(key) && last.current?.scope === scope) {
      const kept = keep(plan.base, last.current.placed);
      if (kept) remember(key, kept);
    }
  }
  // biome-ignore lint/correctness/useExhaustiveDependencies: `again` asks anew after the positions were thrown away
  useEffect(() => {
    let on = true;
    const missing = tasks.filter((task) => !known.has(keyOf(task)));
    if (missing.length === 0) return;
    setError(undefined);
    Promise.all(
      missing.map((task) => layouter.place(task).then((placed) => remember(keyOf(task), placed))),
    ).then(
      () => on && render((n) => n + 1),
      (cause) => on && setError(cause),
    );
    return () => {
      on = false;
    };
  }, [tasks, again]);

  const base = plan && known.get(keyOf(plan.base));
  const inner = new Map<string, Placed>();
  if (plan) {
    for (const [id, task] of plan.inner) {
      const placed = known.get(keyOf(task));
      if (placed) inner.set(id, placed);
    }
  }
  const ready = graph && plan && base && inner.size === plan.inner.size;
  const innerKey = [...inner.keys()].join("\n");
  // biome-ignore lint/correctness/useExhaustiveDependencies: the map of inner layouts is told by its keys
  const arranged = useMemo(
    () => (graph && base && ready ? arrange(graph, base, inner) : undefined),
    [graph, base, ready, innerKey],
  );
  if (graph && base && arranged) {
    last.current = { scope, placed: base };
    picture.current = { graph, arranged, fitKey: `${scope} ${again}` };
  }
  return {
    layout: graph ? picture.current : undefined,
    pending: graph !== undefined && !ready && error === undefined,
    error,
    /** Lays everything out anew. */
    rearrange: () => {
      for (const task of tasks) known.delete(keyOf(task));
      last.current = undefined;
      setAgain((n) => n + 1);
    },
  };
}
