import { joinText } from "../api/client";
import { criticalPath, packPath } from "./criticalPath";
import { layLanes, sumFlame } from "./flame";
import { selfTimes } from "./selfTime";
import { columnsOf, makeTrace, type Trace, uncovered } from "./trace";

/** What takes time for large traces, by name: each is a pure function of a trace. */
export const tasks = {
  path: (t: Trace) => packPath(criticalPath(t)),
  self: selfTimes,
  flame: (t: Trace) => sumFlame(t, selfTimes(t)),
  lanes: layLanes,
  gaps: (t: Trace) => ({ time: uncovered(t) }),
} satisfies Record<string, (t: Trace) => unknown>;
export type Task = keyof typeof tasks;
export type Result<T extends Task> = ReturnType<(typeof tasks)[T]>;

/** Bytes of a skeleton, in the pieces they came in, to a trace. */
export function parseSkeleton(pieces: readonly Uint8Array[]): Trace {
  const { head, columns } = columnsOf(JSON.parse(joinText(pieces)));
  return makeTrace(head, columns);
}

/** Arrays of a value that can be handed over instead of copied. */
export function buffersOf(value: object): ArrayBuffer[] {
  return Object.values(value).flatMap((v) => (ArrayBuffer.isView(v) ? [v.buffer as ArrayBuffer] : []));
}

export type ToWorker =
  | { id: number; do: "parse"; pieces: Uint8Array[] }
  | { id: number; do: "hold"; key: number; trace: Trace }
  | { id: number; do: Task; key: number };
/** A message without its number. */
export type Question = ToWorker extends infer M ? (M extends ToWorker ? Omit<M, "id"> : never) : never;
export type FromWorker = { id: number; value: unknown } | { id: number; error: string };
