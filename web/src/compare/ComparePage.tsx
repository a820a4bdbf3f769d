import { useVirtualizer } from "@tanstack/react-virtual";
import { useMemo, useRef, useState } from "react";
import { Link } from "wouter";
import { type I18n, useI18n } from "../i18n";
import { type Comparison, compareTraces, type Kind, operationOf, type Pair } from "../model/compare";
import { type CompareView, formatCompare, parseCompare } from "../model/compareUrl";
import { shortOperation } from "../model/envoy";
import { canonicalId, readPasted } from "../model/ids";
import { instantMs } from "../model/time";
import { firstReal, spanRef, type Trace } from "../model/trace";
import { emptyTraceView, formatTrace } from "../model/traceUrl";
import { controls, Segments, ServiceTag } from "../shell/controls";
import { ErrorMark, Icon } from "../shell/Icon";
import { useSkeleton } from "../shell/queries";
import { Empty, ErrorNotice, Loading, PanelBoundary, PartialNotice, WarnLine } from "../shell/states";
import { useTitle } from "../shell/title";
import { useCopy } from "../shell/toast";
import { useUrlState } from "../shell/url";
import { BackLink } from "../trace/TracePage";
import css from "./ComparePage.module.css";

const codec = { parse: parseCompare, format: formatCompare };

/** Why is this one slower? Two traces aligned by hop, and what differs, the weightiest first. */
export default function ComparePage() {
  const { t } = useI18n();
  const [view, setView] = useUrlState(codec);
  useTitle(t.compare.title);
  return (
    <main id="main" tabIndex={-1} className={css["page"]}>
      <div className={css["head"]}>
        <BackLink />
        <h1>{t.compare.title}</h1>
        <p className={controls["muted"]}>{t.compare.question}</p>
      </div>
      {view.a && view.b ? (
        <Load
          key={`${view.a} ${view.b}`}
          a={view.a}
          b={view.b}
          view={view}
          setView={(change) => setView(change)}
        />
      ) : (
        <Ask view={view} onIds={(a, b) => setView((v) => ({ ...v, a, b }), "push")} />
      )}
    </main>
  );
}

/** Asks for what is missing of the two ids; what is typed stays. */
function Ask({ view, onIds }: { view: CompareView; onIds: (a: string, b: string) => void }) {
  const { t } = useI18n();
  const [texts, setTexts] = useState({ a: view.a ?? "", b: view.b ?? "" });
  const [wrong, setWrong] = useState(false);
  const idOf = (text: string) => {
    const pasted = readPasted(text);
    return pasted?.kind === "trace" ? pasted.traceId : canonicalId(text, 32);
  };
  return (
    <Empty title={t.compare.need}>
      <p>{t.compare.needHelp}</p>
      <form
        className={css["ask"]}
        onSubmit={(e) => {
          e.preventDefault();
          const a = idOf(texts.a);
          const b = idOf(texts.b);
          if (a && b) onIds(a, b);
          else setWrong(true);
        }}
      >
        {(["a", "b"] as const).map((side) => (
          <label key={side}>
            {t.compare[side]}
            <input
              className={controls["input"]}
              autoComplete="off"
              spellCheck={false}
              value={texts[side]}
              onChange={(e) => {
                setTexts({ ...texts, [side]: e.target.value });
                setWrong(false);
              }}
            />
          </label>
        ))}
        <button type="submit" className={controls["button"]}>
          {t.compare.go}
        </button>
        {wrong ? (
          <p className={controls["error"]} role="alert">
            {t.compare.bad}
          </p>
        ) : null}
      </form>
    </Empty>
  );
}

interface Loaded {
  view: CompareView;
  setView: (change: (view: CompareView) => CompareView) => void;
}

