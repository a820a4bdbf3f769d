import packages from "virtual:npm-packages";
import { useI18n } from "../i18n";
import { controls } from "../shell/controls";
import modules from "./goModules.json";
import css from "./StatusPage.module.css";

/** Libraries of the binary (kept by internal/rules) and of the pages (out of the lock file). */
export default function LicenceTable() {
  const { t, f } = useI18n();
  const all = [
    ...modules.map((m) => ({ ...m, part: t.statusMore.inServer })),
    ...packages.map((m) => ({ ...m, part: t.statusMore.inPage })),
  ];
  return (
    <>
      <p className={controls["muted"]}>{t.statusMore.licencesHelp(f.integer(all.length))}</p>
      <div
        className={`${css["scroll"]} ${css["short"]}`}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
        tabIndex={0}
        role="group"
        aria-labelledby="licences"
      >
        <table className={controls["table"]}>
          <thead>
            <tr>
              <th>{t.statusMore.colLibrary}</th>
              <th>{t.statusMore.colVersion}</th>
              <th>{t.statusMore.colLicence}</th>
              <th>{t.statusMore.colPart}</th>
            </tr>
          </thead>
          <tbody>
            {all.map((m) => (
              <tr key={`${m.part} ${m.name} ${m.version}`}>
                <td>
                  <code>{m.name}</code>
                </td>
                <td>{m.version}</td>
                <td>{m.licence}</td>
                <td className={controls["muted"]}>{m.part}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
