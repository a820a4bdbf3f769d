import { useRef } from "react";

/** A bar between two parts that is dragged, or moved with the arrow keys, to give one of them its width. */
export function Splitter(p: {
  label: string;
  value: number;
  min: number;
  max: number;
  /** The part that gets the width lies on this side; left is the default. */
  side?: "left" | "right";
  className?: string | undefined;
  style?: React.CSSProperties;
  onChange: (value: number) => void;
}) {
  const sign = p.side === "right" ? -1 : 1;
  const latest = useRef(p);
  latest.current = p;
  const set = (value: number) => {
    const { min, max, onChange } = latest.current;
    onChange(Math.round(Math.min(max, Math.max(min, value))));
  };
  return (
    <div
      role="separator"
      aria-orientation="vertical"
      aria-label={p.label}
      aria-valuenow={p.value}
      aria-valuemin={p.min}
      aria-valuemax={p.max}
      tabIndex={0}
      className={p.className}
      style={p.style}
      onPointerDown={(e) => {
        if (e.button !== 0) return;
        e.preventDefault();
        const begin = e.clientX;
        const width = p.value;
        const move = (m: PointerEvent) => set(width + sign * (m.clientX - begin));
        const up = () => {
          removeEventListener("pointermove", move);
          removeEventListener("pointerup", up);
        };
        addEventListener("pointermove", move);
        addEventListener("pointerup", up);
      }}
      onKeyDown={(e) => {
        if (e.key !== "ArrowLeft" && e.key !== "ArrowRight") return;
        e.preventDefault();
        e.stopPropagation();
        set(p.value + sign * (e.key === "ArrowRight" ? 20 : -20));
      }}
    />
  );
}
