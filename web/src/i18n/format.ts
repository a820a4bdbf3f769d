import { scaleDuration } from "../model/duration";

/** Numbers, dates and durations in one language; all formatters are made once. */
export interface Format {
  integer(n: number): string;
  /** Three significant digits: rates and the like. */
  number(n: number): string;
  /** 0.0123 is "1.2 %". */
  percent(part: number): string;
  /** Nanoseconds with at most three significant digits: "23.4 ms"; whole minutes from 100 s on. */
  duration(ns: number): string;
  /** A time on an axis with steps of `step`: as many decimals as tell neighbours apart, one unit up to `most`. */
  axis(ns: number, step: number, most: number): string;
  bytes(n: number): string;
  /** "3 minutes ago"; under five seconds it is "now". */
  ago(ms: number, nowMs: number): string;
  dateTime(ms: number): string;
  /** Date and time with milliseconds, local. */
  exact(ms: number): string;
  /** The same in UTC, for hovers. */
  utc(ms: number): string;
  time(ms: number): string;
  list(items: string[]): string;
  zone(): string;
}

export function makeFormat(language: string): Format {
  const integer = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
  const three = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });
  const percent = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });
  const percentWhole = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 });
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  const dateTime = new Intl.DateTimeFormat(language, {
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  });
  const time = new Intl.DateTimeFormat(language, {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  });
  const exact = new Intl.DateTimeFormat(language, {
    year: "numeric",
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    fractionalSecondDigits: 3,
    hourCycle: "h23",
  });
  const list = new Intl.ListFormat(language, { style: "narrow", type: "unit" });
  const unit = (u: string) =>
    new Intl.NumberFormat(language, {
      style: "unit",
      unit: u,
      unitDisplay: "short",
      maximumFractionDigits: 0,
    });
  const minute = unit("minute");
  const second = unit("second");
  const hour = unit("hour");
  const day = unit("day");

  return {
    integer: (n) => integer.format(n),
    number: (n) => three.format(n),
    percent: (part) => (Math.abs(part) >= 0.1 || part === 0 ? percentWhole : percent).format(part),
    duration(ns) {
      const s = ns / 1e9;
      if (s >= 86400)
        return `${day.format(Math.floor(s / 86400))} ${hour.format(Math.floor((s % 86400) / 3600))}`;
      if (s >= 3600)
        return `${hour.format(Math.floor(s / 3600))} ${minute.format(Math.floor((s % 3600) / 60))}`;
      if (s >= 100) return `${minute.format(Math.floor(s / 60))} ${second.format(Math.floor(s % 60))}`;
      const { value, unit: u } = scaleDuration(ns);
      return `${three.format(value)} ${u}`;
    },
    axis(ns, step, most) {
      const { unit: u } = scaleDuration(Math.max(most, 1));
      const one = { ns: 1, µs: 1e3, ms: 1e6, s: 1e9 }[u];
      const digits = Math.min(9, Math.max(0, Math.ceil(-Math.log10(step / one) - 1e-9)));
      const text = (ns / one).toLocaleString(language, {
        minimumFractionDigits: digits,
        maximumFractionDigits: digits,
      });
      return `${text} ${u}`;
    },
    bytes(n) {
      const units = ["B", "KiB", "MiB", "GiB", "TiB"];
      let at = 0;
      let value = n;
      while (Math.abs(value) >= 1024 && at < units.length - 1) {
        value /= 1024;
        at++;
      }
      return `${three.format(value)} ${units[at]}`;
    },
    ago(ms, nowMs) {
      const s = (ms - nowMs) / 1000;
      const abs = Math.abs(s);
      if (abs < 5) return relative.format(0, "second");
      if (abs < 60) return relative.format(Math.round(s), "second");
      if (abs < 60 * 60) return relative.format(Math.round(s / 60), "minute");
      if (abs < 36 * 3600) return relative.format(Math.round(s / 3600), "hour");
      return relative.format(Math.round(s / 86400), "day");
    },
    dateTime: (ms) => dateTime.format(ms),
    exact: (ms) => exact.format(ms),
    utc: (ms) =>
      Number.isFinite(ms) ? new Date(ms).toISOString().replace("T", " ").replace("Z", " UTC") : "",
    time: (ms) => time.format(ms),
    list: (items) => list.format(items),
    zone: () =>
      new Intl.DateTimeFormat(language, { timeZoneName: "long" })
        .formatToParts(0)
        .find((p) => p.type === "timeZoneName")?.value ?? "UTC",
  };
}
