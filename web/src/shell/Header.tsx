import { Link, useLocation } from "wouter";
import { useI18n } from "../i18n";
import { controls, Segments } from "./controls";
import css from "./Header.module.css";
import { Icon } from "./Icon";
import { Popover } from "./Popover";
import { prefs, resolvedLanguage, usePrefs } from "./prefs";

export function Header(p: { onHelp: () => void; onPalette: () => void }) {
  const { t } = useI18n();
  const [path] = useLocation();
  const pages = [
    { href: "/", text: t.app.overview, here: path === "/" },
    { href: "/search", text: t.app.search, here: path === "/search" || path.startsWith("/trace/") },
    { href: "/map", text: t.app.map, here: path === "/map" || path.startsWith("/service/") },
    { href: "/doctor", text: t.app.doctor, here: path === "/doctor" },
    { href: "/mesh", text: t.app.mesh, here: path === "/mesh" },
    { href: "/status", text: t.app.status, here: path === "/status" },
  ];
  return (
    <header className={css["header"]}>
      <button type="button" className={css["skip"]} onClick={() => document.getElementById("main")?.focus()}>
        {t.app.skip}
      </button>
      <Link href="/" className={css["brand"]} aria-label={t.app.title}>
        <Logo />
        <span>{t.app.title}</span>
      </Link>
      <nav aria-label={t.app.navigation}>
        <ul>
          {pages.map((page) => (
            <li key={page.href}>
              <Link href={page.href} aria-current={page.here ? "page" : undefined}>
                {page.text}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <button type="button" className={css["goto"]} onClick={p.onPalette}>
        <Icon name="search" />
        <span className={css["gotoText"]}>{t.palette.placeholder}</span>
        <kbd className={controls["kbd"]}>{isMac() ? "⌘" : "Ctrl"} K</kbd>
      </button>
      <button
        type="button"
        className={controls["icon"]}
        onClick={p.onHelp}
        aria-label={t.app.keys}
        title={`${t.app.keys} (?)`}
      >
        <Icon name="keyboard" />
      </button>
      <Popover
        label={t.app.menu}
        align="end"
        button={
          <button type="button" className={controls["icon"]} aria-label={t.app.menu} title={t.app.menu}>
            <Icon name="sliders" />
          </button>
        }
      >
        <DisplaySettings />
      </Popover>
    </header>
  );
}

export function isMac(): boolean {
  return /Mac|iPhone|iPad/.test(navigator.platform);
}

function Logo() {
  return (
    <svg width="20" height="20" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="7" fill="var(--accent)" />
      <g fill="var(--on-accent)">
        <rect x="6" y="8" width="20" height="4" rx="1.5" />
        <rect x="10" y="14" width="12" height="4" rx="1.5" opacity=".8" />
        <rect x="14" y="20" width="10" height="4" rx="1.5" opacity=".6" />
      </g>
    </svg>
  );
}

function DisplaySettings() {
  const { t } = useI18n();
  const p = usePrefs();
  return (
    <div className={css["settings"]}>
      <span>{t.app.theme}</span>
      <Segments
        label={t.app.theme}
        name="theme"
        value={p.theme}
        options={[
          { value: "system", label: t.app.themeSystem },
          { value: "light", label: t.app.themeLight },
          { value: "dark", label: t.app.themeDark },
        ]}
        onChange={(theme) => prefs.change({ theme })}
      />
      <span>{t.app.language}</span>
      <Segments
        label={t.app.language}
        name="language"
        value={resolvedLanguage(p)}
        options={[
          { value: "en", label: "English" },
          { value: "ko", label: "한국어" },
        ]}
        onChange={(language) => prefs.change({ language })}
      />
      <span>{t.app.density}</span>
      <Segments
        label={t.app.density}
        name="density"
        value={p.density}
        options={[
          { value: "normal", label: t.app.densityNormal },
          { value: "dense", label: t.app.densityDense },
        ]}
        onChange={(density) => prefs.change({ density })}
      />
    </div>
  );
}
