import { useId, useRef, useState } from "react";
import { useLocation } from "wouter";
import { type I18n, useI18n } from "../i18n";
import { slotVar } from "../model/colour";
import {
  type Filter,
  formatFilter,
  formatFilters,
  goodFilters,
  guessFilter,
  type Mistake,
  parseFilters,
  withFilter,
} from "../model/filters";
import { type Pasted, readPasted } from "../model/ids";
import type { Range } from "../model/time";
import { isTraceQL, readQuestion } from "../model/traceql";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { useShortcuts } from "../shell/keys";
import { prefs, usePrefs } from "../shell/prefs";
import css from "./FilterBar.module.css";
import { type Suggestion, stageOf, suggestions } from "./suggest";
import { TraceQLBar } from "./TraceQLBar";
import { useAnswers } from "./useAnswers";

interface Props {
  /** The text form, as it stands in the URL. */
  query: string;
  range: Range;
  onChange: (query: string) => void;
  /** A request id: only a wider search finds it. */
  onRequest: (filter: Filter) => void;
}

/**
 * Filters as chips and as TraceQL: two views of the same query in the URL. The input takes whatever is
 * typed, at once; suggestions are an offer and never waited for.
 */
export function FilterBar({ query, range, onChange, onRequest }: Props) {
  const { t } = useI18n();
  const { filterText } = usePrefs();
  const question = readQuestion(query);
  const traceql = question.ok && question.value.kind === "traceql" ? question.value : undefined;
  const filters = traceql ? (traceql.filters ?? []) : goodFilters(query);
  const set = (next: readonly Filter[]) => onChange(formatFilters(next));
  const open = () => prefs.change({ filterText: true });
  return (
    <div className={css["bar"]}>
      <FilterInput
        filters={filters}
        whole={traceql && !traceql.filters ? traceql.text : undefined}
        range={range}
        set={set}
        onWhole={(text) => onChange(text)}
        onOpen={open}
        onRequest={onRequest}
      />
      <button
        type="button"
        className={`${controls["button"]} ${css["mode"]}`}
        aria-pressed={filterText}
        title={t.editor.toggleHelp}
        onClick={() => prefs.change({ filterText: !filterText })}
      >
        <Icon name="text" />
        {t.editor.toggle}
      </button>
      {question.ok ? null : (
        <TextLine key={query} query={query} mistake={question.mistake} onChange={onChange} />
      )}
      {filterText && question.ok ? (
        <TraceQLBar key={query} question={question.value} query={query} range={range} onChange={onChange} />
      ) : null}
    </div>
  );
}

