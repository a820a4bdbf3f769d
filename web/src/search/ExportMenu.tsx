import type { TraceSummary } from "../api/types";
import { useI18n } from "../i18n";
import { tracesCsv, tracesJson } from "../model/exportList";
import { controls } from "../shell/controls";
import { download } from "../shell/download";
import { Icon } from "../shell/Icon";
import { Popover, PopoverClose } from "../shell/Popover";
import css from "./Search.module.css";

/** The loaded traces as a file. */
export function ExportMenu(p: { traces: readonly TraceSummary[]; search: string; complete: boolean }) {
  const { t, f } = useI18n();
  const give = (text: string, type: string, ending: string) =>
    download(`spanloom-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.${ending}`, text, type);
  return (
    <Popover
      label={t.found.export}
      align="end"
      button={
        <button type="button" className={controls["button"]} disabled={p.traces.length === 0}>
          <Icon name="download" />
          {t.found.export}
        </button>
      }
    >
      <div className={css["export"]}>
        <p>{t.found.exportHelp(p.traces.length, f.integer(p.traces.length))}</p>
        <PopoverClose asChild>
          <button
            type="button"
            className={controls["button"]}
            onClick={() => give(tracesJson(p.traces, p), "application/json", "json")}
          >
            {t.found.asJson}
          </button>
        </PopoverClose>
        <PopoverClose asChild>
          <button
            type="button"
            className={controls["button"]}
            // The mark at the front tells spreadsheets that this is UTF-8.
            onClick={() => give(`\ufeff${tracesCsv(p.traces)}`, "text/csv", "csv")}
          >
            {t.found.asCsv}
          </button>
        </PopoverClose>
      </div>
    </Popover>
  );
}
