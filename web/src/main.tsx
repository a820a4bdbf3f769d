import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "./tokens.css";
import "./base.css";
import { loadLanguage } from "./i18n";
import { App } from "./shell/App";
import { prefs, resolvedLanguage } from "./shell/prefs";

const root = document.getElementById("root")!;
loadLanguage(resolvedLanguage(prefs.get())).then(
  () =>
    createRoot(root).render(
      <StrictMode>
        <App />
      </StrictMode>,
    ),
  () => {
    // The texts did not come, so these stand here.
    root.textContent =
      "Spanloom did not load completely. Reload the page. / Spanloom을 다 불러오지 못했습니다. 새로 고치십시오.";
  },
);
