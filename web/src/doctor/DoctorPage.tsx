import { useMutation } from "@tanstack/react-query";
import { useId, useRef, useState } from "react";
import { Link } from "wouter";
import { useI18n } from "../i18n";
import { type DoctorView, formatDoctor, parseDoctor } from "../model/doctorUrl";
import { instantMs, type Range } from "../model/time";
import { visible } from "../model/visible";
import { CodeBlock } from "../shell/CodeBlock";
import { controls } from "../shell/controls";
import { ErrorMark, Icon } from "../shell/Icon";
import { RangePicker } from "../shell/RangePicker";
import { Scroll } from "../shell/Scroll";
import { Empty, ErrorNotice, Loading, PanelBoundary, WarnLine } from "../shell/states";
import { useTitle } from "../shell/title";
import { useCopy } from "../shell/toast";
import { useUrlState } from "../shell/url";
import { doctorApi, type Finding, type Light, mostFacts, type Report, type Station, useDoctor } from "./api";
import css from "./DoctorPage.module.css";
import { byTrouble, type Cause, causes, findingOf, firstRed, objectText, withTraces } from "./report";

const codec = { parse: parseDoctor, format: formatDoctor };
type SetView = (change: (view: DoctorView) => DoctorView, step?: "push" | "replace") => void;

/** Why do I see no traces? */
export default function DoctorPage() {
  const { t, f } = useI18n();
  const [view, setView] = useUrlState(codec);
  const copy = useCopy();
  useTitle(t.doctor.title);
  const live = useDoctor(view.range, t.code);
  const facts = useFacts(view.range, t.code);
  const report = facts.file ? facts.report : live.data;
  const error = facts.file ? facts.error : live.error;
  return (
    <main id="main" tabIndex={-1} className={css["page"]}>
      <div className={css["head"]}>
        <h1>{t.doctor.title}</h1>
        <p className={controls["muted"]}>{t.doctor.question}</p>
        <span className={css["space"]} />
        <RangePicker range={view.range} onChange={(range) => setView((v) => ({ ...v, range }), "push")} />
        <button
          type="button"
          className={`${controls["button"]} ${controls["primary"]}`}
          disabled={live.isFetching || facts.pending}
          onClick={() => (facts.file ? facts.again() : live.refetch())}
        >
          <Icon name="refresh" />
          {t.doctor.checkAgain}
        </button>
        <FactsButton onFile={facts.load} />
        {report ? (
          <button
            type="button"
            className={controls["button"]}
            onClick={() => copy(JSON.stringify(report, null, 2))}
          >
            <Icon name="copy" />
            {t.doctor.copyReport}
          </button>
        ) : null}
      </div>
      {facts.file ? (
        <div className={css["facts"]} role="status">
          <span>
            {facts.pending ? t.doctor.factsReading(facts.file.name) : t.doctor.factsOf(facts.file.name)}
          </span>
          <label>
            <input
              type="checkbox"
              checked={facts.alone}
              disabled={facts.pending}
              onChange={(e) => facts.setAlone(e.target.checked)}
            />{" "}
            {t.doctor.alone}
          </label>
          <button type="button" className={controls["button"]} onClick={facts.close}>
            {t.doctor.factsClose}
          </button>
        </div>
      ) : null}
      {facts.tooLarge !== undefined ? (
        <WarnLine>{t.doctor.factsTooLarge(f.bytes(facts.tooLarge), f.bytes(mostFacts))}</WarnLine>
      ) : null}
      {error ? (
        <ErrorNotice
          error={error}
          onRetry={() => (facts.file ? facts.again() : live.refetch())}
          {...(facts.file
            ? { title: t.doctor.factsFailed(facts.file.name) }
            : report
              ? { title: t.state.stale }
              : {})}
        />
      ) : null}
      {report ? (
        <PanelBoundary>
          <Diagnosis
            report={report}
            view={view}
            setView={setView}
            checkedAt={facts.file ? undefined : live.dataUpdatedAt}
          />
        </PanelBoundary>
      ) : !error && (live.isPending || facts.pending) ? (
        <Loading rows={8} />
      ) : null}
    </main>
  );
}

/** A saved facts file, judged by the server and kept in this page only. */
function useFacts(range: Range, lang: string) {
  const [file, setFile] = useState<File>();
  const [alone, setAlone] = useState(false);
  const [tooLarge, setTooLarge] = useState<number>();
  const judge = useMutation({
    mutationFn: (p: { file: File; alone: boolean }) => doctorApi.judge(p.file, range, lang, p.alone),
  });
  return {
    file,
    alone,
    tooLarge,
    report: judge.data,
    error: judge.error,
    pending: judge.isPending,
    load: (next: File) => {
      if (next.size > mostFacts) {
        setTooLarge(next.size);
        return;
      }
      setTooLarge(undefined);
      setFile(next);
      judge.reset();
      judge.mutate({ file: next, alone });
    },
    setAlone: (next: boolean) => {
      setAlone(next);
      if (file) judge.mutate({ file, alone: next });
    },
    again: () => file && judge.mutate({ file, alone }),
    close: () => {
      setFile(undefined);
      judge.reset();
    },
  };
}

