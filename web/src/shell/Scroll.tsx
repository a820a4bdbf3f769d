import { type ReactNode, useLayoutEffect, useRef, useState } from "react";

/** Scroll holds a table that may be wider than its place. Only then is it a stop of the Tab key: what scrolls must be in reach. */
export function Scroll(p: { label: string; className: string | undefined; children: ReactNode }) {
  const ref = useRef<HTMLDivElement>(null);
  const [wide, setWide] = useState(false);
  useLayoutEffect(() => {
    const el = ref.current;
    if (!el) return;
    const look = () => setWide(el.scrollWidth > el.clientWidth);
    look();
    const observer = new ResizeObserver(look);
    observer.observe(el);
    if (el.firstElementChild) observer.observe(el.firstElementChild);
    return () => observer.disconnect();
  }, []);
  const stop = wide ? ({ tabIndex: 0, role: "group", "aria-label": p.label } as const) : {};
  return (
    <div ref={ref} className={p.className} {...stop}>
      {p.children}
    </div>
  );
}
