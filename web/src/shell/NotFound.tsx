import { Link, useLocation } from "wouter";
import { useI18n } from "../i18n";
import css from "./NotFound.module.css";
import { useTitle } from "./title";

export function NotFound() {
  const { t } = useI18n();
  const [path] = useLocation();
  useTitle(t.notFound.title);
  return (
    <main id="main" tabIndex={-1} className={css["page"]}>
      <h1>{t.notFound.title}</h1>
      <p>{t.notFound.text(path)}</p>
      <p>{t.notFound.links}</p>
      <ul>
        <li>
          <Link href="/">{t.app.overview}</Link>
        </li>
        <li>
          <Link href="/search">{t.app.search}</Link>
        </li>
        <li>
          <Link href="/map">{t.app.map}</Link>
        </li>
        <li>
          <Link href="/doctor">{t.app.doctor}</Link>
        </li>
        <li>
          <Link href="/mesh">{t.app.mesh}</Link>
        </li>
        <li>
          <Link href="/status">{t.app.status}</Link>
        </li>
      </ul>
    </main>
  );
}
