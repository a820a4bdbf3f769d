import { useEffect, useMemo, useState } from "react";
import type { Trace } from "../model/trace";
import type { Result, Task } from "../model/work";
import { computeTask } from "../model/workshop";

/** useComputed is a part of a trace's analysis: undefined until it is there, or while it is not wanted. */
export function useComputed<T extends Task>(trace: Trace, task: T, wanted = true): Result<T> | undefined {
  const first = useMemo(() => (wanted ? computeTask(trace, task) : undefined), [trace, task, wanted]);
  const [late, setLate] = useState<{ of: unknown; value: Result<T> } | undefined>();
  const [error, setError] = useState<{ of: unknown; error: unknown } | undefined>();
  useEffect(() => {
    if (!(first instanceof Promise)) return;
    let alive = true;
    first.then(
      (value) => alive && setLate({ of: first, value }),
      (e) => alive && setError({ of: first, error: e }),
    );
    return () => {
      alive = false;
    };
  }, [first]);
  if (!(first instanceof Promise)) return first;
  if (error?.of === first) throw error.error;
  return late?.of === first ? late.value : undefined;
}
