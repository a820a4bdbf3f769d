import { Component, type ReactNode, useEffect, useState } from "react";
import { ApiError } from "../api/client";
import type { Read } from "../api/types";
import { type Dict, type I18n, useI18n } from "../i18n";
import { controls } from "./controls";
import { Icon } from "./Icon";
import { CodeError } from "./later";
import css from "./states.module.css";
import { useCopy } from "./toast";

/** Loading shows nothing for the first 150 ms, then what is known of the progress, and a way out. */
export function Loading(p: { bytes?: number; onCancel?: () => void; rows?: number }) {
  const { t, f } = useI18n();
  const [since] = useState(() => performance.now());
  const [elapsed, setElapsed] = useState(0);
  useEffect(() => {
    const first = setTimeout(() => setElapsed(150), 150);
    const timer = setInterval(() => setElapsed(performance.now() - since), 1000);
    return () => {
      clearTimeout(first);
      clearInterval(timer);
    };
  }, [since]);
  if (elapsed < 150) return <div className={css["loading"]} aria-busy="true" />;
  return (
    <div className={css["loading"]} aria-busy="true">
      <div className={css["progress"]} role="status">
        <span>
          {elapsed < 2000 ? t.state.loading : t.state.loadingSeconds(f.integer(Math.floor(elapsed / 1000)))}
        </span>
        {p.bytes ? <span className={controls["muted"]}>{t.state.loadingBytes(f.bytes(p.bytes))}</span> : null}
        {p.onCancel ? (
          <button type="button" className={controls["button"]} onClick={p.onCancel}>
            {t.state.cancel}
          </button>
        ) : null}
      </div>
      <div aria-hidden="true">
        {Array.from({ length: p.rows ?? 6 }, (_, i) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: lines without identity
          <div key={i} className={css["skeleton"]} style={{ width: `${90 - ((i * 37) % 45)}%` }} />
        ))}
      </div>
    </div>
  );
}

/** errorTitle says what an error is. A store that is away is no busy server: waiting need not help. */
function errorTitle(e: ApiError, t: Dict): string {
  if (e.kind === "overloaded" && e.status === 503) return t.error.unavailable;
  return t.error[e.kind] ?? t.error.internal;
}

/** The report of an error as text, in the reader's language where it is ours and as sent where it is not. */
export function errorReport(error: unknown, { t }: I18n, atMs: number): string {
  const lines = [`Spanloom ${new Date(atMs).toISOString()}`];
  if (error instanceof ApiError) {
    lines.push(errorTitle(error, t));
    lines.push(`${t.state.tried}: ${error.tried}`);
    if (error.status) lines.push(`${t.state.status}: ${error.status}`);
    if (error.requestId) lines.push(`${t.state.requestId}: ${error.requestId}`);
    const field = error.field ? ` (${error.field})` : "";
    const hint = error.hint ? `\n${error.hint}` : "";
    lines.push(`${t.state.server}: ${error.message}${field}${hint}`);
  } else lines.push(String(error));
  return lines.join("\n");
}

/** ErrorNotice says what failed, what was tried, and offers to try again and to copy a report. */
export function ErrorNotice(p: { error: unknown; onRetry?: () => void; title?: string }) {
  const i18n = useI18n();
  const { t } = i18n;
  const copy = useCopy();
  const e = p.error instanceof ApiError ? p.error : undefined;
  const code = p.error instanceof CodeError;
  const title = p.title ?? (e ? errorTitle(e, t) : code ? t.state.codeMissing : t.state.panelFailed);
  return (
    <div className={`${css["notice"]} ${css["bad"]}`} role="alert">
      <p className={css["title"]}>
        <Icon name="warning" />
        {title}
      </p>
      {e?.hint ? <p>{e.hint}</p> : code ? <p>{t.state.codeHint}</p> : null}
      <div className={css["actions"]}>
        {p.onRetry ? (
          <button type="button" className={controls["button"]} onClick={p.onRetry}>
            <Icon name="refresh" />
            {t.state.retry}
          </button>
        ) : null}
        {code ? (
          <button type="button" className={controls["button"]} onClick={() => location.reload()}>
            {t.state.reload}
          </button>
        ) : null}
        <button
          type="button"
          className={controls["button"]}
          onClick={() => copy(errorReport(p.error, i18n, Date.now()))}
        >
          <Icon name="copy" />
          {t.state.copyReport}
        </button>
      </div>
      <details className={css["report"]}>
        <summary>{t.state.details}</summary>
        <pre>{errorReport(p.error, i18n, Date.now())}</pre>
      </details>
    </div>
  );
}

/** PartialNotice stands above an answer that lacks something, with a way to ask again where the page has no other. */
export function PartialNotice(p: {
  complete: boolean | undefined;
  reason?: string | undefined;
  away?: boolean | undefined;
  read?: Read | undefined;
  onRetry?: (() => void) | undefined;
}) {
  const { t, f } = useI18n();
  if (p.complete !== false) return null;
  const { blocks, of } = p.read ?? {};
  return (
    <div className={`${css["notice"]} ${css["warn"]} ${css["line"]}`} role="status">
      <p className={css["title"]}>
        <Icon name="warning" />
        {p.away
          ? t.state.partialAway(p.reason ?? "")
          : p.reason
            ? t.state.partialReason(p.reason)
            : t.state.partial}
        {blocks !== undefined && of !== undefined && blocks < of ? (
          <span>{t.state.blocksRead(f.integer(blocks), f.integer(of))}</span>
        ) : null}
      </p>
      {p.onRetry ? (
        <button type="button" className={controls["button"]} onClick={p.onRetry}>
          <Icon name="refresh" />
          {t.state.retry}
        </button>
      ) : null}
    </div>
  );
}

/** WarnLine is one amber line with an action. */
export function WarnLine(p: { children: ReactNode; action?: ReactNode }) {
  return (
    <div className={`${css["notice"]} ${css["warn"]} ${css["line"]}`} role="status">
      <p className={css["title"]}>
        <Icon name="warning" />
        {p.children}
      </p>
      {p.action}
    </div>
  );
}

/** Empty says which kind of nothing this is and what to do about it. */
export function Empty(p: { title: string; children?: ReactNode }) {
  return (
    <div className={css["empty"]} role="status">
      <p className={css["emptyTitle"]}>{p.title}</p>
      {p.children}
    </div>
  );
}

/** A failing panel does not take the page down; where all of a page failed, `page` is its heading. */
export class PanelBoundary extends Component<{ children: ReactNode; page?: string }, { error: unknown }> {
  override state: { error: unknown } = { error: undefined };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (this.state.error === undefined) return this.props.children;
    const notice = (
      <ErrorNotice error={this.state.error} onRetry={() => this.setState({ error: undefined })} />
    );
    if (this.props.page === undefined) return notice;
    return (
      <main id="main" tabIndex={-1}>
        <h1 className="sr-only">{this.props.page}</h1>
        {notice}
      </main>
    );
  }
}
