import { useQuery } from "@tanstack/react-query";
import { useId, useMemo, useState } from "react";
import { useLocation } from "wouter";
import { api } from "../api/client";
import { useI18n } from "../i18n";
import { guessFilter } from "../model/filters";
import { readPasted } from "../model/ids";
import { defaultRange } from "../model/rangeUrl";
import { searchFor } from "../model/searchUrl";
import { controls } from "./controls";
import { Dialog } from "./Dialog";
import css from "./Palette.module.css";
import { prefs, resolvedTheme } from "./prefs";

interface Entry {
  key: string;
  text: string;
  detail?: string;
  run: () => void;
}

/** The palette goes to a page, a service's traces, or whatever a pasted id or header names. */
export function Palette({ onClose }: { onClose: () => void }) {
  const { t } = useI18n();
  const [, navigate] = useLocation();
  const [text, setText] = useState("");
  const [active, setActive] = useState(0);
  const id = useId();
  const services = useQuery({
    queryKey: ["services", "names"],
    queryFn: ({ signal }) => api.services({ start: "24h" }, false, { signal }),
  });

  const entries = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    const out: Entry[] = [];
    const go = (to: string) => () => {
      onClose();
      navigate(to);
    };
    const pasted = readPasted(text);
    if (pasted?.kind === "trace") {
      const span = pasted.spanId ? `?span=${pasted.spanId}` : "";
      out.push({
        key: "trace",
        text: t.palette.openTrace,
        detail: pasted.traceId,
        run: go(`/trace/${pasted.traceId}${span}`),
      });
    }
    if (pasted?.kind === "request") {
      const filter = { field: "span.guid:x-request-id", op: "=" as const, value: pasted.requestId };
      out.push({
        key: "request",
        text: t.palette.findRequest,
        detail: pasted.requestId,
        run: go(`/search?${searchFor([filter], { kind: "last", last: "24h" })}`),
      });
    }
    const pages: Entry[] = [
      { key: "/", text: t.app.overview, run: go("/") },
      { key: "/search", text: t.app.search, run: go("/search") },
      { key: "/map", text: t.app.map, run: go("/map") },
      { key: "/doctor", text: t.app.doctor, run: go("/doctor") },
      { key: "/mesh", text: t.app.mesh, detail: t.app.configureMesh, run: go("/mesh") },
      { key: "/status", text: t.app.status, run: go("/status") },
      { key: "/compare", text: t.compare.title, run: go("/compare") },
      { key: "/file", text: t.file.open, run: go("/file") },
      { key: "/help", text: t.help, run: go("/help") },
      {
        key: "theme",
        text: t.palette.toggleTheme,
        run: () => {
          prefs.change({ theme: resolvedTheme(prefs.get()) === "dark" ? "light" : "dark" });
          onClose();
        },
      },
      {
        key: "language",
        text: t.palette.toggleLanguage,
        run: () => {
          prefs.change({ language: t.code === "ko" ? "en" : "ko" });
          onClose();
        },
      },
    ];
    out.push(...pages.filter((p) => p.text.toLowerCase().includes(wanted)));
    for (const s of services.data?.items ?? []) {
      if (out.length > 30) break;
      if (!s.name.toLowerCase().includes(wanted)) continue;
      const filter = { field: "service", op: "=" as const, value: s.name };
      out.push({
        key: `service ${s.name}`,
        text: s.name,
        detail: t.palette.searchService,
        run: go(`/search?${searchFor([filter], defaultRange)}`),
      });
    }
    return out;
  }, [text, t, services.data, onClose, navigate]);

  const chosen = Math.min(active, entries.length - 1);
  return (
    <Dialog title={t.palette.label} onClose={onClose} bare>
      <input
        className={`${controls["input"]} ${css["input"]}`}
        role="combobox"
        aria-label={t.palette.label}
        aria-expanded="true"
        aria-controls={`${id}list`}
        aria-activedescendant={chosen >= 0 ? `${id}${chosen}` : undefined}
        placeholder={t.palette.placeholder}
        autoComplete="off"
        spellCheck={false}
        value={text}
        onChange={(e) => {
          setText(e.target.value);
          setActive(0);
        }}
        onKeyDown={(e) => {
          if (e.nativeEvent.isComposing || e.keyCode === 229) return;
          if (e.key === "ArrowDown" || e.key === "ArrowUp") {
            e.preventDefault();
            const by = e.key === "ArrowDown" ? 1 : -1;
            setActive((chosen + by + entries.length) % Math.max(1, entries.length));
          } else if (e.key === "Enter") {
            e.preventDefault();
            const entry = entries[chosen];
            if (entry) entry.run();
            else if (text.trim()) {
              onClose();
              navigate(`/search?${searchFor([guessFilter(text)], defaultRange)}`);
            }
          }
        }}
      />
      <div role="listbox" id={`${id}list`} aria-label={t.palette.label} className={css["list"]}>
        {entries.map((e, i) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the input above has the keys
          <div
            key={e.key}
            id={`${id}${i}`}
            role="option"
            aria-selected={i === chosen}
            className={css["entry"]}
            onClick={e.run}
            onPointerMove={() => setActive(i)}
          >
            <span>{e.text}</span>
            {e.detail ? <span className={controls["muted"]}>{e.detail}</span> : null}
          </div>
        ))}
      </div>
      {entries.length === 0 ? <p className={css["nothing"]}>{t.palette.nothing}</p> : null}
    </Dialog>
  );
}
