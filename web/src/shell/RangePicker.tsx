import { useId, useState } from "react";
import { type I18n, useI18n } from "../i18n";
import { absolute, isoInstant, lastMs, presets, type Range } from "../model/time";
import { controls } from "./controls";
import { Icon } from "./Icon";
import { Popover } from "./Popover";
import css from "./RangePicker.module.css";

/** rangeText names a range: "Last 15 minutes", or both ends. */
export function rangeText(r: Range, { t, f }: I18n): string {
  if (r.kind === "between") return `${f.dateTime(r.from)} – ${f.dateTime(r.to)}`;
  return t.range.last(spanText(r.last, t));
}

function spanText(last: string, t: I18n["t"]): string {
  const n = Number.parseInt(last, 10);
  if (last.endsWith("d")) return t.range.days(n);
  return last.endsWith("h") ? t.range.hours(n) : t.range.minutes(n);
}

/** Local time as `<input type="datetime-local">` wants it. */
function localText(ms: number): string {
  return new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

export function RangePicker(p: { range: Range; onChange: (range: Range) => void }) {
  const i18n = useI18n();
  const { t } = i18n;
  const [open, setOpen] = useState(false);
  const choose = (range: Range) => {
    setOpen(false);
    p.onChange(range);
  };
  return (
    <Popover
      label={t.range.label}
      align="end"
      open={open}
      onOpenChange={setOpen}
      button={
        <button
          type="button"
          className={controls["button"]}
          title={
            p.range.kind === "between" ? `${isoInstant(p.range.from)} – ${isoInstant(p.range.to)}` : undefined
          }
        >
          <Icon name="clock" />
          <span className="sr-only">{t.range.label}: </span>
          {rangeText(p.range, i18n)}
          <Icon name="chevronDown" size={12} />
        </button>
      }
    >
      <div className={css["panel"]}>
        <ul className={css["presets"]}>
          {presets.map((last) => (
            <li key={last}>
              <button
                type="button"
                className={css["preset"]}
                aria-pressed={p.range.kind === "last" && lastMs(p.range.last) === lastMs(last)}
                onClick={() => choose({ kind: "last", last })}
              >
                {t.range.last(spanText(last, t))}
              </button>
            </li>
          ))}
        </ul>
        <Fixed range={p.range} onChoose={choose} />
      </div>
    </Popover>
  );
}

function Fixed(p: { range: Range; onChoose: (range: Range) => void }) {
  const { t, f } = useI18n();
  const id = useId();
  const [now] = useState(() => absolute(p.range, Date.now()));
  const fixed = now.kind === "between" ? now : { from: 0, to: 0 };
  const [from, setFrom] = useState(localText(fixed.from));
  const [to, setTo] = useState(localText(fixed.to));
  const [wrong, setWrong] = useState(false);
  return (
    <form
      className={css["fixed"]}
      onSubmit={(e) => {
        e.preventDefault();
        const range = { kind: "between" as const, from: Date.parse(from), to: Date.parse(to) };
        if (range.from < range.to) p.onChoose(range);
        else setWrong(true);
      }}
    >
      <h3>{t.range.absolute}</h3>
      <label htmlFor={`${id}from`}>{t.range.from}</label>
      <input
        id={`${id}from`}
        className={controls["input"]}
        type="datetime-local"
        step="1"
        required
        value={from}
        onChange={(e) => setFrom(e.target.value)}
      />
      <label htmlFor={`${id}to`}>{t.range.to}</label>
      <input
        id={`${id}to`}
        className={controls["input"]}
        type="datetime-local"
        step="1"
        required
        value={to}
        onChange={(e) => setTo(e.target.value)}
      />
      {wrong ? (
        <p className={controls["error"]} role="alert">
          {t.range.invalid}
        </p>
      ) : (
        <p className={controls["muted"]}>{t.range.zone(f.zone())}</p>
      )}
      <button type="submit" className={controls["button"]}>
        {t.range.apply}
      </button>
    </form>
  );
}
