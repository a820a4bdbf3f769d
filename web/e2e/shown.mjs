/**
 * untilShown goes to an address within the open page and gives the milliseconds until an element that fits the selector, and
 * was not there before, was painted. The page itself looks: a driver asks it every so often, up to half a second late.
 */
export function untilShown(page, selector, path) {
  return page.evaluate(
    ([wanted, to]) =>
      new Promise((done) => {
        const before = new Set(document.querySelectorAll(wanted));
        const begin = performance.now();
        const look = () => {
          if (![...document.querySelectorAll(wanted)].some((e) => !before.has(e))) return;
          observer.disconnect();
          requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begin)));
        };
        const observer = new MutationObserver(look);
        observer.observe(document, { subtree: true, childList: true });
        history.pushState(null, "", new URL(to, document.baseURI));
        look();
      }),
    [selector, path],
  );
}
