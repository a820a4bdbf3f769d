import { useState } from "react";
import { useI18n } from "../i18n";
import { controls } from "../shell/controls";
import { later } from "../shell/later";
import { Loading } from "../shell/states";
import css from "./StatusPage.module.css";

const LicenceTable = later(
  () => import("./LicenceTable"),
  () => <Loading />,
);

/** What of others the program is made of; the list is loaded when it is asked for. */
export function Licences() {
  const { t } = useI18n();
  const [shown, setShown] = useState(false);
  return (
    <section aria-labelledby="licences" className={css["section"]}>
      <h2 id="licences">{t.statusMore.licences}</h2>
      <p className={controls["muted"]}>{t.statusMore.own}</p>
      {shown ? (
        <LicenceTable />
      ) : (
        <button type="button" className={controls["button"]} onClick={() => setShown(true)}>
          {t.statusMore.showLicences}
        </button>
      )}
    </section>
  );
}
