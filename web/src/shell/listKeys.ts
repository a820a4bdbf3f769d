import { useRef } from "react";
import { useShortcuts } from "./keys";

/**
 * useListKeys moves the focus through the rows' links of a list (those with data-row-link) with j and
 * k; Enter opens one as links do, o in a new tab. The list's element carries the ref and data-keys="lists".
 */
export function useListKeys() {
  const ref = useRef<HTMLDivElement>(null);
  const links = () => [...(ref.current?.querySelectorAll<HTMLAnchorElement>("a[data-row-link]") ?? [])];
  const current = () => document.activeElement?.closest<HTMLAnchorElement>("a[data-row-link]") ?? undefined;
  const move = (by: 1 | -1) => {
    const all = links();
    const at = all.indexOf(current() as HTMLAnchorElement);
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by));
    all[next]?.focus();
    all[next]?.scrollIntoView({ block: "nearest" });
  };
  useShortcuts({
    listDown: () => move(1),
    listUp: () => move(-1),
    openTab: () => {
      const link = current();
      if (link) window.open(link.href, "_blank", "noopener");
    },
  });
  return { ref };
}