function Load(p: Loaded & { a: string; b: string }) {
  const { t } = useI18n();
  const sides = [useSkeleton(p.a), useSkeleton(p.b)] as const;
  const [a, b] = [sides[0].data, sides[1].data];
  if (a && b) {
    return (
      <PanelBoundary>
        <Result {...p} a={a} b={b} />
      </PanelBoundary>
    );
  }
  return (
    <>
      {sides.map((s, i) =>
        s.error ? (
          <ErrorNotice
            // biome-ignore lint/suspicious/noArrayIndexKey: A and B
            key={i}
            error={s.error}
            title={`${i === 0 ? t.compare.a : t.compare.b}: ${i === 0 ? p.a : p.b}`}
            onRetry={() => s.refetch()}
          />
        ) : null,
      )}
      {sides.some((s) => s.isPending) ? <Loading rows={12} bytes={sides[0].bytes + sides[1].bytes} /> : null}
    </>
  );
}

/** Differences that are listed; the tree has all. */
const listed = 20;

function Result(p: Loaded & { a: Trace; b: Trace }) {
  const { t, f } = useI18n();
  const { a, b, view, setView } = p;
  const copy = useCopy();
  const result = useMemo(() => compareTraces(a, b), [a, b]);
  const delta = b.traceDuration - a.traceDuration;
  const part = f.percent(Math.abs(delta) / Math.max(1, a.traceDuration));
  const first = result.pairs[result.ranked[0] ?? -1];
  const top = result.ranked.find((i) => {
    const pair = result.pairs[i]!;
    return Math.sign(weigh(pair)) === Math.sign(delta) && weigh(pair) !== 0;
  });
  const most = top === undefined ? undefined : result.pairs[top];
  return (
    <>
      <div className={css["sides"]}>
        <SideHead name={t.compare.a} trace={a} other={b} />
        <button
          type="button"
          className={controls["button"]}
          onClick={() => setView((v) => ({ ...v, a: v.b, b: v.a }))}
        >
          ⇄ {t.compare.swap}
        </button>
        <SideHead name={t.compare.b} trace={b} other={a} />
        <button
          type="button"
          className={controls["button"]}
          onClick={() => copy(location.href, t.app.linkCopied)}
        >
          <Icon name="link" size={14} />
          {t.app.copyLink}
        </button>
      </div>
      <PartialNotice
        complete={a.complete && b.complete}
        reason={a.reason ?? b.reason}
        away={a.away ?? b.away}
      />
      {a.maybeIncomplete || b.maybeIncomplete ? <WarnLine>{t.compare.incomplete}</WarnLine> : null}
      {result.alike ? null : <WarnLine>{t.compare.unlike}</WarnLine>}
      <p className={css["answer"]}>
        <strong>
          {delta > 0
            ? t.compare.slower(f.duration(delta), part)
            : delta < 0
              ? t.compare.faster(f.duration(-delta), part)
              : t.compare.equal}
        </strong>{" "}
        {most && result.alike ? t.compare.most(nameOf(a, b, most), signed(f, weigh(most))) : ""}
      </p>
      <section aria-labelledby="ranked" className={css["section"]}>
        <h2 id="ranked">{t.compare.ranked}</h2>
        {first === undefined ? (
          <p>{t.compare.noDifference}</p>
        ) : (
          <div className={css["scrollX"]}>
            <table className={controls["table"]}>
              <thead>
                <tr>
                  <th>{t.compare.colKind}</th>
                  <th>{t.compare.colCall}</th>
                  <th className={controls["number"]}>{t.compare.colA}</th>
                  <th className={controls["number"]}>{t.compare.colB}</th>
                  <th className={controls["number"]}>{t.compare.colDelta}</th>
                  <th className={controls["number"]}>{t.compare.colSelf}</th>
                </tr>
              </thead>
              <tbody>
                {result.ranked.slice(0, listed).map((i) => (
                  <RankedRow key={i} a={a} b={b} pair={result.pairs[i]!} />
                ))}
              </tbody>
            </table>
          </div>
        )}
        {result.ranked.length > listed ? (
          <p className={controls["muted"]}>
            {t.compare.more(f.integer(listed), f.integer(result.ranked.length))}
          </p>
        ) : null}
      </section>
      <section aria-labelledby="tree" className={css["section"]}>
        <div className={css["treeHead"]}>
          <h2 id="tree">{t.compare.tree}</h2>
          <Segments
            label={t.compare.tree}
            name="all"
            value={view.all ? "all" : "only"}
            options={[
              { value: "only", label: t.compare.only },
              { value: "all", label: t.compare.all },
            ]}
            onChange={(v) => setView((old) => ({ ...old, all: v === "all" }))}
          />
        </div>
        <Tree a={a} b={b} result={result} all={view.all} />
      </section>
    </>
  );
}

