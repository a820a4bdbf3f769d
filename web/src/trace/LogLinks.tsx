import { useState } from "react";
import type { Span } from "../api/types";
import { useI18n } from "../i18n";
import { logContext, logUrl } from "../model/logLinks";
import type { Trace } from "../model/trace";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { later } from "../shell/later";
import { usePrefs } from "../shell/prefs";
import css from "./Details.module.css";

const LogDialog = later(() => import("./LogDialog"));

/** Links from a span to its log lines, by the reader's own templates. */
export function LogLinks({ trace, span, row }: { trace: Trace; span: Span; row: number }) {
  const { t } = useI18n();
  const { logLinks } = usePrefs();
  const [editing, setEditing] = useState(false);
  const context = logContext(trace, row, span.spanId, podOf(span), span.start);
  return (
    <section className={css["group"]}>
      <h3>{t.logs.title}</h3>
      <p className={css["text"]}>
        {logLinks.map((l) => (
          <span key={`${l.name} ${l.url}`}>
            <a
              href={logUrl(l, context)}
              target="_blank"
              rel="noreferrer noopener"
              title={t.logs.open(l.name)}
            >
              {l.name} <Icon name="external" size={12} />
            </a>{" "}
          </span>
        ))}
        {logLinks.length === 0 ? <span className={controls["muted"]}>{t.logs.none} </span> : null}
        <button type="button" className={controls["plain"]} onClick={() => setEditing(true)}>
          {logLinks.length === 0 ? t.logs.setUp : t.logs.edit}
        </button>
      </p>
      {editing ? <LogDialog context={context} onClose={() => setEditing(false)} /> : null}
    </section>
  );
}

/** The pod of a span: as its resource says, else out of Istio's node id. */
function podOf(span: Span): string {
  const value = (list: Span["attributes"], key: string) => {
    const a = list.find((x) => x.key === key);
    return typeof a?.value === "string" ? a.value : "";
  };
  const named = value(span.resource, "k8s.pod.name");
  if (named) return named;
  const id = (value(span.attributes, "node_id") || value(span.resource, "node_id")).split("~")[2] ?? "";
  const dot = id.lastIndexOf(".");
  return dot > 0 ? id.slice(0, dot) : id;
}
