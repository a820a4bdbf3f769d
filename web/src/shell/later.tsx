import { type ComponentType, createElement, useEffect, useState } from "react";

/** CodeError is code of the UI that could not be loaded. Its message is the browser's. */
export class CodeError extends Error {
  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.name = "CodeError";
  }
}

/**
 * later makes a component whose code is loaded when it is first shown; `waiting` stands in until then. It differs from React's
 * lazy in two ways. It shows as soon as the code is there: what follows the fallback of a Suspense is held back for 300 ms. And
 * code that did not come is a CodeError for the boundary above, whose retry asks for it again: lazy never asks twice.
 */
export function later<P extends object>(
  load: () => Promise<{ default: ComponentType<P> }>,
  waiting: ComponentType<P> = Nothing,
): ComponentType<P> {
  let code: ComponentType<P> | undefined;
  // biome-ignore lint/correctness/noComponentHookFactories: called at the level of modules, as lazy is
  return function Later(props: P) {
    const [state, setState] = useState<"waiting" | "there" | CodeError>(code ? "there" : "waiting");
    useEffect(() => {
      if (code) return setState("there");
      let on = true;
      load().then(
        (module) => {
          code = module.default;
          if (on) setState("there");
        },
        (cause) => on && setState(new CodeError(cause)),
      );
      return () => {
        on = false;
      };
    }, []);
    if (state instanceof CodeError) throw state;
    return createElement(code ?? waiting, props);
  };
}

function Nothing() {
  return null;
}