function FilterInput(p: {
  filters: Filter[];
  /** A TraceQL query that chips cannot show. */
  whole: string | undefined;
  range: Range;
  set: (next: readonly Filter[]) => void;
  onWhole: (text: string) => void;
  onOpen: () => void;
  onRequest: Props["onRequest"];
}) {
  const { t, f } = useI18n();
  const [, navigate] = useLocation();
  const input = useRef<HTMLInputElement>(null);
  const id = useId();
  const [text, setText] = useState("");
  const [open, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  const [mistake, setMistake] = useState<Mistake>();
  const answers = useAnswers(open ? text : undefined, p.filters, p.range);
  const items = open ? suggestions(text, answers.answers) : [];
  const chosen = Math.min(active, items.length - 1);

  useShortcuts({ focusSearch: () => input.current?.focus() });

  const type = (next: string) => {
    setText(next);
    setActive(-1);
    setMistake(undefined);
    setOpen(true);
  };
  const begin = (start: string) => {
    type(start);
    input.current?.focus();
  };
  const done = () => {
    setText("");
    setActive(-1);
    setMistake(undefined);
    setOpen(false);
  };
  const openPasted = (pasted: Pasted) => {
    done();
    if (pasted.kind === "trace") {
      navigate(`/trace/${pasted.traceId}${pasted.spanId ? `?span=${pasted.spanId}` : ""}`);
    } else {
      p.onRequest({ field: "span.guid:x-request-id", op: "=", value: pasted.requestId });
    }
  };
  const take = (s: Suggestion) => {
    if (s.kind === "complete") begin(s.text);
    else if (s.kind === "open") openPasted(s.pasted);
    else {
      p.set(withFilter(p.filters, s.filter));
      done();
      input.current?.focus();
    }
  };
  const commit = () => {
    const typed = text.trim();
    if (!typed) return setOpen(false);
    const pasted = readPasted(typed);
    if (pasted) return openPasted(pasted);
    if (isTraceQL(typed)) {
      done();
      p.onOpen();
      return p.onWhole(typed);
    }
    const parsed = parseFilters(typed);
    if (parsed.ok) {
      p.set(parsed.value.reduce((all: Filter[], x) => withFilter(all, x), p.filters));
      done();
    } else if (parsed.mistake.problem === "noOp" && stageOf(typed).kind === "field") {
      p.set(withFilter(p.filters, guessFilter(typed)));
      done();
    } else {
      setMistake(parsed.mistake);
      setOpen(false);
    }
  };
  const edit = (filter: Filter) => {
    p.set(p.filters.filter((x) => x !== filter));
    begin(formatFilter(filter));
  };

  const onKeyDown = (e: React.KeyboardEvent) => {
    // Enter that ends a Hangul composition belongs to the input method.
    if (e.nativeEvent.isComposing || e.keyCode === 229) return;
    if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      e.preventDefault();
      if (!open) return setOpen(true);
      const by = e.key === "ArrowDown" ? 1 : -1;
      const next = chosen + by;
      setActive(next < -1 ? items.length - 1 : next >= items.length ? -1 : next);
    } else if (e.key === "Enter") {
      e.preventDefault();
      const item = items[chosen];
      if (open && item) take(item);
      else commit();
    } else if (e.key === "Tab" && open && items[chosen] && !e.shiftKey) {
      e.preventDefault();
      take(items[chosen]);
    } else if (e.key === "Escape") {
      e.preventDefault();
      if (open) setOpen(false);
      else if (text) done();
      else input.current?.blur();
    } else if (e.key === "Backspace" && text === "" && p.filters.length > 0) {
      e.preventDefault();
      edit(p.filters[p.filters.length - 1]!);
    }
  };

  const starts = [
    ["service=", t.search.addService],
    ["operation=", t.search.addOperation],
    ["status=", t.search.addStatus],
    ["duration>", t.search.addDuration],
    ["span.", t.search.addAttribute],
  ] as const;

  return (
    <div className={css["wrap"]}>
      {/* A click beside the chips means the input. */}
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: the input is a tab stop of its own */}
      {/* biome-ignore lint/a11y/noStaticElementInteractions: see above */}
      <div className={css["field"]} onClick={(e) => e.target === e.currentTarget && input.current?.focus()}>
        <Icon name="filter" />
        {p.whole !== undefined ? (
          <ul className={css["chips"]} aria-label={t.search.filters}>
            <li className={css["chip"]}>
              <button type="button" onClick={p.onOpen} title={p.whole}>
                <span className={css["chipField"]}>{t.editor.chip}</span>
                <span className={css["whole"]}>{p.whole}</span>
              </button>
              <button type="button" onClick={() => p.set([])} aria-label={t.search.remove(t.editor.chip)}>
                <Icon name="close" size={12} />
              </button>
            </li>
          </ul>
        ) : null}
        {p.filters.length > 0 ? (
          <ul className={css["chips"]} aria-label={t.search.filters}>
            {p.filters.map((x) => (
              <Chip
                key={formatFilter(x)}
                filter={x}
                onEdit={() => edit(x)}
                onRemove={() => {
                  p.set(p.filters.filter((o) => o !== x));
                  input.current?.focus();
                }}
              />
            ))}
          </ul>
        ) : null}
        <input
          ref={input}
          className={css["input"]}
          role="combobox"
          aria-label={t.search.add}
          aria-expanded={open}
          aria-controls={`${id}list`}
          aria-autocomplete="list"
          aria-activedescendant={open && chosen >= 0 ? `${id}${chosen}` : undefined}
          aria-invalid={mistake !== undefined}
          aria-describedby={mistake ? `${id}mistake` : undefined}
          placeholder={t.search.placeholder}
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          value={text}
          onChange={(e) => type(e.target.value)}
          onKeyDown={onKeyDown}
          onFocus={() => setOpen(true)}
          onBlur={(e) => {
            if (!e.relatedTarget?.closest(`[data-of="${id}"]`)) setOpen(false);
          }}
          onPaste={(e) => {
            const pasted = readPasted(e.clipboardData.getData("text"));
            if (pasted && text.trim() === "") {
              e.preventDefault();
              openPasted(pasted);
            }
          }}
        />
        {p.filters.length > 0 ? (
          <button
            type="button"
            className={controls["icon"]}
            onClick={() => p.set([])}
            aria-label={t.search.clear}
            title={t.search.clear}
          >
            <Icon name="close" />
          </button>
        ) : null}
      </div>
      <div
        id={`${id}list`}
        role="listbox"
        aria-label={t.search.suggestions}
        className={css["list"]}
        hidden={!open}
        data-of={id}
      >
        {items.map((s, i) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the input above has the keys
          <div
            // biome-ignore lint/suspicious/noArrayIndexKey: the list is made anew with every letter
            key={i}
            id={`${id}${i}`}
            role="option"
            aria-selected={i === chosen}
            className={css["item"]}
            onPointerDown={(e) => e.preventDefault()}
            onClick={() => take(s)}
          >
            <Line suggestion={s} />
            <span className={css["hint"]}>{hint(s, t, f.integer)}</span>
          </div>
        ))}
      </div>
      {open && (answers.loading || answers.failed || (items.length === 0 && text !== "")) ? (
        <p className={css["foot"]} data-below={items.length > 0} role="status">
          {answers.loading
            ? t.search.suggestLoading
            : answers.failed
              ? t.search.suggestFailed
              : t.search.suggestNone}
        </p>
      ) : null}
      {mistake ? (
        <p id={`${id}mistake`} className={css["mistake"]} role="alert">
          <code>{mistake.text}</code> {t.search.mistakes[mistake.problem]}
        </p>
      ) : null}
      <div className={css["starts"]}>
        {starts.map(([start, label]) => (
          <button key={start} type="button" className={css["start"]} onClick={() => begin(start)}>
            + {label}
          </button>
        ))}
      </div>
    </div>
  );
}

