import { useId, useState } from "react";
import type { ApiError } from "../api/client";
import type { Status } from "../api/types";
import { useI18n } from "../i18n";
import { controls, Segments } from "../shell/controls";
import { Icon } from "../shell/Icon";
import type { Step } from "../shell/url";
import type { Rendered } from "./api";
import { costAt, loadOf, percentOf, presetNames, presets, requestsPerTrace } from "./cost";
import css from "./MeshPage.module.css";
import { forms, type MeshView, ownRate, toggleForm } from "./meshUrl";
import { useMeshTexts } from "./texts";

/** Minors of Istio that can be written for, newest first. */
const versions = Array.from({ length: 15 }, (_, i) => `1.${31 - i}`);

interface FormProps {
  view: MeshView;
  setView: (change: (view: MeshView) => MeshView, step?: Step) => void;
  status: Status | undefined;
  rendered: Rendered | undefined;
  /** Percentage at which traces begin now; undefined: not known. */
  inForce: number | undefined;
  refusal: ApiError | undefined;
}

export function MeshForm(p: FormProps) {
  const m = useMeshTexts();
  const { view, setView, rendered, refusal } = p;
  const id = useId();
  const detected = rendered?.versionFrom === "proxies" ? rendered.version : undefined;
  const versionMissing = refusal?.field === "version" && view.version === "";
  const bad = (field: string) => (refusal?.field === field ? refusal : undefined);
  const others = view.for.filter((f) => !(forms as readonly string[]).includes(f));
  return (
    <form className={css["form"]} aria-labelledby={`${id}h`} onSubmit={(e) => e.preventDefault()}>
      <h2 id={`${id}h`}>{m.form}</h2>
      <div className={css["field"]}>
        <span className={css["label"]}>{m.protocol}</span>
        <Segments
          label={m.protocol}
          name="protocol"
          value={view.protocol}
          options={[
            { value: "otlp", label: "OTLP" },
            { value: "zipkin", label: "Zipkin" },
          ]}
          onChange={(protocol) => setView((v) => ({ ...v, protocol }))}
        />
        <p className={css["help"]}>{m.protocolHelp[view.protocol]}</p>
      </div>
      <Sampling {...p} refusal={bad("sampling")} />
      <div className={css["field"]}>
        <label className={css["label"]} htmlFor={`${id}v`}>
          {m.version}
        </label>
        <select
          id={`${id}v`}
          className={controls["select"]}
          value={view.version}
          aria-describedby={`${id}vh`}
          onChange={(e) => setView((v) => ({ ...v, version: e.target.value }))}
        >
          <option value="">{versionMissing ? m.versionChoose : m.versionDetected}</option>
          {view.version !== "" && !versions.includes(view.version) ? <option>{view.version}</option> : null}
          {versions.map((v) => (
            <option key={v}>{v}</option>
          ))}
        </select>
        <p className={css["help"]} id={`${id}vh`}>
          {versionMissing ? m.versionNeeded : detected ? m.versionUsed(detected) : null}
        </p>
        {versionMissing ? null : <Refused refusal={bad("version")} />}
      </div>
      <div className={css["field"]}>
        <label className={css["label"]} htmlFor={`${id}n`}>
          {m.namespace}
        </label>
        <input
          id={`${id}n`}
          className={controls["input"]}
          placeholder="istio-system"
          spellCheck={false}
          autoComplete="off"
          aria-invalid={bad("namespace") !== undefined}
          value={view.namespace}
          onChange={(e) => setView((v) => ({ ...v, namespace: e.target.value }))}
        />
        <Refused refusal={bad("namespace")} />
      </div>
      <Tags view={view} setView={setView} refusal={bad("tags")} />
      <fieldset className={css["field"]}>
        <legend className={css["label"]}>{m.objects}</legend>
        {forms.map((form) => (
          <label key={form} className={css["check"]}>
            <input
              type="checkbox"
              checked={view.for.includes(form)}
              onChange={() => setView((v) => ({ ...v, for: toggleForm(v.for, form) }))}
            />{" "}
            {m.forms[form] ?? form}
          </label>
        ))}
        {others.length > 0 ? <p className={css["help"]}>{m.unknownForms(others.join(", "))}</p> : null}
        <Refused refusal={bad("for")} />
      </fieldset>
    </form>
  );
}

/** What the server says of a value, beside it. */
function Refused({ refusal }: { refusal: ApiError | undefined }) {
  const m = useMeshTexts();
  if (!refusal) return null;
  return (
    <div className={css["refused"]} role="alert">
      <p>
        <Icon name="warning" size={14} /> {m.refused}
      </p>
      <p lang="en">
        {refusal.message}
        {refusal.hint ? `: ${refusal.hint}` : ""}
      </p>
    </div>
  );
}

