import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { ApiError, api } from "../api/client";
import { useI18n } from "../i18n";
import type { Trace } from "../model/trace";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { later } from "../shell/later";
import { Popover } from "../shell/Popover";
import { errorReport } from "../shell/states";
import { toast, useCopy } from "../shell/toast";
import { useSource } from "./source";
import css from "./TraceHeader.module.css";

const CompareWith = later(() => import("../compare/CompareWith"));

/** What can be done with a whole trace. */
export function Actions({ trace }: { trace: Trace }) {
  const { t } = useI18n();
  const copy = useCopy();
  const source = useSource();
  const [comparing, setComparing] = useState(false);
  const onServer = source.key === "server";
  return (
    <span className={css["actions"]}>
      {onServer ? (
        <>
          <Popover
            label={t.compare.withHelp}
            align="end"
            open={comparing}
            onOpenChange={setComparing}
            button={
              <button type="button" className={controls["button"]} title={t.compare.withHelp}>
                {t.compare.with}
                <Icon name="chevronDown" size={12} />
              </button>
            }
          >
            <CompareWith trace={trace} onClose={() => setComparing(false)} />
          </Popover>
          <Keep key={trace.traceId} traceId={trace.traceId} />
          <Save trace={trace} />
          <button
            type="button"
            className={controls["button"]}
            onClick={() => copy(location.href, t.app.linkCopied)}
          >
            <Icon name="link" size={14} />
            {t.app.copyLink}
          </button>
        </>
      ) : null}
    </span>
  );
}

/** Spares the trace from retention. */
function Keep({ traceId }: { traceId: string }) {
  const i18n = useI18n();
  const { t } = i18n;
  const keep = useMutation({
    mutationFn: () => api.keep(traceId),
    onSuccess: () => toast.say(t.keep.kept),
    onError: (e) =>
      toast.say(
        e instanceof ApiError && e.kind === "unsupported"
          ? t.keep.unsupported
          : // Its first line is the program and the time.
            (errorReport(e, i18n, Date.now()).split("\n")[1] ?? String(e)),
      ),
  });
  return (
    <button
      type="button"
      className={controls["button"]}
      title={keep.isSuccess ? t.keep.kept : t.keep.help}
      aria-pressed={keep.isSuccess}
      disabled={keep.isPending}
      onClick={() => keep.mutate()}
    >
      <Icon name="pin" size={14} />
      {t.keep.button}
    </button>
  );
}

/** Saves the trace as a file that the UI opens again. */
function Save({ trace }: { trace: Trace }) {
  const i18n = useI18n();
  const { t } = i18n;
  const save = useMutation({
    mutationFn: async () => {
      const { saveTrace } = await import("./save");
      await saveTrace(trace.traceId);
    },
    onSuccess: () => toast.say(t.file.saved),
    onError: () => toast.say(t.file.saveFailed),
  });
  return (
    <button
      type="button"
      className={controls["button"]}
      disabled={save.isPending}
      onClick={() => save.mutate()}
    >
      <Icon name="download" size={14} />
      {save.isPending ? t.file.saving : t.file.save}
    </button>
  );
}
