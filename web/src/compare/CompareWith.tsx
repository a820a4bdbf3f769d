import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { useLocation } from "wouter";
import { api } from "../api/client";
import type { TraceSummary } from "../api/types";
import { useI18n } from "../i18n";
import { formatCompare } from "../model/compareUrl";
import { apiFilter } from "../model/filters";
import { canonicalId, readPasted } from "../model/ids";
import { instantMs, msInstant } from "../model/time";
import { firstReal, type Trace } from "../model/trace";
import { controls } from "../shell/controls";
import { ErrorMark } from "../shell/Icon";
import css from "./CompareWith.module.css";

/** Which trace to compare with: one of the same root, or any by its id. */
export default function CompareWith({ trace, onClose }: { trace: Trace; onClose: () => void }) {
  const { t, f } = useI18n();
  const [, navigate] = useLocation();
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState<string>();
  const input = useRef<HTMLInputElement>(null);
  // It is loaded after its panel has opened and looked for what takes the focus.
  useEffect(() => input.current?.focus(), []);
  const root = firstReal(trace);
  const service = trace.services[trace.service[root]!]?.name ?? "";
  const operation = trace.names[trace.name[root]!] ?? "";
  const start = instantMs(trace.traceStart);
  const others = useQuery({
    queryKey: ["compare with", trace.traceId, service, operation],
    staleTime: 30_000,
    queryFn: ({ signal }) =>
      api.search(
        {
          filter: [
            apiFilter({ field: "service", op: "=", value: service }),
            apiFilter({ field: "operation", op: "=", value: operation }),
            "root=true",
          ],
          limit: 200,
          // The hour around an old trace, the last hour for a new one.
          ...(Date.now() - start > 3600e3
            ? { start: msInstant(start - 1800e3), end: msInstant(start + 1800e3) }
            : { start: "1h" }),
        },
        { signal },
      ),
  });
  const picked = pick((others.data?.items ?? []).filter((x) => x.traceId !== trace.traceId));
  const go = (other: string) => {
    onClose();
    // The other one is A, this one B: what is slower here is what was asked.
    navigate(`/compare?${formatCompare({ a: other, b: trace.traceId, all: false, rest: [] })}`);
  };
  const submit = () => {
    const pasted = readPasted(text);
    const id = pasted?.kind === "trace" ? pasted.traceId : canonicalId(text, 32);
    if (!id) setWrong(t.compare.bad);
    else if (id === trace.traceId) setWrong(t.compare.same);
    else go(id);
  };
  return (
    <div className={css["panel"]}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          submit();
        }}
      >
        <label htmlFor="compare-with">{t.compare.pasted}</label>
        <div className={css["line"]}>
          <input
            ref={input}
            id="compare-with"
            className={controls["input"]}
            autoComplete="off"
            spellCheck={false}
            aria-invalid={wrong !== undefined}
            aria-describedby={wrong ? "compare-wrong" : undefined}
            value={text}
            onChange={(e) => {
              setText(e.target.value);
              setWrong(undefined);
            }}
          />
          <button type="submit" className={controls["button"]}>
            {t.compare.go}
          </button>
        </div>
        {wrong ? (
          <p id="compare-wrong" className={controls["error"]} role="alert">
            {wrong}
          </p>
        ) : null}
      </form>
      <h3>{t.compare.peers}</h3>
      {others.isPending ? (
        <p className={controls["muted"]}>{t.state.loading}</p>
      ) : picked.length === 0 ? (
        <p className={controls["muted"]}>{t.compare.peersNone}</p>
      ) : (
        <ul>
          {picked.map(({ what, trace: other }) => (
            <li key={other.traceId}>
              <button type="button" onClick={() => go(other.traceId)}>
                <span className={css["what"]}>{t.compare[what]}</span>
                <strong>{f.duration(other.duration)}</strong>
                {other.errors > 0 ? (
                  <span className={controls["error"]}>
                    <ErrorMark size={10} /> {f.integer(other.errors)}
                  </span>
                ) : null}
                <span className={controls["muted"]}>{f.time(instantMs(other.start))}</span>
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

type What = "typical" | "slowest" | "fastest";

/** The median without errors first (a normal one is what people look for), then the ends. */
export function pick(items: readonly TraceSummary[]): { what: What; trace: TraceSummary }[] {
  const sorted = [...items].sort((a, b) => a.duration - b.duration);
  const fine = sorted.filter((x) => x.errors === 0 && !x.maybeIncomplete);
  const usual = fine.length > 0 ? fine : sorted;
  const out: { what: What; trace: TraceSummary }[] = [];
  const add = (what: What, trace: TraceSummary | undefined) => {
    if (trace && !out.some((o) => o.trace.traceId === trace.traceId)) out.push({ what, trace });
  };
  add("typical", usual[Math.floor(usual.length / 2)]);
  add("fastest", sorted[0]);
  add("slowest", sorted[sorted.length - 1]);
  return out;
}
