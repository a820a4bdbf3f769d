import { useEffect, useLayoutEffect, useRef, useState } from "react";
import { sizeCanvas } from "../draw/canvas";
import { drawMinimap } from "../draw/minimap";
import { readTokens } from "../draw/tokens";
import { useI18n } from "../i18n";
import type { Rows } from "../model/rows";
import type { Trace } from "../model/trace";
import { isFull } from "../model/window";
import { resolvedTheme, usePrefs } from "../shell/prefs";
import css from "./Minimap.module.css";
import { useWindow, type WindowStore } from "./windowStore";

const height = 56;
/** Pixels beside an edge of the window in which a drag moves that edge. */
const grip = 6;

/** The whole trace in little, with the part that the waterfall shows; the keyboard has a, d, w, s and 0. */
export function Minimap(p: { trace: Trace; rows: Rows; window: WindowStore }) {
  const { t } = useI18n();
  const canvas = useRef<HTMLCanvasElement>(null);
  const holder = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const theme = resolvedTheme(usePrefs());
  const [from, to] = useWindow(p.window);
  const all = p.window.duration || 1;

  useLayoutEffect(() => {
    const el = holder.current;
    if (!el) return;
    const watch = new ResizeObserver(() => setWidth(el.clientWidth));
    watch.observe(el);
    setWidth(el.clientWidth);
    return () => watch.disconnect();
  }, []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the theme changes what readTokens reads
  useEffect(() => {
    if (!canvas.current || width === 0) return;
    const ctx = sizeCanvas(canvas.current, width, height);
    if (ctx) drawMinimap(ctx, p.trace, p.rows, width, height, readTokens());
  }, [p.trace, p.rows, width, theme]);

  const drag = useDrag(p.window, holder);
  const left = (from / all) * 100;
  const right = (to / all) * 100;
  const full = isFull([from, to], p.window.duration);
  return (
    <div
      className={css["minimap"]}
      ref={holder}
      title={t.trace.minimap}
      aria-hidden="true"
      onPointerDown={drag}
      onDoubleClick={() => p.window.all()}
    >
      <canvas ref={canvas} className={css["canvas"]} />
      {full ? null : (
        <>
          <div className={css["shade"]} style={{ left: 0, width: `${left}%` }} />
          <div className={css["shade"]} style={{ left: `${right}%`, right: 0 }} />
          <div
            className={css["window"]}
            style={{ left: `${left}%`, width: `${Math.max(0.2, right - left)}%` }}
          />
        </>
      )}
    </div>
  );
}

/** A drag moves an edge, the window, or draws a new one, depending on where it begins. */
function useDrag(store: WindowStore, holder: React.RefObject<HTMLDivElement | null>) {
  return (e: React.PointerEvent) => {
    const el = holder.current;
    if (!el || e.button !== 0) return;
    e.preventDefault();
    const box = el.getBoundingClientRect();
    const all = store.duration || 1;
    const timeAt = (x: number) => Math.min(1, Math.max(0, (x - box.left) / box.width)) * all;
    const [from, to] = store.get();
    const pixel = (time: number) => box.left + (time / all) * box.width;
    const begin = timeAt(e.clientX);
    const full = isFull([from, to], store.duration);
    const nearLeft = !full && Math.abs(e.clientX - pixel(from)) <= grip;
    const nearRight = !full && Math.abs(e.clientX - pixel(to)) <= grip;
    const inside = !full && begin > from && begin < to;
    const move = (m: PointerEvent) => {
      const now = timeAt(m.clientX);
      if (nearLeft) store.set([Math.min(now, to), Math.max(now, to)]);
      else if (nearRight) store.set([Math.min(from, now), Math.max(from, now)]);
      else if (inside) store.set([from + now - begin, to + now - begin]);
      else if (Math.abs(m.clientX - e.clientX) > 3) store.set([Math.min(begin, now), Math.max(begin, now)]);
    };
    const up = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
      removeEventListener("pointercancel", up);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
    addEventListener("pointercancel", up);
  };
}
