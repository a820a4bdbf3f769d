import {
  autocompletion,
  type Completion,
  type CompletionContext,
  type CompletionResult,
  closeBrackets,
  completionKeymap,
  startCompletion,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, insertNewline } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { EditorState, StateEffect, StateField } from "@codemirror/state";
import { Decoration, type DecorationSet, EditorView, keymap, tooltips } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useRef } from "react";
import { api } from "../api/client";
import { useI18n } from "../i18n";
import { intrinsicValues, outsideWords, placeOf, scopeWords } from "../model/completeTraceql";
import { type Range, rangeWindow } from "../model/time";
import { quoted, traceqlName } from "../model/traceql";

export interface EditorProps {
  text: string;
  range: Range;
  /** Line and column, from 1, in characters. */
  mistake: { line: number; column: number } | undefined;
  describedBy: string;
  onChange: (text: string) => void;
  onSubmit: () => void;
}

/** The words of the language, for colours alone; the server's parser judges. */
const language = StreamLanguage.define<{ comment: boolean }>({
  startState: () => ({ comment: false }),
  token(stream, state) {
    if (state.comment || stream.match("/*")) {
      state.comment = !stream.match(/^.*?\*\//);
      if (state.comment) stream.skipToEnd();
      return "comment";
    }
    if (stream.match(/^\/\/.*/)) return "comment";
    if (stream.match(/^"(?:[^"\\]|\\.)*"?/) || stream.match(/^`[^`]*`?/)) return "string";
    if (stream.match(/^(?:span|resource|event|link|instrumentation|parent)?\.[^\s{}()=~!<>&|^,]+/)) {
      return "propertyName";
    }
    if (stream.match(/^[0-9.]+(?:ns|us|µs|ms|s|m|h|d)*\b/)) return "number";
    if (stream.match(/^(?:true|false|nil|ok|error|unset|server|client|internal|producer|consumer)\b/))
      return "atom";
    if (stream.match(/^[\w:]+(?=\s*\()/)) return "keyword";
    if (stream.match(/^[\w:]+/)) return "variableName";
    if (stream.match(/^(?:&&|\|\||[=!<>&~|]+)/)) return "operator";
    stream.next();
    return null;
  },
});

const colours = HighlightStyle.define([
  { tag: tags.string, color: "var(--svc-5)" },
  { tag: [tags.number, tags.atom], color: "var(--svc-7)" },
  { tag: tags.propertyName, color: "var(--accent)" },
  { tag: tags.keyword, color: "var(--svc-15)" },
  { tag: tags.comment, color: "var(--text-3)", fontStyle: "italic" },
  { tag: tags.operator, color: "var(--text-2)" },
]);

const look = EditorView.theme({
  "&": { fontSize: "13px", color: "var(--text)", backgroundColor: "var(--bg)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "20px", maxHeight: "140px" },
  ".cm-content": { padding: "6px 0", caretColor: "var(--text)" },
  ".cm-line": { padding: "0 8px" },
  "&.cm-focused .cm-selectionBackground, ::selection": { backgroundColor: "var(--bg-selected)" },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": {
    backgroundColor: "var(--bg-selected)",
    color: "inherit",
  },
  ".cm-mistake": { textDecoration: "underline wavy var(--error)", textUnderlineOffset: "3px" },
  ".cm-tooltip": {
    border: "1px solid var(--line)",
    borderRadius: "4px",
    backgroundColor: "var(--bg-raised)",
    color: "var(--text)",
    boxShadow: "var(--shadow)",
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": {
    fontFamily: "var(--mono)",
    fontSize: "13px",
    maxHeight: "220px",
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "2px 8px", lineHeight: "20px" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": {
    backgroundColor: "var(--bg-selected)",
    color: "var(--text)",
  },
  ".cm-completionDetail": { color: "var(--text-2)", fontStyle: "normal" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "600" },
});

const setMistake = StateEffect.define<EditorProps["mistake"]>();

const mistakes = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(marks, tr) {
    let out = tr.docChanged ? Decoration.none : marks;
    for (const e of tr.effects) {
      if (!e.is(setMistake)) continue;
      const at = e.value && offsetOf(tr.state, e.value);
      out =
        at === undefined
          ? Decoration.none
          : Decoration.set(Decoration.mark({ class: "cm-mistake" }).range(at[0], at[1]));
    }
    return out;
  },
  provide: (f) => EditorView.decorations.from(f),
});

/** The word at a place, at least one character; undefined in an empty text. */
function offsetOf(state: EditorState, at: { line: number; column: number }): [number, number] | undefined {
  if (at.line > state.doc.lines || state.doc.length === 0) return undefined;
  const line = state.doc.line(at.line);
  const units = [...line.text].slice(0, at.column - 1).join("").length;
  const from = Math.min(line.from + units, Math.max(line.from, line.to - 1));
  const word = /^[\w.:]+/.exec(line.text.slice(from - line.from));
  const to = Math.min(from + (word?.[0].length ?? 1), state.doc.length);
  return from < to ? [from, to] : undefined;
}

/**
 * The editor stands in a shadow root of its own: there CodeMirror puts its styles into a constructed
 * sheet, in the document it would write a style element, which the content security policy refuses.
 */
