import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useId, useState } from "react";
import { useLocation } from "wouter";
import { ApiError, api } from "../api/client";
import type { SavedSearch, SavedSearches } from "../api/types";
import { useI18n } from "../i18n";
import { readRecent, recentKey, withRecent } from "../model/recent";
import { formatSearch, parseSearch, type SearchView } from "../model/searchUrl";
import { controls } from "../shell/controls";
import { Icon } from "../shell/Icon";
import { Popover } from "../shell/Popover";
import { rangeText } from "../shell/RangePicker";
import { ErrorNotice } from "../shell/states";
import { toast } from "../shell/toast";
import css from "./SearchesMenu.module.css";

function stored(): string[] {
  try {
    return readRecent(localStorage.getItem(recentKey));
  } catch {
    return [];
  }
}

function store(list: readonly string[]) {
  try {
    localStorage.setItem(recentKey, JSON.stringify(list));
  } catch {
    // Without storage there are no recent searches.
  }
}

/** What of a view makes a search: not the panel beside it. */
export const searchText = (v: SearchView) => formatSearch({ ...v, apart: undefined });

/** remember keeps a search among the recent ones. */
export function remember(view: SearchView): void {
  if (view.query) store(withRecent(stored(), searchText(view)));
}

/** Searches that were saved for everyone, and those this browser made lately. */
export function SearchesMenu({ view }: { view: SearchView }) {
  const { t } = useI18n();
  const [open, setOpen] = useState(false);
  return (
    <Popover
      label={t.searches.open}
      align="end"
      open={open}
      onOpenChange={setOpen}
      button={
        <button type="button" className={controls["button"]} title={t.searches.open}>
          <Icon name="star" />
          {t.searches.short}
          <Icon name="chevronDown" size={12} />
        </button>
      }
    >
      <div className={css["panel"]}>
        <Saved view={view} close={() => setOpen(false)} />
        <Recent close={() => setOpen(false)} />
      </div>
    </Popover>
  );
}

function Saved({ view, close }: { view: SearchView; close: () => void }) {
  const { t } = useI18n();
  const client = useQueryClient();
  const id = useId();
  const [name, setName] = useState("");
  const [sure, setSure] = useState<string>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const saved = useQuery({
    queryKey: ["searches"],
    queryFn: ({ signal }) => api.searches({ signal }),
    retry: false,
  });
  const items = saved.data?.items ?? [];
  const unsupported = saved.error instanceof ApiError && saved.error.kind === "unsupported";

  // Someone else may have saved in between: then the change is made again to what they left.
  const change = async (apply: (items: SavedSearch[]) => SavedSearch[], said: string) => {
    setBusy(true);
    setError(undefined);
    try {
      for (let tries = 1; ; tries++) {
        const now: SavedSearches = await api.searches();
        try {
          await api.saveSearches(apply(now.items), now.version);
          break;
        } catch (e) {
          if (!(e instanceof ApiError && e.field === "ifVersion") || tries === 4) throw e;
        }
      }
      toast.say(said);
      setName("");
      setSure(undefined);
    } catch (e) {
      setError(e);
    } finally {
      setBusy(false);
      await client.invalidateQueries({ queryKey: ["searches"] });
    }
  };
  const wanted = name.trim();
  return (
    <section aria-labelledby={`${id}saved`}>
      <h3 id={`${id}saved`}>{t.searches.saved}</h3>
      {unsupported ? (
        <p className={controls["muted"]}>{t.searches.unsupported}</p>
      ) : (
        <form
          className={css["save"]}
          onSubmit={(e) => {
            e.preventDefault();
            const made = { name: wanted, query: searchText(view) };
            if (wanted)
              change((list) => [...list.filter((x) => x.name !== wanted), made], t.searches.savedToast);
          }}
        >
          <input
            className={controls["input"]}
            aria-label={t.searches.name}
            placeholder={t.searches.name}
            maxLength={100}
            value={name}
            onChange={(e) => setName(e.target.value)}
            onKeyDown={(e) => {
              if (e.key === "Enter" && (e.nativeEvent.isComposing || e.keyCode === 229)) e.preventDefault();
            }}
          />
          <button
            type="submit"
            className={`${controls["button"]} ${controls["primary"]}`}
            disabled={!wanted || busy}
          >
            {items.some((x) => x.name === wanted) ? t.searches.replace : t.searches.save}
          </button>
        </form>
      )}
      {error || (saved.error && !unsupported) ? (
        <ErrorNotice
          error={error ?? saved.error}
          {...(error ? { title: t.searches.failed } : { onRetry: () => saved.refetch() })}
        />
      ) : null}
      {items.length > 0 ? (
        <ul className={css["list"]}>
          {items.map((x) => (
            <li key={x.name}>
              <Go query={x.query} close={close} name={x.name} />
              <button
                type="button"
                className={sure === x.name ? controls["button"] : controls["icon"]}
                disabled={busy}
                aria-label={sure === x.name ? t.searches.removeSure(x.name) : t.searches.remove(x.name)}
                title={sure === x.name ? t.searches.removeSure(x.name) : t.searches.remove(x.name)}
                onClick={() =>
                  sure === x.name
                    ? change((list) => list.filter((o) => o.name !== x.name), t.searches.removedToast)
                    : setSure(x.name)
                }
              >
                {sure === x.name ? t.searches.removeSure("") : <Icon name="close" size={12} />}
              </button>
            </li>
          ))}
        </ul>
      ) : saved.data ? (
        <p className={controls["muted"]}>{t.searches.noneSaved}</p>
      ) : null}
    </section>
  );
}

function Recent({ close }: { close: () => void }) {
  const { t } = useI18n();
  const id = useId();
  const [list, setList] = useState(stored);
  return (
    <section aria-labelledby={`${id}recent`}>
      <h3 id={`${id}recent`}>{t.searches.recent}</h3>
      {list.length === 0 ? (
        <p className={controls["muted"]}>{t.searches.noneRecent}</p>
      ) : (
        <>
          <ul className={css["list"]}>
            {list.map((q) => (
              <li key={q}>
                <Go query={q} close={close} />
              </li>
            ))}
          </ul>
          <button
            type="button"
            className={controls["plain"]}
            onClick={() => {
              store([]);
              setList([]);
            }}
          >
            {t.searches.clearRecent}
          </button>
        </>
      )}
    </section>
  );
}

/** One search: its name, and what it asks. */
function Go(p: { query: string; name?: string; close: () => void }) {
  const i18n = useI18n();
  const [, navigate] = useLocation();
  const view = parseSearch(p.query);
  const text = view.query || i18n.t.searches.everything;
  return (
    <button
      type="button"
      className={css["go"]}
      title={view.query}
      onClick={() => {
        p.close();
        navigate(p.query ? `/search?${searchText(view)}` : "/search");
      }}
    >
      <span>{p.name ?? text}</span>
      <span className={css["what"]}>
        {p.name ? `${text} · ` : ""}
        {rangeText(view.range, i18n)}
      </span>
    </button>
  );
}