function FactsButton({ onFile }: { onFile: (file: File) => void }) {
  const { t } = useI18n();
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button
        type="button"
        className={controls["button"]}
        title={t.doctor.loadFactsHelp}
        onClick={() => input.current?.click()}
      >
        <Icon name="text" />
        {t.doctor.loadFacts}
      </button>
      <input
        ref={input}
        type="file"
        className="sr-only"
        tabIndex={-1}
        aria-label={t.doctor.loadFacts}
        onChange={(e) => {
          const file = e.target.files?.[0];
          // The same file may be chosen again after it was saved anew.
          e.target.value = "";
          if (file) onFile(file);
        }}
      />
    </>
  );
}

function Diagnosis(p: { report: Report; view: DoctorView; setView: SetView; checkedAt: number | undefined }) {
  const { t, f } = useI18n();
  const { report, view, setView } = p;
  const rows = byTrouble(report);
  const path = rows.find((r) => r.workload === view.workload) ?? (view.workload ? undefined : rows[0]);
  const all = causes(report);
  const red = path ? path.stations[firstRed(path.stations)] : undefined;
  const because = path && red ? findingOf(report, path.workload, red) : undefined;
  const holds = (c: Cause, code: string) => c.finding.code === code || c.follows.some((x) => x.code === code);
  // What a link asks for is open; else the finding of the path that is shown; else the first.
  const open =
    all.causes.find((c) => view.finding && holds(c, view.finding)) ??
    all.causes.find((c) => because && (c.finding === because || c.follows.includes(because))) ??
    (view.workload ? all.causes.find((c) => c.finding.workloads.includes(view.workload)) : undefined) ??
    all.causes[0];
  const source = report.source ? t.doctor.source[report.source] : undefined;
  const collected = report.collected ? Date.parse(report.collected) : Number.NaN;
  return (
    <>
      <div className={css["state"]} data-state={report.state} role="status">
        <StateIcon state={report.state} />
        <div>
          <p className={css["verdict"]}>{t.doctor.state[report.state]}</p>
          <p className={css["reason"]}>
            <span>{report.reason}</span>
            {[
              source,
              Number.isFinite(collected) ? t.doctor.collected(f.dateTime(collected)) : undefined,
              p.checkedAt ? t.doctor.checked(f.time(p.checkedAt)) : undefined,
              report.window
                ? `${f.dateTime(windowMs(report.window.from))} – ${f.dateTime(windowMs(report.window.to))}`
                : undefined,
            ]
              .filter(Boolean)
              .map((text) => (
                <span key={text}> · {text}</span>
              ))}
          </p>
        </div>
      </div>
      {path ? (
        <section aria-labelledby="path" className={css["path"]}>
          <h2 id="path">{t.doctor.pathOf(visible(path.workload))}</h2>
          <Path stations={path.stations} />
        </section>
      ) : null}
      <section aria-labelledby="findings">
        <h2 id="findings">
          {t.doctor.findings} <span className={controls["muted"]}>{f.integer(all.causes.length)}</span>
        </h2>
        {all.causes.length === 0 ? (
          <div className={css["fine"]}>
            <p>{t.doctor.noFindings}</p>
            {report.source === "server" ? (
              <p>
                {t.doctor.noFindingsHelp} <code>spanloom doctor -f DIR --save facts.json</code>
              </p>
            ) : null}
          </div>
        ) : null}
        {all.causes.map((c) => (
          <FindingView
            key={`${c.finding.code} ${objectText(c.finding.object)}`}
            finding={c.finding}
            follows={c.follows}
            open={c === open}
            wanted={view.finding}
          />
        ))}
        {all.notes.length > 0 ? (
          <details className={css["notes"]}>
            <summary>{t.doctor.others(f.integer(all.notes.length))}</summary>
            {all.notes.map((n) => (
              <FindingView
                key={`${n.code} ${objectText(n.object)}`}
                finding={n}
                follows={[]}
                open={false}
                wanted={view.finding}
              />
            ))}
          </details>
        ) : null}
        {all.causes.length > 0 ? <p className={css["small"]}>{t.doctor.readOnly}</p> : null}
      </section>
      <Workloads rows={rows} chosen={path?.workload} view={view} setView={setView} />
      {report.unread && report.unread.length > 0 ? (
        <section>
          <h2>{t.doctor.unread}</h2>
          <ul className={css["unread"]}>
            {report.unread.map((u) => (
              <li key={`${u.name} ${u.why}`}>
                <code>{u.name}</code> {u.why}
              </li>
            ))}
          </ul>
        </section>
      ) : null}
    </>
  );
}

