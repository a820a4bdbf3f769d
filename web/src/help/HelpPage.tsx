import { useEffect } from "react";
import { Link } from "wouter";
import { useI18n } from "../i18n";
import { helpTexts as en, type GroupId, termGroups } from "../i18n/en/help";
import { helpTexts as ko } from "../i18n/ko/help";
import { responseFlags } from "../model/envoy";
import { searchFor } from "../model/searchUrl";
import { controls } from "../shell/controls";
import { useTitle } from "../shell/title";
import css from "./HelpPage.module.css";

const groupIds = Object.keys(termGroups) as GroupId[];

/** The words of tracing, each with an address of its own (/help#hop). */
export default function HelpPage() {
  const { t } = useI18n();
  const h = t.code === "ko" ? ko : en;
  useTitle(h.title);
  // The page is loaded after its address was set, so the browser has not found the place yet.
  useEffect(() => {
    const go = () => document.getElementById(location.hash.slice(1))?.scrollIntoView();
    go();
    addEventListener("hashchange", go);
    return () => removeEventListener("hashchange", go);
  }, []);
  return (
    <main id="main" tabIndex={-1} className={css["page"]}>
      <nav className={css["contents"]} aria-label={h.contents}>
        {groupIds.map((g) => (
          <div key={g}>
            <h2>{h.groups[g]}</h2>
            <ul>
              {termGroups[g].map((id) => (
                <li key={id}>
                  <InPage id={id}>{h.terms[id].title}</InPage>
                </li>
              ))}
            </ul>
          </div>
        ))}
        <div>
          <h2>
            <InPage id="flags">{h.flagsTitle}</InPage>
          </h2>
          <h2>
            <InPage id="problems">{h.problemsTitle}</InPage>
          </h2>
        </div>
      </nav>
      <div className={css["text"]}>
        <h1>{h.title}</h1>
        <p className={controls["muted"]}>{h.question}</p>
        {groupIds.map((g) => (
          <section key={g} aria-label={h.groups[g]}>
            <h2>{h.groups[g]}</h2>
            {termGroups[g].map((id) => {
              const term = h.terms[id];
              return (
                <article key={id} id={id} className={css["term"]}>
                  <h3>{term.title}</h3>
                  {term.text.map((p) => (
                    <p key={p}>{p}</p>
                  ))}
                  {term.example?.map((line) => (
                    <p key={line} className={css["example"]}>
                      <code>{line}</code>
                    </p>
                  ))}
                </article>
              );
            })}
          </section>
        ))}
        <section id="flags" aria-labelledby="flags-title">
          <h2 id="flags-title">{h.flagsTitle}</h2>
          <p>{h.flagsText}</p>
          <div className={css["scroll"]}>
            <table className={controls["table"]}>
              <thead>
                <tr>
                  <th>{h.colFlag}</th>
                  <th>{h.colMeaning}</th>
                  <th>{h.colCause}</th>
                  <th>{h.search}</th>
                </tr>
              </thead>
              <tbody>
                {responseFlags.map((flag) => (
                  <tr key={flag} id={`flag-${flag}`}>
                    <td>
                      <code>{flag}</code>
                    </td>
                    <td>{t.mesh.flag[flag]}</td>
                    <td>{t.flagCause[flag]}</td>
                    <td>
                      <Link
                        href={`/search?${searchFor(
                          [{ field: "span.response_flags", op: "=~", value: `(.*,)?${flag}(,.*)?` }],
                          { kind: "last", last: "24h" },
                        )}`}
                        aria-label={h.searchFlag(flag)}
                      >
                        {h.search}
                      </Link>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
        <section id="problems" aria-labelledby="problems-title">
          <h2 id="problems-title">{h.problemsTitle}</h2>
          {h.problems.map((p) => (
            <article key={p.title} className={css["term"]}>
              <h3>{p.title}</h3>
              <p>{p.text}</p>
              {p.command ? (
                <p className={css["example"]}>
                  <code>{p.command}</code>
                </p>
              ) : null}
            </article>
          ))}
        </section>
        <section aria-labelledby="keys-title">
          <h2 id="keys-title">{h.keysTitle}</h2>
          <p>{h.keysText}</p>
        </section>
      </div>
    </main>
  );
}

/** A link to a place of this page: <base href> would lead a plain "#hop" to the start page. */
function InPage({ id, children }: { id: string; children: React.ReactNode }) {
  return (
    <Link
      href={`/help#${id}`}
      onClick={() => requestAnimationFrame(() => document.getElementById(id)?.scrollIntoView())}
    >
      {children}
    </Link>
  );
}
