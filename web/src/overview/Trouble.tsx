import { Link } from "wouter";
import { useDoctor, workloadName } from "../doctor/api";
import { useI18n } from "../i18n";
import type { Missing } from "../map/api";
import { useMap } from "../map/useMap";
import type { Range } from "../model/time";
import { ErrorMark, Icon } from "../shell/Icon";
import css from "./Trouble.module.css";

const most = 4;

/** The doctor's worst finding and the services that should be here and are not; nothing where all is well or cannot be asked. */
export default function Trouble({ range }: { range: Range }) {
  const { t, f } = useI18n();
  const report = useDoctor(range, t.code).data;
  const missing = services(useMap(range, false).data?.missing ?? []);
  const serious = (report?.findings ?? []).filter((x) => x.severity !== "info");
  const worst = serious.find((x) => x.severity === "error") ?? serious[0];
  if (!worst && missing.length === 0) return null;
  return (
    <section className={css["trouble"]} aria-label={t.trouble.label}>
      {worst ? (
        <p data-tone={worst.severity === "error" ? "error" : "warn"}>
          {worst.severity === "error" ? <ErrorMark /> : <Icon name="warning" size={14} />}
          <Link href={`/doctor?finding=${worst.code}`}>
            {worst.code} {worst.title}
          </Link>
          {serious.length > 1 ? (
            <Link href="/doctor" className={css["more"]}>
              {t.trouble.more(serious.length - 1, f.integer(serious.length - 1))}
            </Link>
          ) : null}
        </p>
      ) : null}
      {missing.length > 0 ? (
        <p data-tone="warn">
          <Icon name="warning" size={14} />
          <span>{t.trouble.missing(missing.length, f.integer(missing.length))}:</span>
          {missing.slice(0, most).map((m) => (
            <Link
              key={m.name}
              href={`/doctor?workload=${encodeURIComponent(m.name)}`}
              title={t.map.missing[m.kind] ?? m.message}
            >
              {m.name}
            </Link>
          ))}
          {missing.length > most ? (
            <Link href="/map" className={css["more"]}>
              {t.trouble.missingMore(f.integer(missing.length - most))}
            </Link>
          ) : null}
        </p>
      ) : null}
    </section>
  );
}

/** Services among what is missing, each once; databases and the like send no spans and are not missed. */
function services(all: readonly Missing[]): (Missing & { name: string })[] {
  const seen = new Set<string>();
  return all.flatMap((m) => {
    const [kind, namespace = "", ...rest] = m.node.split("/");
    const name = workloadName(namespace, rest.join("/"));
    if (kind !== "service" || m.from !== undefined || seen.has(name)) return [];
    seen.add(name);
    return [{ ...m, name }];
  });
}