/** The window of the receipts, in nanoseconds or as a date. */
function windowMs(instant: string): number {
  const ns = instantMs(instant);
  return Number.isFinite(ns) ? ns : Date.parse(instant);
}

function StateIcon({ state }: { state: Report["state"] }) {
  if (state === "broken") return <ErrorMark size={20} />;
  if (state === "partial") return <Icon name="warning" size={20} />;
  return <Glyph light={state === "healthy" ? "green" : "unknown"} size={20} />;
}

/** The light of a station: told by its shape, not by its colour alone. */
function Glyph({ light, size = 16 }: { light: Light; size?: number }) {
  if (light === "red") return <ErrorMark size={size} />;
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" aria-hidden="true" className={css[light]}>
      <circle cx="8" cy="8" r="7" />
      <path d={light === "green" ? "m4.7 8.3 2.3 2.3 4.3-4.8" : "M5 8h6"} />
    </svg>
  );
}

/** The stations in a row, with what is known of each below. */
function Path({ stations }: { stations: readonly Station[] }) {
  const { t } = useI18n();
  const red = firstRed(stations);
  return (
    <>
      <ol className={css["stations"]}>
        {stations.map((s, i) => {
          const name = t.doctor.station[s.name] ?? s.name;
          return (
            <li
              key={s.name}
              data-light={s.state}
              data-behind={red >= 0 && i > red}
              title={t.doctor.stationHelp[s.name]}
            >
              <span className={css["line"]} aria-hidden="true" />
              <span className={css["glyph"]}>
                <Glyph light={s.state} size={22} />
              </span>
              <span className={css["stationName"]}>
                {name}
                <span className="sr-only">: {t.doctor.light[s.state]}</span>
              </span>
              {s.reason && s.reason !== stations[i - 1]?.reason ? (
                <span className={css["why"]}>{s.reason}</span>
              ) : null}
            </li>
          );
        })}
      </ol>
      {red >= 0 && red < stations.length - 1 ? <p className={css["small"]}>{t.doctor.behind}</p> : null}
    </>
  );
}

/** Findings that a provider or a rate mends, which is what the mesh screen writes. */
const configures = (code: string) => /^T01(0[1-4]|1[0-2]|20)$/.test(code);

function FindingView(p: { finding: Finding; follows: readonly Finding[]; open: boolean; wanted: string }) {
  const { t, f } = useI18n();
  const { finding: x } = p;
  const object = objectText(x.object);
  return (
    <details className={css["finding"]} open={p.open} data-severity={x.severity} key={String(p.open)}>
      <summary>
        {x.severity === "error" ? (
          <ErrorMark size={14} />
        ) : (
          <Icon name={x.severity === "warning" ? "warning" : "text"} size={14} />
        )}
        <span className="sr-only">{t.doctor.severity[x.severity]}</span>
        <code>{x.code}</code>
        <b>{x.title}</b>
        <span className={css["of"]}>{x.workloads.length === 1 ? x.workloads[0] : object}</span>
      </summary>
      <div className={css["body"]}>
        {x.detail ? (
          <p>
            <Line text={x.detail} />
          </p>
        ) : null}
        <dl className={css["facts2"]}>
          {object ? (
            <div>
              <dt>{t.doctor.object}</dt>
              <dd>
                <code>{object}</code>
              </dd>
            </div>
          ) : null}
          {x.workloads.length > 0 ? (
            <div>
              <dt>{t.doctor.concerns}</dt>
              <dd>
                {x.workloads.slice(0, 8).map((w) => (
                  <code key={w} className={css["one"]}>
                    {visible(w)}
                  </code>
                ))}
                {x.workloads.length > 8
                  ? ` ${t.doctor.moreWorkloads(f.integer(x.workloads.length - 8))}`
                  : ""}
              </dd>
            </div>
          ) : null}
          <div>
            <dt>{t.doctor.consequence}</dt>
            <dd>{x.consequence}</dd>
          </div>
          {x.evidence.length > 0 ? (
            <div>
              <dt>{t.doctor.evidence}</dt>
              <dd>
                <ul className={css["evidence"]}>
                  {x.evidence.map((e) => (
                    <li key={e}>
                      <Line text={e} />
                    </li>
                  ))}
                </ul>
              </dd>
            </div>
          ) : null}
          <div className={css["fix"]}>
            <dt>{t.doctor.fix}</dt>
            <dd>
              <p>{x.fix.text}</p>
              {x.fix.general && x.fix.general !== x.fix.text ? (
                <p className={css["general"]}>
                  <b>{t.doctor.general}:</b> {x.fix.general}
                </p>
              ) : null}
              {x.fix.command ? (
                <CodeBlock label={t.doctor.command} copyLabel={t.doctor.copyCommand} text={x.fix.command} />
              ) : null}
              {x.fix.diff ? (
                <CodeBlock label={t.doctor.diff} copyLabel={t.doctor.copyDiff} text={x.fix.diff} diff />
              ) : null}
              {configures(x.code) ? (
                <p>
                  <Link href="/mesh">{t.app.configureMesh}</Link>
                </p>
              ) : null}
            </dd>
          </div>
        </dl>
        <p className={css["small"]}>{t.doctor.page(x.docs)}</p>
        {p.follows.length > 0 ? (
          <details className={css["follows"]} open={p.follows.some((y) => y.code === p.wanted)}>
            <summary>{t.doctor.followOns(f.integer(p.follows.length))}</summary>
            {p.follows.map((y) => (
              <FindingView
                key={`${y.code} ${objectText(y.object)}`}
                finding={y}
                follows={[]}
                open={y.code === p.wanted}
                wanted={p.wanted}
              />
            ))}
          </details>
        ) : null}
      </div>
    </details>
  );
}

