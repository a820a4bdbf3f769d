import { useEffect, useMemo, useState } from "react";
import type { Trace } from "../model/trace";
import type { Result, Task } from "../model/work";
import { computeTask } from "../model/workshop";

/** useComputed is a part of a trace's analysis: undefined until it is there, or while it is not wanted. */
export function useComputed<T extends Task>(trace: Trace, task: T, wanted = true): Result<T> | undefined {
  const first = useMemo(() => (wanted ? computeTask(trace, task) : undefined), [trace, task, wanted]);
  const [late, setLate] = useState<{ of: unknown; value: Result<T> } | undefined>();
  const [error, setError] = useState<unknown>();
  useEffect(() => {
    if (!(first instanceof Promise)) return;
    let alive = true;
    first.then(
      (value) => alive && setLate({ of: first, value }),
      (e) => alive && setError(e),
    );
    return () => {
      alive = false;
    };
  }, [first]);
  if (error !== undefined) throw error;
  if (!(first instanceof Promise)) return first;
  return late?.of === first ? late.value : undefined;
}
