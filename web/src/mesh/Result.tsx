import { ApiError } from "../api/client";
import { useI18n } from "../i18n";
import { instantMs } from "../model/time";
import { CodeBlock } from "../shell/CodeBlock";
import { controls } from "../shell/controls";
import { download } from "../shell/download";
import { Icon } from "../shell/Icon";
import { Scroll } from "../shell/Scroll";
import { ErrorNotice, Loading } from "../shell/states";
import { useCopy } from "../shell/toast";
import { type Change, type Plan, type Rendered, usePlan } from "./api";
import css from "./MeshPage.module.css";
import { repositoryForms } from "./meshUrl";
import { useMeshTexts } from "./texts";

/** The command, what it would change, and the YAML. */
export function Result({
  params,
  rendered,
}: {
  params: Record<string, string | string[]>;
  rendered: Rendered;
}) {
  const m = useMeshTexts();
  const inFiles = rendered.documents.some((d) => repositoryForms.includes(d.for));
  return (
    <>
      <section className={css["part"]} aria-labelledby="mesh-command">
        <h3 id="mesh-command">{m.command}</h3>
        <div className={css["command"]}>
          <CodeBlock limited label="sh" copyLabel={m.copyCommand} text={rendered.command} />
        </div>
        <p className={css["help"]}>{inFiles ? m.commandFiles : m.commandHelp}</p>
      </section>
      <section className={css["part"]} aria-labelledby="mesh-plan">
        <h3 id="mesh-plan">{m.plan}</h3>
        {inFiles ? (
          <p className={css["help"]}>{m.planFiles}</p>
        ) : (
          <ClusterPlan params={params} command={rendered.command} />
        )}
      </section>
      <Documents rendered={rendered} />
    </>
  );
}

function ClusterPlan({ params, command }: { params: Record<string, string | string[]>; command: string }) {
  const m = useMeshTexts();
  const { t, f } = useI18n();
  const plan = usePlan(params);
  if (plan.error instanceof ApiError && plan.error.kind === "unsupported") {
    return (
      <div className={css["hint"]} role="status">
        <p>{m.planNoCluster}</p>
        <p>{m.planNoClusterHelp}</p>
        <p>
          <code>{command.replace("spanloom mesh apply", "spanloom mesh plan --kubeconfig FILE")}</code>
        </p>
      </div>
    );
  }
  if (plan.error)
    return (
      <>
        <ErrorNotice
          error={plan.error}
          title={plan.data ? t.state.stale : m.planFailed}
          onRetry={() => plan.refetch()}
        />
        {plan.data ? <PlanView plan={plan.data} /> : null}
      </>
    );
  if (!plan.data) return <Loading rows={4} />;
  const at = instantMs(plan.data.collected);
  return (
    <>
      <p className={css["help"]}>
        {Number.isFinite(at) && at > 0 ? <span title={f.utc(at)}>{m.planAt(f.dateTime(at))}</span> : null}{" "}
        <button
          type="button"
          className={controls["button"]}
          disabled={plan.isFetching}
          onClick={() => plan.refetch()}
        >
          <Icon name="refresh" size={14} />
          {m.planAgain}
        </button>
      </p>
      <PlanView plan={plan.data} />
    </>
  );
}

function PlanView({ plan }: { plan: Plan }) {
  const m = useMeshTexts();
  return (
    <>
      {plan.changes.length === 0 ? (
        <p className={css["hint"]} role="status">
          {m.nothing}
        </p>
      ) : null}
      {plan.changes.map((c) => (
        <ChangeView key={`${c.for} ${c.object}`} change={c} />
      ))}
      {plan.same.length > 0 && plan.changes.length > 0 ? (
        <p className={css["help"]}>{m.same(plan.same.join(", "))}</p>
      ) : null}
      {plan.notes.length > 0 ? (
        <div className={css["notes"]}>
          <h4>
            <Icon name="warning" size={14} /> {m.notes}
          </h4>
          <ul lang="en">
            {plan.notes.map((n) => (
              <li key={n}>{n}</li>
            ))}
          </ul>
        </div>
      ) : null}
      {plan.policies.length > 0 ? (
        <details className={css["policies"]}>
          <summary>{m.policies}</summary>
          <Scroll className={css["scroll"]} label={m.policies}>
            <table className={controls["table"]}>
              <thead>
                <tr>
                  <th>{m.workload}</th>
                  <th>{m.before}</th>
                  <th>{m.after}</th>
                </tr>
              </thead>
              <tbody>
                {plan.policies.map((x) => (
                  <tr key={x.workload}>
                    <td>{x.workload}</td>
                    <td lang="en">{x.before}</td>
                    {x.before === x.after ? (
                      <td className={controls["muted"]}>{m.unchanged}</td>
                    ) : (
                      <td lang="en">{x.after}</td>
                    )}
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
        </details>
      ) : null}
    </>
  );
}

function ChangeView({ change: c }: { change: Change }) {
  const m = useMeshTexts();
  const owner = c.owner?.tool ? m.owners[c.owner.tool](c.owner.name ?? "") : undefined;
  return (
    <article className={css["change"]}>
      <h4>
        <span className={css["action"]}>{m[c.action]}</span> <code>{c.object}</code>
      </h4>
      <p>{m.effects[c.for] ?? <span lang="en">{c.effect}</span>}</p>
      {owner ? (
        <p className={css["owner"]}>
          <Icon name="warning" size={14} /> {owner}
        </p>
      ) : null}
      {c.owner?.hand ? <p className={css["owner"]}>{m.hand(c.owner.hand)}</p> : null}
      <dl>
        {c.live ? (
          <>
            <dt>{m.live}</dt>
            <dd>{m.lives[c.for] ?? m.liveAll}</dd>
          </>
        ) : null}
        {c.restart ? (
          <>
            <dt>{m.restart}</dt>
            <dd>{m.restarts[c.for] ?? m.restartSpans}</dd>
            <dt>{m.restartOf}</dt>
            <dd>
              {c.workloads.length === 0
                ? m.noneRead
                : c.workloads.map((w) => (
                    <code key={w} className={css["one"]}>
                      {w}
                    </code>
                  ))}
            </dd>
          </>
        ) : null}
      </dl>
      <CodeBlock limited label={m.diff} copyLabel={m.copyDiff} text={c.diff} diff />
    </article>
  );
}

function Documents({ rendered }: { rendered: Rendered }) {
  const m = useMeshTexts();
  const copy = useCopy();
  const all = rendered.documents.map((d) => d.yaml).join("---\n");
  return (
    <section className={css["part"]} aria-labelledby="mesh-yaml">
      <div className={css["bar"]}>
        <h3 id="mesh-yaml">{m.yaml}</h3>
        <button type="button" className={controls["button"]} onClick={() => copy(all)}>
          <Icon name="copy" size={14} />
          {m.copyAll}
        </button>
        <button
          type="button"
          className={controls["button"]}
          onClick={() => download("spanloom-mesh.yaml", all, "application/yaml")}
        >
          <Icon name="download" size={14} />
          {m.download}
        </button>
      </div>
      {rendered.documents.map((d) => (
        <CodeBlock
          limited
          key={d.for}
          label={`${d.name} · ${d.use === "apply" ? m.useApply : m.useMerge}`}
          copyLabel={m.copyYaml(d.name)}
          text={d.yaml}
        />
      ))}
    </section>
  );
}
