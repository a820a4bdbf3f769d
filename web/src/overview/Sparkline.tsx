import { slotVar } from "../model/colour";
import css from "./Overview.module.css";

const width = 120;
const height = 22;

/** Calls per second as an area in the service's colour, errors as bars below it. */
export function Sparkline(p: {
  values: readonly number[];
  errors: readonly number[];
  slot: number;
  label: string;
}) {
  const most = Math.max(...p.values, 1e-9);
  const step = width / (p.values.length - 1);
  const y = (v: number) => height - 1 - (v / most) * (height - 3);
  const line = p.values.map((v, i) => `${i ? "L" : "M"}${(i * step).toFixed(1)} ${y(v).toFixed(1)}`).join("");
  return (
    <svg className={css["spark"]} width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img">
      <title>{p.label}</title>
      <path d={`${line}L${width} ${height}L0 ${height}Z`} fill={slotVar(p.slot)} opacity="0.18" />
      <path d={line} fill="none" stroke={slotVar(p.slot)} strokeWidth="1.5" strokeLinejoin="round" />
      {p.errors.map((e, i) =>
        e > 0 ? (
          <rect
            // biome-ignore lint/suspicious/noArrayIndexKey: buckets are their position
            key={i}
            x={Math.min(width - 2, Math.max(0, i * step - 1))}
            y={Math.min(height - 3, y(e))}
            width="2"
            height={Math.max(3, height - y(e))}
            fill="var(--error)"
          />
        ) : null,
      )}
    </svg>
  );
}
