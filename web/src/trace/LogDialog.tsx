import { useState } from "react";
import { useI18n } from "../i18n";
import {
  checkTemplate,
  type LogContext,
  type LogTemplate,
  logPresets,
  logUrl,
  logVariables,
} from "../model/logLinks";
import { controls } from "../shell/controls";
import { Dialog } from "../shell/Dialog";
import { prefs } from "../shell/prefs";
import css from "./LogDialog.module.css";

/** The editor of links to logs. Only what is right can be saved; what is typed stays until then. */
export default function LogDialog({ context, onClose }: { context: LogContext; onClose: () => void }) {
  const { t } = useI18n();
  const [links, setLinks] = useState<LogTemplate[]>(() => {
    const { logLinks } = prefs.get();
    return logLinks.length > 0 ? [...logLinks] : [{ name: "", url: "" }];
  });
  const set = (i: number, part: Partial<LogTemplate>) =>
    setLinks((all) => all.map((l, k) => (k === i ? { ...l, ...part } : l)));
  const filled = links.filter((l) => l.name.trim() !== "" || l.url.trim() !== "");
  const wrong = filled.some((l) => checkTemplate(l));
  return (
    <Dialog title={t.logs.dialog} onClose={onClose}>
      <form
        className={css["form"]}
        onSubmit={(e) => {
          e.preventDefault();
          if (wrong) return;
          prefs.change({ logLinks: filled.map((l) => ({ name: l.name.trim(), url: l.url.trim() })) });
          onClose();
        }}
      >
        <p className={controls["muted"]}>{t.logs.help}</p>
        <p className={css["presets"]}>
          <span>{t.logs.presets}</span>
          {logPresets.map((preset) => (
            <button
              key={preset.name}
              type="button"
              className={controls["button"]}
              onClick={() =>
                setLinks((all) => [...all.filter((l) => l.name.trim() !== "" || l.url.trim() !== ""), preset])
              }
            >
              {preset.name}
            </button>
          ))}
        </p>
        {links.map((l, i) => {
          const mistake = l.name.trim() === "" && l.url.trim() === "" ? undefined : checkTemplate(l);
          return (
            // biome-ignore lint/suspicious/noArrayIndexKey: links have no identity but their place while they are edited
            <fieldset key={i} className={css["link"]}>
              <legend className="sr-only">{l.name || t.logs.name}</legend>
              <label>
                <span>{t.logs.name}</span>
                <input
                  className={controls["input"]}
                  value={l.name}
                  maxLength={60}
                  onChange={(e) => set(i, { name: e.target.value })}
                />
              </label>
              <label className={css["url"]}>
                <span>{t.logs.url}</span>
                <textarea
                  className={controls["input"]}
                  rows={4}
                  spellCheck={false}
                  value={l.url}
                  onChange={(e) => set(i, { url: e.target.value })}
                />
              </label>
              <button
                type="button"
                className={controls["button"]}
                onClick={() => setLinks((all) => all.filter((_, k) => k !== i))}
              >
                {t.logs.remove}
              </button>
              {mistake ? (
                <p className={`${css["under"]} ${controls["error"]}`} role="alert">
                  {t.logs.problem[mistake.problem]} {mistake.text ? <code>{mistake.text}</code> : null}
                </p>
              ) : l.url ? (
                <p className={css["under"]}>
                  {t.logs.example}: <code>{logUrl(l, context)}</code>
                </p>
              ) : null}
            </fieldset>
          );
        })}
        <p className={css["variables"]}>
          {t.logs.variables}:{" "}
          {logVariables.map((v) => (
            <code key={v}>{`{${v}}`}</code>
          ))}
        </p>
        <p className={css["actions"]}>
          <button
            type="button"
            className={controls["button"]}
            disabled={links.length >= 20}
            onClick={() => setLinks((all) => [...all, { name: "", url: "" }])}
          >
            {t.logs.add}
          </button>
          <button type="submit" className={`${controls["button"]} ${controls["primary"]}`} disabled={wrong}>
            {t.logs.save}
          </button>
        </p>
      </form>
    </Dialog>
  );
}
