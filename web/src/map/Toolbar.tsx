import { useId, useState } from "react";
import { useI18n } from "../i18n";
import {
  amount,
  type Condition,
  type Field,
  fields,
  formatCondition,
  type KindWord,
  kindWords,
  type MtlsWord,
  mtlsWords,
  withCondition,
} from "../model/conditions";
import { type Earlier, earlier, type MapView } from "../model/mapUrl";
import { controls, Segments } from "../shell/controls";
import { ErrorMark, Icon } from "../shell/Icon";
import { Popover } from "../shell/Popover";
import { errorThreshold, type Graph } from "./graph";
import { conditionText, nameInId } from "./names";
import { detail, kindIcon, Lock, outline } from "./shapes";
import css from "./Toolbar.module.css";

type SetView = (change: (view: MapView) => MapView, step?: "push" | "replace") => void;

/** Conditions, focus, folding and comparison: everything that changes what of the mesh is drawn. */
export function Toolbar(p: {
  view: MapView;
  setView: SetView;
  graph: Graph | undefined;
  namespaces: readonly string[];
}) {
  const i18n = useI18n();
  const { t, f } = i18n;
  const { view, setView, graph } = p;
  const name = view.find.find((c) => c.field === "name");
  const chips = (list: "find" | "hide") =>
    view[list]
      .filter((c) => !(list === "find" && c.field === "name"))
      .map((c) => {
        const text =
          list === "find"
            ? t.map.chipFindText(conditionText(c, i18n))
            : t.map.chipHideText(conditionText(c, i18n));
        return (
          <li key={`${list} ${formatCondition(c)}`} className={css["chip"]} data-list={list}>
            <span>{text}</span>
            <button
              type="button"
              className={controls["icon"]}
              aria-label={t.map.removeChip(text)}
              onClick={() =>
                setView((v) => ({
                  ...v,
                  [list]: v[list].filter((o) => formatCondition(o) !== formatCondition(c)),
                }))
              }
            >
              <Icon name="close" size={12} />
            </button>
          </li>
        );
      });
  return (
    <div className={css["bar"]} role="toolbar" aria-label={t.map.view}>
      <input
        type="search"
        className={`${controls["input"]} ${css["name"]}`}
        aria-label={t.map.findName}
        placeholder={t.map.findName}
        value={name?.value ?? ""}
        onChange={(e) =>
          setView((v) => {
            const rest = v.find.filter((c) => c.field !== "name");
            const value = e.target.value;
            return { ...v, find: value === "" ? rest : [...rest, { field: "name", op: "~", value }] };
          })
        }
      />
      <AddCondition
        namespaces={p.namespaces}
        onAdd={(list, c) => setView((v) => ({ ...v, [list]: withCondition(v[list], c) }), "push")}
      />
      {view.focus ? (
        <span className={css["chip"]} data-list="focus">
          <Icon name="target" size={14} />
          <span>{t.map.focusChip(nameInId(view.focus, i18n))}</span>
          <span className={css["hops"]}>
            <button
              type="button"
              className={controls["icon"]}
              aria-label={t.map.lessHops}
              disabled={view.hops <= 1}
              onClick={() => setView((v) => ({ ...v, hops: Math.max(1, v.hops - 1) }))}
            >
              <Icon name="minus" size={12} />
            </button>
            {t.map.hopsText(view.hops)}
            <button
              type="button"
              className={controls["icon"]}
              aria-label={t.map.moreHops}
              disabled={view.hops >= 9}
              onClick={() => setView((v) => ({ ...v, hops: Math.min(9, v.hops + 1) }))}
            >
              <Icon name="plus" size={12} />
            </button>
          </span>
          <button
            type="button"
            className={controls["icon"]}
            aria-label={t.map.leaveFocus}
            onClick={() => setView((v) => ({ ...v, focus: "", hops: 1 }), "push")}
          >
            <Icon name="close" size={12} />
          </button>
        </span>
      ) : null}
      {view.find.length + view.hide.length > (name ? 1 : 0) ? (
        <ul className={css["chips"]}>
          {chips("find")}
          {chips("hide")}
        </ul>
      ) : null}
      {graph && graph.hidden > 0 && !view.focus ? (
        <button
          type="button"
          className={controls["plain"]}
          title={t.map.clearHidden}
          onClick={() => setView((v) => ({ ...v, hide: [] }))}
        >
          {t.map.hiddenNodes(f.integer(graph.hidden))}
        </button>
      ) : null}
      <span className={css["space"]} />
      <label className={css["select"]}>
        {t.map.fold}
        <select
          className={controls["select"]}
          value={view.fold}
          onChange={(e) =>
            setView((v) => ({ ...v, fold: e.target.value as MapView["fold"], open: [], closed: [] }), "push")
          }
        >
          <option value="auto">{t.map.foldAuto(graph?.folding ?? false)}</option>
          <option value="all">{t.map.foldAll}</option>
          <option value="none">{t.map.foldNone}</option>
        </select>
      </label>
      <label className={css["select"]} title={t.map.changeHelp}>
        {t.map.compare}
        <select
          className={controls["select"]}
          value={view.compare ?? ""}
          onChange={(e) =>
            setView(
              (v) => ({ ...v, compare: earlier.find((x): x is Earlier => x === e.target.value) }),
              "push",
            )
          }
        >
          <option value="">{t.map.compareNone}</option>
          <option value="before">{t.map.compareBefore}</option>
          <option value="1h">{t.map.compare1h}</option>
          <option value="1d">{t.map.compare1d}</option>
          <option value="7d">{t.map.compare7d}</option>
        </select>
      </label>
      <label className={css["check"]} title={t.map.telemetryHelp}>
        <input
          type="checkbox"
          checked={view.telemetry}
          onChange={(e) => setView((v) => ({ ...v, telemetry: e.target.checked }))}
        />
        {t.map.telemetry}
      </label>
      <label className={css["check"]} title={t.map.proxiesHelp}>
        <input
          type="checkbox"
          checked={view.proxies}
          onChange={(e) => setView((v) => ({ ...v, proxies: e.target.checked, selection: undefined }))}
        />
        {t.map.proxies}
      </label>
      <Popover
        label={t.map.legend}
        align="end"
        button={
          <button type="button" className={controls["button"]}>
            {t.map.legend}
          </button>
        }
      >
        <Legend compared={view.compare !== undefined} />
      </Popover>
      <Segments
        label={t.map.view}
        name="map-view"
        value={view.table ? "table" : "map"}
        options={[
          { value: "map", label: t.map.viewMap },
          { value: "table", label: t.map.viewTable },
        ]}
        onChange={(value) => setView((v) => ({ ...v, table: value === "table" }))}
      />
    </div>
  );
}