/** A line of the server's with its trace ids as links. */
function Line({ text }: { text: string }) {
  const { t } = useI18n();
  let at = 0;
  return withTraces(text).map((part) => {
    at += part.text.length;
    return part.trace ? (
      <Link key={at} href={`/trace/${part.text}`} aria-label={t.map.openTrace(part.text)}>
        {part.text}
      </Link>
    ) : (
      <span key={at}>{part.text}</span>
    );
  });
}

/** Rows of the table before all are asked for. */
const few = 100;

function Workloads(p: {
  rows: Report["stations"];
  chosen: string | undefined;
  view: DoctorView;
  setView: SetView;
}) {
  const { t, f } = useI18n();
  const id = useId();
  const [all, setAll] = useState(false);
  const wanted = p.view.find.trim().toLowerCase();
  const fitting = p.rows.filter((r) => r.workload.toLowerCase().includes(wanted));
  const shown = all ? fitting : fitting.slice(0, few);
  const names = p.rows[0]?.stations.map((s) => s.name) ?? [];
  return (
    <section aria-labelledby={id}>
      <div className={css["bar"]}>
        <h2 id={id}>
          {t.doctor.allWorkloads} <span className={controls["muted"]}>{f.integer(p.rows.length)}</span>
        </h2>
        <p className={controls["muted"]}>{t.doctor.workloadsHelp}</p>
        <input
          type="search"
          className={controls["input"]}
          aria-label={t.doctor.filterWorkloads}
          placeholder={t.doctor.filterWorkloads}
          value={p.view.find}
          onChange={(e) => p.setView((v) => ({ ...v, find: e.target.value }))}
        />
      </div>
      {p.rows.length === 0 ? <Empty title={t.doctor.noWorkloads} /> : null}
      {p.rows.length > 0 && fitting.length === 0 ? (
        <p className={controls["muted"]}>{t.doctor.noWorkloadFits(p.view.find)}</p>
      ) : null}
      {shown.length > 0 ? (
        <Scroll className={css["scroll"]} label={t.doctor.workload}>
          <table className={`${controls["table"]} ${css["matrix"]}`}>
            <thead>
              <tr>
                <th>{t.doctor.workload}</th>
                {names.map((n) => (
                  <th key={n} title={t.doctor.stationHelp[n]}>
                    {t.doctor.station[n] ?? n}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {shown.map((r) => (
                <tr key={r.workload} data-chosen={r.workload === p.chosen}>
                  <td>
                    <button
                      type="button"
                      className={controls["plain"]}
                      aria-label={t.doctor.showPath(visible(r.workload))}
                      aria-current={r.workload === p.chosen ? "true" : undefined}
                      onClick={() => {
                        p.setView((v) => ({ ...v, workload: r.workload, finding: "" }), "push");
                        document.getElementById("path")?.scrollIntoView({ block: "center" });
                      }}
                    >
                      {visible(r.workload)}
                    </button>
                  </td>
                  {r.stations.map((s) => (
                    <td key={s.name} title={s.reason}>
                      <Glyph light={s.state} />
                      <span className="sr-only">{t.doctor.light[s.state]}</span>
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      ) : null}
      {fitting.length > shown.length ? (
        <button type="button" className={controls["button"]} onClick={() => setAll(true)}>
          {t.service.showAll}
        </button>
      ) : null}
    </section>
  );
}