export default function TraceQLEditor(p: EditorProps) {
  const { t } = useI18n();
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(undefined);
  const latest = useRef(p);
  latest.current = p;
  const words = useRef(t);
  words.current = t;

  useEffect(() => {
    const el = host.current;
    if (!el) return;
    const root = el.shadowRoot ?? el.attachShadow({ mode: "open" });
    const place = document.createElement("div");
    root.replaceChildren(place);
    const editor = new EditorView({
      root,
      parent: place,
      state: EditorState.create({
        doc: latest.current.text,
        extensions: [
          history(),
          language,
          syntaxHighlighting(colours),
          bracketMatching(),
          closeBrackets(),
          mistakes,
          look,
          tooltips({ position: "absolute" }),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({
            "aria-label": words.current.editor.label,
            spellcheck: "false",
            autocapitalize: "off",
            autocorrect: "off",
          }),
          autocompletion({
            override: [(c) => complete(c, latest.current.range, words.current.editor.kinds)],
            icons: false,
          }),
          keymap.of([
            ...completionKeymap,
            {
              key: "Enter",
              shift: insertNewline,
              run: () => {
                latest.current.onSubmit();
                return true;
              },
            },
            {
              key: "Escape",
              run: (v) => {
                v.contentDOM.blur();
                return true;
              },
            },
            ...historyKeymap,
            ...defaultKeymap.filter((k) => k.key !== "Enter" && k.key !== "Escape"),
          ]),
          EditorView.updateListener.of((u) => {
            if (u.docChanged) latest.current.onChange(u.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = editor;
    return () => {
      editor.destroy();
      view.current = undefined;
    };
  }, []);

  useEffect(() => {
    const editor = view.current;
    if (!editor || editor.state.doc.toString() === p.text) return;
    editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: p.text } });
  }, [p.text]);

  useEffect(() => {
    view.current?.dispatch({ effects: setMistake.of(p.mistake) });
    view.current?.contentDOM.setAttribute("aria-invalid", String(p.mistake !== undefined));
  }, [p.mistake]);

  return <div ref={host} data-editor="traceql" />;
}

/** Suggestions at the cursor: words at once, keys and values from the server. */
async function complete(
  c: CompletionContext,
  range: Range,
  kinds: Record<"field" | "attribute" | "value" | "keyword" | "function", string>,
): Promise<CompletionResult | null> {
  const place = placeOf(c.state.doc.toString(), c.pos);
  if (!place) return null;
  if (!c.explicit && place.kind === "outside" && !place.text) return null;
  const stop = new AbortController();
  c.addEventListener("abort", () => stop.abort());
  const ask = { signal: stop.signal };
  const w = rangeWindow(range);
  // After a field comes an operator, after a scope its keys.
  const next = (text: string) => (v: EditorView, _c: Completion, from: number, to: number) => {
    v.dispatch({ changes: { from, to, insert: text }, selection: { anchor: from + text.length } });
    startCompletion(v);
  };
  try {
    switch (place.kind) {
      case "outside":
        return {
          from: place.from,
          options: outsideWords.map((label) => ({ label, detail: kinds.function })),
        };
      case "field":
        return {
          from: place.from,
          options: [
            ...Object.keys(intrinsicValues).map((label) => ({
              label,
              detail: kinds.field,
              apply: next(`${label} `),
            })),
            {
              label: "resource.service.name",
              detail: kinds.attribute,
              apply: next("resource.service.name = "),
            },
            ...scopeWords.map((label) => ({ label, detail: kinds.keyword, apply: next(label) })),
          ],
          validFor: /^[\w:]*$/,
        };
      case "key": {
        const list = await api.keys({ prefix: place.prefix, scope: place.scope, limit: 50, ...w }, ask);
        return {
          from: place.from,
          options: list.items.map((k) => {
            const scope = place.scope === "any" ? "any" : k.scope;
            return { label: traceqlName(scope, k.key), detail: kinds.attribute };
          }),
        };
      }
      case "value": {
        const known = intrinsicValues[place.field];
        if (known)
          return { from: place.from, options: known.map((label) => ({ label, detail: kinds.value })) };
        const values = await valuesOf(place.field, place.prefix, w, ask);
        return {
          from: place.from,
          filter: false,
          options: values.map((v) => ({
            label: v.plain ? v.text : quoted(v.text),
            detail: kinds.value,
            // An opening quote that stands there belongs to the value.
            apply: (editor: EditorView, _c: Completion, from: number, to: number) => {
              const rest = editor.state.sliceDoc(to, to + 1) === '"' ? 1 : 0;
              const insert = v.plain ? v.text : quoted(v.text);
              editor.dispatch({
                changes: { from, to: to + rest, insert },
                selection: { anchor: from + insert.length },
              });
            },
          })),
        };
      }
    }
  } catch {
    return null; // typing goes on without suggestions
  }
}

async function valuesOf(
  field: string,
  prefix: string,
  w: { start: string; end?: string },
  ask: { signal: AbortSignal },
): Promise<{ text: string; plain: boolean }[]> {
  const text = (list: { name: string }[]) =>
    list.filter((x) => x.name.includes(prefix)).map((x) => ({ text: x.name, plain: false }));
  if (field === "resource.service.name" || field === "rootServiceName") {
    return text((await api.services(w, false, ask)).items);
  }
  const m = /^(span|resource|event|link|instrumentation|)\.(.+)$/s.exec(field);
  if (!m) return [];
  const scope = m[1] === "" ? "any" : m[1] === "instrumentation" ? "scope" : m[1]!;
  const key = m[2]!.replace(/^"(.*)"$/s, (_, k: string) => k.replace(/\\(.)/g, "$1"));
  const list = await api.values({ key, scope, prefix, limit: 50, ...w }, ask);
  return list.items.map((v) => ({
    text: v.value,
    plain: v.type === "int" || v.type === "double" || v.type === "bool",
  }));
}