function AddCondition(p: {
  namespaces: readonly string[];
  onAdd: (list: "find" | "hide", c: Condition) => void;
}) {
  const i18n = useI18n();
  const { t } = i18n;
  const id = useId();
  const [open, setOpen] = useState(false);
  const [field, setField] = useState<Field>("errors");
  const [op, setOp] = useState<">" | "<">(">");
  const [value, setValue] = useState("");
  const [bad, setBad] = useState("");

  const made = (): Condition | undefined => {
    switch (field) {
      case "errors":
      case "p95":
      case "rate": {
        const n = amount(field, value);
        if (n === undefined) {
          setBad(t.map.badAmount[field]);
          return undefined;
        }
        return { field, op, value: n };
      }
      case "ns": {
        const ns = value || p.namespaces[0];
        return ns ? { field, op: "=", value: ns } : undefined;
      }
      case "kind":
        return { field, op: "=", value: (value || "external") as KindWord };
      case "mtls":
        return { field, op: "=", value: (value || "off") as MtlsWord };
      default:
        return value === "" ? undefined : { field: "name", op: "~", value };
    }
  };
  const add = (list: "find" | "hide") => {
    const c = made();
    if (!c) return;
    p.onAdd(list, c);
    setBad("");
    setOpen(false);
  };
  return (
    <Popover
      label={t.map.addChip}
      open={open}
      onOpenChange={setOpen}
      button={
        <button type="button" className={controls["button"]}>
          <Icon name="filter" size={14} />
          {t.map.addChip}
        </button>
      }
    >
      <form
        className={css["form"]}
        onSubmit={(e) => {
          e.preventDefault();
          add("find");
        }}
      >
        <select
          className={controls["select"]}
          aria-label={t.map.addChip}
          value={field}
          onChange={(e) => {
            setField(e.target.value as Field);
            setValue("");
            setBad("");
          }}
        >
          {fields.map((x) => (
            <option key={x} value={x}>
              {t.map.field[x]}
            </option>
          ))}
        </select>
        {field === "errors" || field === "p95" || field === "rate" ? (
          <>
            <select
              className={controls["select"]}
              aria-label={t.map.field[field]}
              value={op}
              onChange={(e) => setOp(e.target.value as ">" | "<")}
            >
              <option value=">">{t.map.opMore}</option>
              <option value="<">{t.map.opLess}</option>
            </select>
            <input
              className={`${controls["input"]} ${css["amount"]}`}
              aria-label={t.map.value}
              aria-invalid={bad !== ""}
              aria-describedby={bad ? `${id}bad` : undefined}
              placeholder={{ errors: "5 %", p95: "200ms", rate: "0.5" }[field]}
              value={value}
              onChange={(e) => {
                setValue(e.target.value);
                setBad("");
              }}
            />
          </>
        ) : field === "ns" || field === "kind" || field === "mtls" ? (
          <>
            <span className={controls["muted"]}>{t.map.opIs}</span>
            <select
              className={controls["select"]}
              aria-label={t.map.value}
              value={value || { ns: p.namespaces[0] ?? "", kind: "external", mtls: "off" }[field]}
              onChange={(e) => setValue(e.target.value)}
            >
              {{ ns: p.namespaces, kind: kindWords, mtls: mtlsWords }[field].map((x) => (
                <option key={x} value={x}>
                  {field === "kind"
                    ? t.map.kind[x as KindWord]
                    : field === "mtls"
                      ? t.map.mtlsWord[x as MtlsWord]
                      : x}
                </option>
              ))}
            </select>
          </>
        ) : (
          <>
            <span className={controls["muted"]}>{t.map.opContains}</span>
            <input
              className={controls["input"]}
              aria-label={t.map.value}
              value={value}
              onChange={(e) => setValue(e.target.value)}
            />
          </>
        )}
        <button type="submit" className={`${controls["button"]} ${controls["primary"]}`}>
          {t.map.chipFind}
        </button>
        <button type="button" className={controls["button"]} onClick={() => add("hide")}>
          {t.map.chipHide}
        </button>
      </form>
      {bad ? (
        <p id={`${id}bad`} role="alert" className={css["bad"]}>
          {bad}
        </p>
      ) : null}
    </Popover>
  );
}

