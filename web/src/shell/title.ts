import { useEffect } from "react";

/** useTitle names the tab: "checkout GET /cart · Spanloom". */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Spanloom`;
  }, [title]);
}