/** The own time that a pair adds: of what is on one side only, all of it. */
function weigh(p: Pair): number {
  return p.kind === "added" || p.kind === "gone" ? p.timeB - p.timeA : p.selfB - p.selfA;
}

function signed(f: I18n["f"], ns: number): string {
  return `${ns > 0 ? "+" : ns < 0 ? "−" : "±"}${f.duration(Math.abs(ns))}`;
}

function nameOf(a: Trace, b: Trace, p: Pair): string {
  const [t, r] = p.a.length > 0 ? [a, p.a[0]!] : [b, p.b[0]!];
  const s = t.services[t.service[r]!];
  return `${s?.group || s?.name || ""} ${shortOperation(operationOf(t.names[t.name[r]!] ?? ""))}`.trim();
}

function SideHead({ name, trace, other }: { name: string; trace: Trace; other: Trace }) {
  const { t, f } = useI18n();
  const root = firstReal(trace);
  const s = trace.services[trace.service[root]!];
  const start = instantMs(trace.traceStart);
  const longest = Math.max(1, trace.traceDuration, other.traceDuration);
  return (
    <div className={css["side"]}>
      <p>
        <strong>{name}</strong> <ServiceTag name={s?.name ?? ""} slot={s?.slot ?? 0} />{" "}
        <span className={css["operation"]}>{shortOperation(trace.names[trace.name[root]!] ?? "")}</span>
      </p>
      <p className={css["figures"]}>
        <strong>{f.duration(trace.traceDuration)}</strong>
        <span>{t.compare.spans(f.integer(trace.spanCount))}</span>
        {trace.errorCount > 0 ? (
          <span className={controls["error"]}>
            <ErrorMark size={10} /> {f.integer(trace.errorCount)}
          </span>
        ) : null}
        <span title={f.utc(start)}>{f.exact(start)}</span>
        <Link href={`/trace/${trace.traceId}`}>
          <code>{trace.traceId}</code>
        </Link>
      </p>
      <span className={css["track"]} aria-hidden="true">
        <span style={{ width: `${(trace.traceDuration / longest) * 100}%` }} />
      </span>
    </div>
  );
}

/** A link into a trace, to the span that stands for the call there. */
function Time(p: { trace: Trace; rows: readonly number[]; time: number; errors: number; label: string }) {
  const { t, f } = useI18n();
  if (p.rows.length === 0) return <span className={controls["muted"]}>–</span>;
  const query = formatTrace({ ...emptyTraceView, span: spanRef(p.trace, p.rows[0]!) });
  return (
    <span className={css["time"]}>
      {p.errors > 0 ? <ErrorMark size={10} /> : null}
      {p.rows.length > 1 ? (
        <span className={controls["muted"]}>{t.compare.times(f.integer(p.rows.length))}</span>
      ) : null}
      <Link href={`/trace/${p.trace.traceId}?${query}`} aria-label={`${p.label}, ${f.duration(p.time)}`}>
        {f.duration(p.time)}
      </Link>
    </span>
  );
}

const signs: Record<Kind, string> = {
  added: "+",
  gone: "−",
  slower: "▲",
  faster: "▼",
  errors: "!",
  mended: "✓",
  same: "=",
};

function KindMark({ kind }: { kind: Kind }) {
  const { t } = useI18n();
  return (
    <span className={css["kind"]} data-kind={kind}>
      <span aria-hidden="true">{signs[kind]}</span> {t.compare.kind[kind]}
    </span>
  );
}

function CallName({ a, b, pair }: { a: Trace; b: Trace; pair: Pair }) {
  const [t, r] = pair.a.length > 0 ? [a, pair.a[0]!] : [b, pair.b[0]!];
  const s = t.services[t.service[r]!];
  const operation = operationOf(t.names[t.name[r]!] ?? "");
  return (
    <span className={css["call"]} title={`${s?.name ?? ""} ${operation}`}>
      <ServiceTag name={s?.group || s?.name || ""} slot={s?.slot ?? 0} />
      <span className={css["operation"]}>{shortOperation(operation)}</span>
    </span>
  );
}