function Legend({ compared }: { compared: boolean }) {
  const { t, f } = useI18n();
  const kinds = [
    "service",
    "gateway",
    "waypoint",
    "database",
    "broker",
    "external",
    "passthrough",
    "blackhole",
    "client",
    "group",
  ] as const;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: on a small screen it scrolls, and must be in reach of the keyboard
    <div className={css["legend"]} tabIndex={0} role="group" aria-label={t.map.legend}>
      <ul className={css["kinds"]}>
        {kinds.map((k) => (
          <li key={k}>
            <svg width="52" height="28" viewBox="-42 -25 84 50" aria-hidden="true" data-kind={k}>
              {k === "group" ? <path d={outline(k, 72, 42).path} transform="translate(5 5)" /> : null}
              <path d={outline(k, 72, 42).path} />
              {detail(k, 72, 42) ? <path d={detail(k, 72, 42)} className={css["line"]} /> : null}
              <path d={kindIcon[k]} className={css["line"]} transform="translate(-8 -8)" />
            </svg>
            {t.map.kind[k]}
          </li>
        ))}
      </ul>
      <ul className={css["lines"]}>
        <li>{t.map.legendThick}</li>
        <li>
          <ErrorMark /> {t.map.legendRed(f.percent(errorThreshold))}
        </li>
        <li>
          <svg width="14" height="14" viewBox="0 0 12 12" aria-hidden="true">
            <Lock open={false} />
          </svg>{" "}
          <svg width="14" height="14" viewBox="0 0 12 12" aria-hidden="true">
            <Lock open />
          </svg>{" "}
          {t.map.legendLock}
        </li>
        <li>{t.map.legendRing}</li>
        <li>{t.map.legendAsync}</li>
        <li>{t.map.legendBack}</li>
        <li>{t.map.legendLabels}</li>
        <li>{t.map.legendSampled}</li>
        {compared ? (
          <li>
            ✚ {t.map.change.new} · ✕ {t.map.change.gone} · ▲ {t.map.change.worse} · ▼ {t.map.change.better}.{" "}
            {t.map.changeHelp}
          </li>
        ) : null}
      </ul>
    </div>
  );
}