function Line({ suggestion: s }: { suggestion: Suggestion }) {
  const { t } = useI18n();
  if (s.kind === "open") {
    return <span>{s.pasted.kind === "trace" ? s.pasted.traceId : s.pasted.requestId}</span>;
  }
  return (
    <span className={css["label"]}>
      {s.kind === "filter" && s.slot !== undefined ? (
        <i className={controls["tick"]} style={{ background: slotVar(s.slot) }} />
      ) : null}
      <span>{s.label}</span>
      {s.kind === "complete" && s.hint === "field" && t.code !== "en" ? (
        <span className={controls["muted"]}>{t.search.fields[s.label as keyof typeof t.search.fields]}</span>
      ) : null}
    </span>
  );
}

function hint(s: Suggestion, t: I18n["t"], integer: (n: number) => string): string {
  if (s.kind === "open") return s.pasted.kind === "trace" ? t.search.suggestOpen : t.search.suggestRequest;
  if (s.kind === "filter" && s.hint)
    return s.hint === "exists" ? t.search.suggestExists : t.search.suggestName;
  if (s.count !== undefined) return t.search.count(integer(s.count));
  return s.kind === "complete" ? t.search.suggestField : "";
}

function Chip(p: { filter: Filter; onEdit: () => void; onRemove: () => void }) {
  const { t } = useI18n();
  const text = formatFilter(p.filter);
  const { field, op, value } = p.filter;
  return (
    <li className={css["chip"]} data-error={field === "status" && op === "=" && value === "error"}>
      <button type="button" onClick={p.onEdit} aria-label={t.search.edit(text)} title={text}>
        <span className={css["chipField"]}>{field}</span>
        <span className={css["chipOp"]}>{op === "exists" ? "?" : op}</span>
        {value}
      </button>
      <button type="button" onClick={p.onRemove} aria-label={t.search.remove(text)}>
        <Icon name="close" size={12} />
      </button>
    </li>
  );
}

/** A query that does not parse, as text: kept, explained and open to be mended. */
function TextLine(p: { query: string; mistake: Mistake; onChange: (query: string) => void }) {
  const { t } = useI18n();
  const id = useId();
  const [text, setText] = useState(p.query);
  return (
    <form
      className={css["text"]}
      onSubmit={(e) => {
        e.preventDefault();
        p.onChange(text.trim());
      }}
    >
      <input
        className={`${controls["input"]} ${css["textInput"]}`}
        aria-label={t.search.textLabel}
        aria-invalid="true"
        aria-describedby={`${id}help`}
        autoComplete="off"
        autoCapitalize="off"
        spellCheck={false}
        value={text}
        onChange={(e) => setText(e.target.value)}
        onKeyDown={(e) => {
          if (e.key === "Enter" && (e.nativeEvent.isComposing || e.keyCode === 229)) e.preventDefault();
        }}
      />
      <button type="submit" className={`${controls["button"]} ${controls["primary"]}`}>
        {t.search.apply}
      </button>
      <p id={`${id}help`} className={css["mistake"]} role="alert">
        <code>{p.mistake.text}</code> {t.search.mistakes[p.mistake.problem]}
      </p>
    </form>
  );
}
