import { Link } from "wouter";
import { useI18n } from "../i18n";
import { formatFilter, formatFilters } from "../model/filters";
import type { SearchView } from "../model/searchUrl";
import { instantMs, wider } from "../model/time";
import type { Question } from "../model/traceql";
import { controls } from "../shell/controls";
import { useNow } from "../shell/now";
import { prefs } from "../shell/prefs";
import { useStatus } from "../shell/queries";
import { rangeText } from "../shell/RangePicker";
import { Empty } from "../shell/states";
import css from "./Search.module.css";

/** Why there is nothing: nothing ever came, nothing in this range, or the filters; each with the next step. */
export function NoTraces(p: {
  view: SearchView;
  question: Question;
  change: (part: Partial<SearchView>) => void;
}) {
  const i18n = useI18n();
  const { t, f } = i18n;
  const status = useStatus();
  const now = useNow();
  const last = Math.max(
    ...(status.data?.receivers ?? []).map((r) => instantMs(r.lastTime)).filter(Number.isFinite),
  );
  const next = wider(p.view.range, now);
  const widen = next ? (
    <button type="button" className={controls["button"]} onClick={() => p.change({ range: next })}>
      {t.search.emptyWiden(rangeText(next, i18n))}
    </button>
  ) : null;
  const age = Number.isFinite(last) ? <p>{t.search.emptyLast(f.ago(last, now))}</p> : null;

  if (status.data && !Number.isFinite(last) && (status.data.store.spans ?? 0) === 0) {
    return (
      <Empty title={t.search.emptyNothing}>
        <p>
          <Link href="/">{t.search.emptyNothingLink}</Link>
        </p>
        <p>
          <Link href="/doctor">{t.found.maybeDoctor}</Link>
        </p>
        <p>
          <Link href="/mesh">{t.app.configureMesh}</Link>
        </p>
      </Empty>
    );
  }
  const { filters } = p.question;
  if (!filters) {
    return (
      <Empty title={t.found.traceqlEmpty}>
        {age}
        <button
          type="button"
          className={controls["button"]}
          onClick={() => prefs.change({ filterText: true })}
        >
          {t.found.editQuery}
        </button>
        {widen}
      </Empty>
    );
  }
  if (filters.length === 0) {
    return (
      <Empty title={t.search.emptyRange}>
        {age}
        {widen}
      </Empty>
    );
  }
  return (
    <Empty title={t.search.emptyFiltered}>
      {age}
      {filters.map((filter) => (
        <button
          key={formatFilter(filter)}
          type="button"
          className={`${controls["button"]} ${css["drop"]}`}
          title={formatFilter(filter)}
          onClick={() => p.change({ query: formatFilters(filters.filter((x) => x !== filter)) })}
        >
          {t.search.emptyDrop(formatFilter(filter))}
        </button>
      ))}
      {widen}
    </Empty>
  );
}
