import { useQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useMemo, useRef, useState } from "react";
import { joinText } from "../api/client";
import { useI18n } from "../i18n";
import { jsonLines } from "../model/jsonLines";
import { mayGrow, type Trace } from "../model/trace";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { ErrorNotice, Loading } from "../shell/states";
import { useCopy } from "../shell/toast";
import css from "./JsonView.module.css";
import { useSource } from "./source";

/** A trace with more spans is loaded only when it is asked for. */
const freely = 5_000;
/** Characters of a line that are shown at first; a value may be a megabyte long. */
const shownLength = 600;

/** The trace as it was received, as OTLP JSON. */
export default function JsonView({ trace, find }: { trace: Trace; find: string }) {
  const { t, f } = useI18n();
  const copy = useCopy();
  const source = useSource();
  const [wanted, setWanted] = useState(trace.n <= freely);
  const [bytes, setBytes] = useState(0);
  const query = useQuery({
    queryKey: ["otlp", source.key, trace.traceId],
    enabled: wanted,
    queryFn: async ({ signal }) =>
      joinText(await source.otlp(trace.traceId, { signal, onProgress: setBytes })),
    staleTime: mayGrow(trace) ? 5_000 : Number.POSITIVE_INFINITY,
    gcTime: 60_000,
  });
  const lines = useMemo(() => (query.data === undefined ? [] : jsonLines(query.data)), [query.data]);
  const text = find.trim().toLowerCase();
  const shown = useMemo(() => {
    const all = lines.map((_, i) => i);
    return text ? all.filter((i) => lines[i]!.toLowerCase().includes(text)) : all;
  }, [lines, text]);
  const [whole, setWhole] = useState<ReadonlySet<number>>(new Set());
  const scroll = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: shown.length,
    getScrollElement: () => scroll.current,
    estimateSize: () => 19,
    overscan: 20,
  });

  if (!wanted) {
    return (
      <div className={css["ask"]}>
        <p>{t.json.large(f.integer(trace.spanCount))}</p>
        <button type="button" className={controls["button"]} onClick={() => setWanted(true)}>
          {t.json.load}
        </button>
      </div>
    );
  }
  if (query.error) return <ErrorNotice error={query.error} onRetry={() => query.refetch()} />;
  if (query.data === undefined) return <Loading rows={14} bytes={bytes} />;
  return (
    <section className={css["view"]} aria-label={t.views.json}>
      <div className={css["head"]}>
        <span className={controls["muted"]}>
          {text
            ? t.json.found(f.integer(shown.length), f.integer(lines.length))
            : t.json.lines(f.integer(lines.length), f.bytes(query.data.length))}
        </span>
        <button type="button" className={controls["button"]} onClick={() => copy(lines.join("\n"))}>
          <Icon name="copy" size={14} />
          {t.json.copy}
        </button>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <div ref={scroll} className={css["scroll"]} tabIndex={0} role="group" aria-label={t.views.json}>
        <div style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map((item) => {
            const at = shown[item.index]!;
            const line = lines[at]!;
            const cut = line.length > shownLength && !whole.has(at);
            return (
              <div
                key={at}
                ref={virtual.measureElement}
                data-index={item.index}
                className={css["line"]}
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <span className={css["number"]} aria-hidden="true">
                  {at + 1}
                </span>
                <code>
                  {cut ? `${line.slice(0, shownLength)}…` : line}
                  {cut ? (
                    <button
                      type="button"
                      className={controls["plain"]}
                      onClick={() => setWhole((w) => new Set([...w, at]))}
                    >
                      {t.json.whole(f.integer(line.length))}
                    </button>
                  ) : null}
                </code>
              </div>
            );
          })}
        </div>
      </div>
    </section>
  );
}
