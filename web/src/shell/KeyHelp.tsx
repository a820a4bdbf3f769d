import { Link } from "wouter";
import { useI18n } from "../i18n";
import { controls } from "./controls";
import { Dialog } from "./Dialog";
import { isMac } from "./Header";
import css from "./KeyHelp.module.css";
import { comboKeys, shortcuts, type Where } from "./keys";

const order: Where[] = ["anywhere", "lists", "waterfall", "time", "find", "details", "map"];

/** All shortcuts, from the same table that acts on them. */
export function KeyHelp({ onClose }: { onClose: () => void }) {
  const { t } = useI18n();
  const mac = isMac();
  return (
    <Dialog title={t.keys.title} onClose={onClose}>
      <div className={css["columns"]}>
        {order.map((where) => (
          <section key={where}>
            <h3>{t.keys[where === "find" ? "find" : where]}</h3>
            <dl>
              {shortcuts
                .filter((s) => s.where === where)
                .map((s) => (
                  <div key={s.id}>
                    <dt>{t.keys["text" in s ? s.text : s.id]}</dt>
                    <dd>
                      <Combos combos={s.combos} mac={mac} />
                    </dd>
                  </div>
                ))}
              {where === "time" ? (
                <div>
                  <dt>{t.keys.wheel}</dt>
                  <dd>
                    <kbd className={controls["kbd"]}>{t.keys.wheelKeys}</kbd>
                  </dd>
                </div>
              ) : null}
            </dl>
          </section>
        ))}
      </div>
      <p>
        <Link href="/help" onClick={onClose}>
          {t.goHelp}
        </Link>
      </p>
    </Dialog>
  );
}

function Combos({ combos, mac }: { combos: readonly string[]; mac: boolean }) {
  const { t } = useI18n();
  // The nine levels are one line.
  const shown = combos.length > 2 ? [combos[0]!, combos[combos.length - 1]!] : combos;
  return shown.map((combo, i) => (
    <span key={combo}>
      {i > 0 ? <span className={css["or"]}>{combos.length > 2 ? "…" : t.keys.or}</span> : null}
      {combo.split(" ").map((part, j) => (
        <span key={part}>
          {j > 0 ? <span className={css["or"]}>{t.keys.afterwards}</span> : null}
          {comboKeys(part, mac).map((k) => (
            <kbd key={k} className={controls["kbd"]}>
              {k}
            </kbd>
          ))}
        </span>
      ))}
    </span>
  ));
}