/** A rate is chosen by what it costs: each as "1 in N" with spans, traces and bytes, from what arrives now. */
function Sampling({ view, setView, status, rendered, inForce, refusal }: FormProps) {
  const m = useMeshTexts();
  const { f } = useI18n();
  const id = useId();
  const load = status ? loadOf(status) : undefined;
  const now = inForce ?? percentOf(view.now);
  const own = view.sampling !== "" && !(presetNames as string[]).includes(view.sampling);
  const shown = own && view.sampling !== ownRate ? view.sampling : "";
  const kept = view.sampling === "" ? rendered?.sampling : inForce;
  const oneIn = (percent: number) =>
    percent === 100 ? m.every : m.oneIn(f.number(requestsPerTrace(percent)));
  const choose = (sampling: string) => setView((v) => ({ ...v, sampling }));
  const rows: { key: string; label: string; percent: number | undefined }[] = [
    { key: "", label: m.keep, percent: kept },
    ...presetNames.map((name) => ({ key: name as string, label: m.presets[name], percent: presets[name] })),
    { key: ownRate, label: m.custom, percent: percentOf(shown) },
  ];
  return (
    <div className={css["field"]}>
      <span className={css["label"]} id={`${id}l`}>
        {m.sampling}
      </span>
      <p className={css["help"]}>{m.samplingHelp}</p>
      <div className={css["scroll"]} role="radiogroup" aria-labelledby={`${id}l`}>
        <table className={`${controls["table"]} ${css["rates"]}`}>
          <thead>
            <tr>
              <th>{m.colRate}</th>
              <th>{m.colOneIn}</th>
              <th className={controls["number"]}>{m.colSpans}</th>
              <th className={controls["number"]}>{m.colTraces}</th>
              <th className={controls["number"]}>{m.colDisk}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((r) => {
              const cost = load && r.percent !== undefined ? costAt(r.percent, now, load) : undefined;
              const mine = r.key === ownRate;
              const checked = mine ? own : view.sampling === r.key;
              return (
                <tr key={r.key} data-chosen={checked}>
                  <td>
                    <label>
                      <input type="radio" name="sampling" checked={checked} onChange={() => choose(r.key)} />{" "}
                      {r.label}
                      {r.key === "" ? <span className={controls["muted"]}> ({m.keepHelp})</span> : null}
                    </label>
                    {mine ? (
                      <>
                        {" "}
                        <input
                          className={`${controls["input"]} ${css["percent"]}`}
                          inputMode="decimal"
                          aria-label={m.customLabel}
                          aria-invalid={refusal !== undefined}
                          autoComplete="off"
                          value={shown}
                          onChange={(e) => choose(e.target.value.trim() || ownRate)}
                        />{" "}
                        %
                      </>
                    ) : null}
                  </td>
                  <td>{r.percent === undefined ? "" : oneIn(r.percent)}</td>
                  <td className={controls["number"]}>{cost ? f.number(cost.spansPerSecond) : ""}</td>
                  <td className={controls["number"]}>
                    {cost?.tracesPerSecond === undefined ? "" : f.number(cost.tracesPerSecond)}
                  </td>
                  <td className={controls["number"]}>
                    {cost?.bytesPerDay === undefined ? "" : f.bytes(cost.bytesPerDay)}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      <Refused refusal={refusal} />
      {!load ? null : load.spansPerSecond === 0 ? (
        <p className={css["help"]}>{m.nothingArrives}</p>
      ) : (
        <p className={css["help"]}>
          {now === undefined
            ? m.nowUnknown(f.number(load.spansPerSecond))
            : m.arriving(f.number(load.spansPerSecond), f.number(now))}
          {load.bytesPerSpan === undefined ? null : ` ${m.bytesASpan(f.bytes(load.bytesPerSpan))}`}
        </p>
      )}
      {load && load.spansPerSecond > 0 && inForce === undefined ? (
        <label className={css["help"]}>
          {m.nowLabel}{" "}
          <input
            className={`${controls["input"]} ${css["percent"]}`}
            inputMode="decimal"
            autoComplete="off"
            aria-invalid={view.now !== "" && percentOf(view.now) === undefined}
            value={view.now}
            onChange={(e) => setView((v) => ({ ...v, now: e.target.value.trim() }))}
          />
        </label>
      ) : null}
    </div>
  );
}

const lines = (text: string) =>
  text
    .split("\n")
    .map((l) => l.trim())
    .filter((l) => l !== "");

/** One tag a line. The text is the reader's, blank lines and all, until the address says something else. */
function Tags({ view, setView, refusal }: Pick<FormProps, "view" | "setView" | "refusal">) {
  const m = useMeshTexts();
  const id = useId();
  const [typed, setTyped] = useState(view.tags.join("\n"));
  const text = lines(typed).join("\n") === view.tags.join("\n") ? typed : view.tags.join("\n");
  return (
    <div className={css["field"]}>
      <label className={css["label"]} htmlFor={id}>
        {m.tags}
      </label>
      <textarea
        id={id}
        className={`${controls["input"]} ${css["tags"]}`}
        rows={3}
        spellCheck={false}
        placeholder="environment=production"
        aria-describedby={`${id}h`}
        aria-invalid={refusal !== undefined}
        value={text}
        onChange={(e) => {
          setTyped(e.target.value);
          const tags = lines(e.target.value);
          setView((v) => ({ ...v, tags }));
        }}
      />
      <p className={css["help"]} id={`${id}h`}>
        {m.tagsHelp}
      </p>
      <Refused refusal={refusal} />
    </div>
  );
}
