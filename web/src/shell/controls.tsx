import type { ReactNode } from "react";
import { slotVar } from "../model/colour";
import { visible } from "../model/visible";
import css from "./controls.module.css";

export { css as controls };

/** A service's colour as a tick beside its name. */
export function ServiceTag({ name, slot, children }: { name: string; slot: number; children?: ReactNode }) {
  return (
    <span className={css["service"]} title={visible(name)}>
      <span className={css["tick"]} style={{ background: slotVar(slot) }} aria-hidden="true" />
      <span>{children ?? visible(name)}</span>
    </span>
  );
}

/** One of a few, as a row of buttons that is a radio group to the keyboard and to screen readers. */
export function Segments<T extends string>(p: {
  label: string;
  name: string;
  value: T;
  options: readonly { value: T; label: string; title?: string }[];
  onChange: (value: T) => void;
}) {
  return (
    <fieldset className={css["fieldset"]}>
      <legend className="sr-only">{p.label}</legend>
      <div className={css["segments"]}>
        {p.options.map((o) => (
          <label key={o.value} title={o.title}>
            <input
              type="radio"
              name={p.name}
              value={o.value}
              checked={o.value === p.value}
              onChange={() => p.onChange(o.value)}
            />
            {o.label}
          </label>
        ))}
      </div>
    </fieldset>
  );
}
