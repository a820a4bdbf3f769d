import { useMemo, useState } from "react";
import { joinText } from "../api/client";
import { useI18n } from "../i18n";
import { carries } from "../model/find";
import { FileError, maxFileBytes, type Opened, readTraceFile } from "../model/portable";
import { traceOf } from "../model/trace";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { useTitle } from "../shell/title";
import { SourceContext, type TraceSource } from "../trace/source";
import { BackLink, rootTitle } from "../trace/TracePage";
import page from "../trace/TracePage.module.css";
import { TraceScreen } from "../trace/TraceScreen";
import css from "./FilePage.module.css";

interface OpenFile {
  name: string;
  opened: Opened;
  source: TraceSource;
}

/** The file that is open stays for as long as the page does: going back and forth does not lose it, a reload does. */
let open: OpenFile | undefined;
let count = 0;

async function read(file: File): Promise<OpenFile> {
  if (file.size > maxFileBytes) throw new FileError("tooLarge");
  const bytes = new Uint8Array(await file.arrayBuffer());
  const opened = readTraceFile(joinText([bytes]));
  return { name: file.name, opened, source: sourceOf(opened) };
}

function sourceOf(opened: Opened): TraceSource {
  count++;
  return {
    key: `file ${count}`,
    spans: async (_, ids) => ({ items: opened.spans(ids) }),
    find: async (_, text) => {
      const found = opened.spans(opened.skeleton.spans.id).filter((s) => carries(s, text));
      return { count: found.length, spanIds: found.map((s) => s.spanId) };
    },
    hops: async () => opened.hops,
    otlp: async () => [new TextEncoder().encode(JSON.stringify(opened.otlp))],
  };
}

/** Shows a trace out of a file; nothing is sent anywhere. */
export default function FilePage() {
  const { t } = useI18n();
  const [file, setFile] = useState(open);
  const [reading, setReading] = useState(false);
  const [error, setError] = useState<unknown>();
  const trace = useMemo(() => (file ? traceOf(file.opened.skeleton) : undefined), [file]);
  useTitle(trace ? rootTitle(trace) : t.file.title);
  const take = async (chosen: File | undefined) => {
    if (!chosen) return;
    setReading(true);
    setError(undefined);
    try {
      open = await read(chosen);
      setFile(open);
    } catch (e) {
      setError(e);
    }
    setReading(false);
  };
  const close = () => {
    open = undefined;
    setFile(undefined);
  };

  if (file && trace) {
    return (
      <main id="main" tabIndex={-1} className={page["page"]}>
        <p className={css["notice"]} role="status">
          <Icon name="text" size={14} /> {t.file.notice(file.name)}
          <button type="button" className={controls["plain"]} onClick={close}>
            {t.file.another}
          </button>
        </p>
        <SourceContext value={file.source}>
          <TraceScreen trace={trace} onReload={() => {}} staleError={undefined} />
        </SourceContext>
      </main>
    );
  }
  return (
    <main
      id="main"
      tabIndex={-1}
      className={css["page"]}
      onDragOver={(e) => e.preventDefault()}
      onDrop={(e) => {
        e.preventDefault();
        void take(e.dataTransfer.files[0]);
      }}
    >
      <div className={page["head"]}>
        <BackLink />
        <h1>{t.file.title}</h1>
        <p className={controls["muted"]}>{t.file.question}</p>
      </div>
      <div className={css["drop"]}>
        <label className={controls["button"]}>
          <input
            type="file"
            className="sr-only"
            accept=".json,application/json"
            onChange={(e) => {
              void take(e.target.files?.[0]);
              e.target.value = "";
            }}
          />
          {t.file.choose}
        </label>
        <p>{t.file.drop}</p>
        <p className={controls["muted"]}>{t.file.kinds}</p>
        {reading ? <p role="status">{t.file.reading}</p> : null}
        {error !== undefined ? (
          <div role="alert" className={controls["error"]}>
            <p>{error instanceof FileError ? t.file.problem[error.problem] : t.state.panelFailed}</p>
            {error instanceof FileError ? (
              error.at ? (
                <p>
                  <code>{t.file.where(error.at)}</code>
                </p>
              ) : null
            ) : (
              <p>
                <code>{String(error)}</code>
              </p>
            )}
          </div>
        ) : null}
      </div>
    </main>
  );
}