function RankedRow({ a, b, pair }: { a: Trace; b: Trace; pair: Pair }) {
  const { t, f } = useI18n();
  const name = nameOf(a, b, pair);
  const self = pair.selfB - pair.selfA;
  return (
    <tr>
      <td>
        <KindMark kind={pair.kind} />
      </td>
      <td className={css["callCell"]}>
        <CallName a={a} b={b} pair={pair} />
      </td>
      <td className={controls["number"]}>
        <Time trace={a} rows={pair.a} time={pair.timeA} errors={pair.errorsA} label={t.compare.openA(name)} />
      </td>
      <td className={controls["number"]}>
        <Time trace={b} rows={pair.b} time={pair.timeB} errors={pair.errorsB} label={t.compare.openB(name)} />
      </td>
      <td className={controls["number"]}>{signed(f, pair.timeB - pair.timeA)}</td>
      <td className={controls["number"]}>
        <strong>{signed(f, self)}</strong>
      </td>
    </tr>
  );
}

/** The merged tree: every call of both with a bar for each, virtual, so that large traces stay cheap. */
function Tree(p: { a: Trace; b: Trace; result: Comparison; all: boolean }) {
  const { t } = useI18n();
  const { a, b, result } = p;
  const rows = useMemo(() => {
    const { pairs } = result;
    if (p.all) return pairs.map((_, i) => i);
    // What differs, and the way to it.
    const keep = new Uint8Array(pairs.length);
    for (let i = pairs.length - 1; i >= 0; i--) {
      if (pairs[i]!.kind !== "same") keep[i] = 1;
      if (keep[i] && pairs[i]!.parent >= 0) keep[pairs[i]!.parent] = 1;
    }
    return pairs.flatMap((_, i) => (keep[i] ? [i] : []));
  }, [result, p.all]);
  const longest = Math.max(1, a.traceDuration, b.traceDuration);
  const scroll = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroll.current,
    estimateSize: () => 30,
    overscan: 10,
  });
  if (rows.length === 0) return <p>{t.compare.noDifference}</p>;
  return (
    <div role="table" aria-label={t.compare.tree} aria-rowcount={rows.length + 1} className={css["tree"]}>
      <div role="rowgroup">
        <div role="row" aria-rowindex={1} className={css["treeRow"]} data-head="true">
          <span role="columnheader">{t.compare.colCall}</span>
          <span role="columnheader">{t.compare.colKind}</span>
          <span role="columnheader">{t.compare.colA}</span>
          <span role="columnheader">{t.compare.colB}</span>
        </div>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <div role="rowgroup" ref={scroll} className={css["treeScroll"]} tabIndex={0}>
        <div role="presentation" style={{ height: virtual.getTotalSize(), position: "relative" }}>
          {virtual.getVirtualItems().map((item) => {
            const pair = result.pairs[rows[item.index]!]!;
            const name = nameOf(a, b, pair);
            return (
              <div
                key={rows[item.index]}
                role="row"
                aria-rowindex={item.index + 2}
                className={css["treeRow"]}
                data-kind={pair.kind}
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <span role="cell" style={{ paddingInlineStart: Math.min(20, pair.depth) * 12 }}>
                  <CallName a={a} b={b} pair={pair} />
                </span>
                <span role="cell">
                  <KindMark kind={pair.kind} />
                </span>
                <span role="cell" className={css["barCell"]}>
                  <Bar part={pair.timeA / longest} />
                  <Time
                    trace={a}
                    rows={pair.a}
                    time={pair.timeA}
                    errors={pair.errorsA}
                    label={t.compare.openA(name)}
                  />
                </span>
                <span role="cell" className={css["barCell"]}>
                  <Bar part={pair.timeB / longest} />
                  <Time
                    trace={b}
                    rows={pair.b}
                    time={pair.timeB}
                    errors={pair.errorsB}
                    label={t.compare.openB(name)}
                  />
                </span>
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

function Bar({ part }: { part: number }) {
  return (
    <span className={css["track"]} aria-hidden="true">
      <span style={{ width: `${Math.min(1, part) * 100}%` }} />
    </span>
  );
}
