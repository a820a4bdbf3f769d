import type { Trace } from "./trace";
import { buffersOf, type FromWorker, parseSkeleton, type ToWorker, tasks } from "./work";

// The other side of workshop.ts: parses large answers and computes what a large trace needs, off the page's thread.
const held = new Map<number, Trace>();
/** Traces that are held at once: the one in sight, its corrected form, and two of a comparison. */
const most = 4;

function work(m: ToWorker): object {
  if (m.do === "parse") return parseSkeleton(m.pieces);
  if (m.do === "hold") {
    held.set(m.key, m.trace);
    for (const key of held.keys()) if (held.size > most) held.delete(key);
    return {};
  }
  const trace = held.get(m.key);
  if (!trace) throw new Error("not held");
  return tasks[m.do](trace);
}

const scope = self as unknown as {
  onmessage: (e: MessageEvent<ToWorker>) => void;
  postMessage: (m: FromWorker, transfer?: Transferable[]) => void;
};
scope.onmessage = ({ data }) => {
  try {
    const value = work(data);
    const buffers = ArrayBuffer.isView(value) ? [value.buffer as ArrayBuffer] : buffersOf(value);
    scope.postMessage({ id: data.id, value }, buffers);
  } catch (e) {
    scope.postMessage({ id: data.id, error: String(e instanceof Error ? e.message : e) });
  }
};
