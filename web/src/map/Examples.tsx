import { Link } from "wouter";
import { useI18n } from "../i18n";
import { instantMs } from "../model/time";
import { controls } from "../shell/controls";
import { ErrorMark } from "../shell/Icon";
import type { Example } from "./api";
import css from "./Panel.module.css";

/** Traces that show what a call is like, as links. */
export function Examples({ list, failed }: { list: readonly Example[]; failed: boolean }) {
  const { t, f } = useI18n();
  if (list.length === 0) return failed ? <p className={controls["muted"]}>{t.map.noFailed}</p> : null;
  return (
    <ul className={css["examples"]}>
      {list.map((x) => (
        <li key={x.traceId}>
          <Link href={`/trace/${x.traceId}`} title={t.map.openTrace(x.traceId)}>
            {failed ? <ErrorMark /> : null}
            <span className={css["when"]} title={f.utc(instantMs(x.start))}>
              {f.time(instantMs(x.start))}
            </span>
            {x.duration !== undefined ? <span className={css["took"]}>{f.duration(x.duration)}</span> : null}
            {x.flag ? (
              <span
                className={css["flagged"]}
                title={t.mesh.flag[x.flag as keyof typeof t.mesh.flag] ?? x.flag}
              >
                {x.flag}
              </span>
            ) : null}
            <span className={css["id"]}>{x.traceId.slice(-8)}</span>
          </Link>
        </li>
      ))}
    </ul>
  );
}
