import { QueryClientProvider } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { Redirect, Route, Router, Switch, useLocation, useSearch } from "wouter";
import { basePath } from "../api/client";
import { useI18n } from "../i18n";
import { Overview } from "../overview/Overview";
import { Search } from "../search/Search";
import { TracePage } from "../trace/TracePage";
import { Header } from "./Header";
import { KeyHelp } from "./KeyHelp";
import { useShortcuts } from "./keys";
import { later } from "./later";
import { NotFound } from "./NotFound";
import { Palette } from "./Palette";
import { makeQueryClient } from "./queries";
import { shareableUrl } from "./share";
import { Loading, PanelBoundary } from "./states";
import { ToastRegion, useCopy } from "./toast";

const loading = () => <Loading />;
const DoctorPage = later(() => import("../doctor/DoctorPage"), loading);
const MapPage = later(() => import("../map/MapPage"), loading);
const ServicePage = later(() => import("../service/ServicePage"), loading);
const ComparePage = later(() => import("../compare/ComparePage"), loading);
const FilePage = later(() => import("../file/FilePage"), loading);
const MeshPage = later(() => import("../mesh/MeshPage"), loading);
const HelpPage = later(() => import("../help/HelpPage"), loading);
const StatusPage = later(() => import("../status/StatusPage"), loading);

export function App() {
  const [client] = useState(makeQueryClient);
  return (
    <QueryClientProvider client={client}>
      <Router base={basePath()}>
        <Frame />
      </Router>
    </QueryClientProvider>
  );
}

function Frame() {
  const { t } = useI18n();
  const [path, navigate] = useLocation();
  const query = useSearch();
  const copy = useCopy();
  const [open, setOpen] = useState<"help" | "palette">();
  // Kiali and Grafana show us in frames and bring a header of their own.
  const embedded = useRef(false);
  if (new URLSearchParams(query).has("uiEmbed")) embedded.current = true;

  useShortcuts(
    {
      palette: () => setOpen("palette"),
      focusSearch: () => setOpen("palette"),
      help: () => setOpen("help"),
      goOverview: () => navigate("/"),
      goSearch: () => navigate("/search"),
      goMap: () => navigate("/map"),
      goDoctor: () => navigate("/doctor"),
      goMesh: () => navigate("/mesh"),
      goStatus: () => navigate("/status"),
      goHelp: () => navigate("/help"),
      copyLink: () => copy(shareableUrl(path, Date.now()), t.app.linkCopied),
    },
    true,
  );
  useFocusOnNavigation(path);

  return (
    <>
      {embedded.current ? null : (
        <Header onHelp={() => setOpen("help")} onPalette={() => setOpen("palette")} />
      )}
      <PanelBoundary key={path} page={t.state.pageFailed}>
        <Switch>
          <Route path="/" component={Overview} />
          <Route path="/search" component={Search} />
          <Route path="/trace/:id">{(p) => <TracePage id={p.id} />}</Route>
          <Route path="/map" component={MapPage} />
          <Route path="/dependencies">
            <Redirect to="/map" replace />
          </Route>
          <Route path="/service/:ns/:name" component={ServicePage} />
          <Route path="/doctor" component={DoctorPage} />
          <Route path="/mesh" component={MeshPage} />
          <Route path="/compare" component={ComparePage} />
          <Route path="/file" component={FilePage} />
          <Route path="/help" component={HelpPage} />
          <Route path="/status" component={StatusPage} />
          <Route path="/monitor">
            <Redirect to="/" replace />
          </Route>
          <Route component={NotFound} />
        </Switch>
      </PanelBoundary>
      <ToastRegion />
      {open === "help" ? <KeyHelp onClose={() => setOpen(undefined)} /> : null}
      {open === "palette" ? <Palette onClose={() => setOpen(undefined)} /> : null}
    </>
  );
}

/** A new page starts at its top, for the eye and for the screen reader; the first load is left alone. */
function useFocusOnNavigation(path: string) {
  const before = useRef(path);
  useEffect(() => {
    if (before.current === path) return;
    before.current = path;
    const focused = document.activeElement;
    if (focused && focused !== document.body && document.getElementById("main")?.contains(focused)) return;
    const focus = () => {
      const main = document.getElementById("main");
      main?.focus({ preventScroll: true });
      return main !== null;
    };
    if (focus()) return;
    // The code of the page is still on its way.
    const observer = new MutationObserver(() => {
      if (focus()) observer.disconnect();
    });
    observer.observe(document.body, { childList: true, subtree: true });
    return () => observer.disconnect();
  }, [path]);
}
