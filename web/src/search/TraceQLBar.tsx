import { useQuery } from "@tanstack/react-query";
import { Component, type ReactNode, useId, useState } from "react";
import { api } from "../api/client";
import { useI18n } from "../i18n";
import { formatFilters } from "../model/filters";
import type { Range } from "../model/time";
import { fromTraceQL, type Question, toTraceQL } from "../model/traceql";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { later } from "../shell/later";
import { useRested } from "../shell/rested";
import css from "./FilterBar.module.css";
import type { EditorProps } from "./TraceQLEditor";

const Editor = later(() => import("./TraceQLEditor"), Plain);

const draftKey = "spanloom.traceqlDraft";

/** What was typed and not yet searched survives closing the editor and leaving the page. */
function draftOf(query: string): string | undefined {
  try {
    const draft: unknown = JSON.parse(sessionStorage.getItem(draftKey) ?? "null");
    const { base, text } = (draft ?? {}) as { base?: unknown; text?: unknown };
    return base === query && typeof text === "string" ? text : undefined;
  } catch {
    return undefined;
  }
}

function keepDraft(base: string, text: string | undefined) {
  try {
    if (text === undefined) sessionStorage.removeItem(draftKey);
    else sessionStorage.setItem(draftKey, JSON.stringify({ base, text }));
  } catch {
    // Without storage a draft lives as long as the editor.
  }
}

/** The text a question has in the editor; fields without a TraceQL form are named. */
function textOf(q: Question): { text: string; left: string[] } {
  if (q.kind === "traceql") return { text: q.text, left: [] };
  const left = q.filters.filter((f) => toTraceQL([f]) === undefined);
  return { text: toTraceQL(q.filters.filter((f) => !left.includes(f)))!, left: left.map((f) => f.field) };
}

/** The query as TraceQL, with the server's opinion while it is typed. The editor itself is loaded when this is shown. */
export function TraceQLBar(p: {
  question: Question;
  query: string;
  range: Range;
  onChange: (q: string) => void;
}) {
  const { t, f } = useI18n();
  const id = useId();
  const { text: standing, left } = textOf(p.question);
  const [text, setText] = useState(() => draftOf(p.query) ?? standing);
  const changed = text.trim() !== standing.trim();

  const rested = useRested(text, 250);
  const check = useQuery({
    queryKey: ["traceql", rested],
    enabled: rested.trim() !== "",
    queryFn: ({ signal }) => api.checkTraceQL(rested, { signal }),
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
  const current = rested === text ? check.data : undefined;
  const mistake = current?.mistake;

  const type = (next: string) => {
    setText(next);
    keepDraft(p.query, next.trim() === standing.trim() ? undefined : next);
  };
  const submit = () => {
    const query = text.trim();
    keepDraft("", undefined);
    // Where chips say exactly the same, they are the shorter form of the link.
    const filters = fromTraceQL(query);
    const same = filters && toTraceQL(filters) === query;
    p.onChange(same ? formatFilters(filters) : query);
  };
  return (
    <form
      className={css["traceql"]}
      onSubmit={(e) => {
        e.preventDefault();
        submit();
      }}
    >
      <div className={css["editor"]} data-invalid={mistake !== undefined}>
        <EditorBoundary fallback={<Plain text={text} onChange={type} describedBy={`${id}help`} failed />}>
          <Editor
            text={text}
            range={p.range}
            mistake={mistake}
            describedBy={`${id}help`}
            onChange={type}
            onSubmit={submit}
          />
        </EditorBoundary>
      </div>
      <button type="submit" className={`${controls["button"]} ${controls["primary"]}`}>
        {t.editor.apply}
      </button>
      {changed ? (
        <button
          type="button"
          className={controls["button"]}
          onClick={() => type(standing)}
          title={t.editor.revert}
        >
          <Icon name="refresh" />
          <span className="sr-only">{t.editor.revert}</span>
        </button>
      ) : null}
      <div id={`${id}help`} className={css["verdict"]} role="status">
        {mistake ? (
          <p className={controls["error"]}>
            {t.editor.mistake(mistake.line, mistake.column, mistake.message)}
            {mistake.hint
              ? ` — ${mistake.hint}`
              : mistake.expected
                ? ` — ${t.editor.expected(mistake.expected)}`
                : ""}
          </p>
        ) : current?.kind === "metrics" ? (
          <p className={controls["warn"]}>{t.editor.metrics}</p>
        ) : check.error ? (
          <p>{t.editor.unchecked}</p>
        ) : (
          <p>{changed ? `${t.editor.changed}. ${t.editor.help}` : t.editor.help}</p>
        )}
        {left.length > 0 ? <p className={controls["warn"]}>{t.editor.noForm(f.list(left))}</p> : null}
      </div>
    </form>
  );
}

/** A plain line, until the editor is there and where it cannot be loaded. */
function Plain(p: {
  text: string;
  describedBy: string;
  onChange: EditorProps["onChange"];
  failed?: boolean;
}) {
  const { t } = useI18n();
  return (
    <>
      {p.failed ? <p className={css["verdict"]}>{t.editor.failed}</p> : null}
      <input
        className={`${controls["input"]} ${css["textInput"]}`}
        aria-label={t.editor.label}
        aria-describedby={p.describedBy}
        value={p.text}
        spellCheck={false}
        autoComplete="off"
        autoCapitalize="off"
        onChange={(e) => p.onChange(e.target.value)}
        onKeyDown={(e) => {
          if (e.key === "Enter" && (e.nativeEvent.isComposing || e.keyCode === 229)) e.preventDefault();
        }}
      />
    </>
  );
}

class EditorBoundary extends Component<{ children: ReactNode; fallback: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  override render() {
    return this.state.failed ? this.props.fallback : this.props.children;
  }
}
