import { Link } from "wouter";
import type { Heatmap } from "../api/types";
import { useI18n } from "../i18n";
import { type Area, timesOf } from "../model/heatGrid";
import { controls } from "../shell/controls";
import { durationWords } from "./HeatPanel";
import css from "./HeatPanel.module.css";

const most = 200;

/** The same cells as a table, for those who read it by ear and those who want the numbers. */
export function HeatTable({ heat, onChoose }: { heat: Heatmap; onChoose: (a: Area) => void }) {
  const { t, f } = useI18n();
  const fullest = [...heat.cells].sort((a, b) => b.n - a.n).slice(0, most);
  const cells = fullest.sort((a, b) => b.column - a.column || b.row - a.row);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <div className={css["tableScroll"]} tabIndex={0} role="region" aria-label={t.heatmap.label}>
      <table className={controls["table"]}>
        {heat.cells.length > most ? (
          <caption className={css["note"]}>
            {t.heatmap.tableCut(f.integer(most), f.integer(heat.cells.length))}
          </caption>
        ) : null}
        <thead>
          <tr>
            <th>{t.heatmap.colTime}</th>
            <th>{t.heatmap.colDuration}</th>
            <th className={controls["number"]}>{t.heatmap.colSpans}</th>
            <th className={controls["number"]}>{t.heatmap.colFailed}</th>
            <th>{t.heatmap.colActions}</th>
          </tr>
        </thead>
        <tbody>
          {cells.map((c) => {
            const area: Area = { column: [c.column, c.column], row: [c.row, c.row] };
            const { from, to } = timesOf(heat, area);
            return (
              <tr key={`${c.column}.${c.row}`}>
                <td>{t.heatmap.between(f.time(from), f.time(to))}</td>
                <td>{durationWords(heat, area, t, f)}</td>
                <td className={controls["number"]}>{f.integer(c.n)}</td>
                <td className={`${controls["number"]} ${c.errors ? controls["error"] : controls["muted"]}`}>
                  {f.integer(c.errors ?? 0)}
                </td>
                <td className={css["cellActions"]}>
                  <button type="button" className={controls["plain"]} onClick={() => onChoose(area)}>
                    {t.heatmap.filter}
                  </button>
                  <Link href={`/trace/${c.example}`}>{t.heatmap.example}</Link>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
