import { useRef } from "react";
import { ApiError } from "../api/client";
import { controls } from "../shell/controls";
import { useStatus } from "../shell/queries";
import { useRested } from "../shell/rested";
import { ErrorNotice, Loading, PanelBoundary } from "../shell/states";
import { useTitle } from "../shell/title";
import { useUrlState } from "../shell/url";
import { useRender } from "./api";
import { MeshForm } from "./MeshForm";
import css from "./MeshPage.module.css";
import { formatMesh, meshParams, parseMesh } from "./meshUrl";
import { Result } from "./Result";
import { useMeshTexts } from "./texts";

const codec = { parse: parseMesh, format: formatMesh };

/** Make it so: a form, the YAML it gives, what that changes, and the command that does it. Nothing is written from here. */
export default function MeshPage() {
  const m = useMeshTexts();
  const [view, setView] = useUrlState(codec);
  useTitle(m.title);
  const status = useStatus(15_000);
  // Typing asks the server once, not letter by letter. It rests as text: an object would be a new one at every render.
  const asked = useRested(JSON.stringify(meshParams(view)), 300);
  const params = JSON.parse(asked) as ReturnType<typeof meshParams>;
  const rendered = useRender(params);
  // What is in force does not depend on the form: a refused one does not make it unknown.
  const inForce = useRef<number>(undefined);
  if (rendered.data) inForce.current = rendered.data.inForce;
  const refusal = refusalOf(rendered.error);
  const versionMissing = refusal?.field === "version" && view.version === "";
  return (
    <main id="main" tabIndex={-1} className={css["page"]}>
      <div className={css["head"]}>
        <h1>{m.title}</h1>
        <p className={controls["muted"]}>{m.question}</p>
      </div>
      <div className={css["columns"]}>
        <MeshForm
          view={view}
          setView={setView}
          status={status.data}
          rendered={rendered.data}
          inForce={inForce.current}
          refusal={refusal}
        />
        <section aria-labelledby="result" className={css["result"]}>
          <h2 id="result">{m.result}</h2>
          {refusal?.field ? (
            <p className={css["hint"]} role="status">
              {versionMissing ? m.needsVersion : m.refusedElsewhere}
            </p>
          ) : rendered.error ? (
            <ErrorNotice error={rendered.error} onRetry={() => rendered.refetch()} />
          ) : rendered.data ? (
            <PanelBoundary key={asked}>
              <Result params={params} rendered={rendered.data} />
            </PanelBoundary>
          ) : (
            <Loading rows={10} />
          )}
        </section>
      </div>
    </main>
  );
}

/** A refusal that names a field of the form; any other error is no matter of what was typed. */
function refusalOf(error: unknown): ApiError | undefined {
  const fields = ["protocol", "sampling", "version", "namespace", "tags", "for"];
  return error instanceof ApiError && error.kind === "invalid" && fields.includes(error.field ?? "")
    ? error
    : undefined;
}
