// Runs before the first paint, so that a dark page never flashes light. It is a file of its own
// because the content security policy forbids inline scripts.
(() => {
  let chosen = null;
  try {
    chosen = JSON.parse(localStorage.getItem("spanloom.prefs") || "{}").theme;
  } catch {
    // Storage can be forbidden in frames; the system's choice is good enough then.
  }
  const dark =
    chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
