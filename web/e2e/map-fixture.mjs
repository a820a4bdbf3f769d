// Made-up maps for tests of the UI: a mesh of any size with every kind of node, names that try to break the page, and a report
// of the doctor.
import { random } from "./generate.mjs";

const hostile = [
  "<img src=x onerror=window.hacked=1>",
  "\u202eevil\u202c",
  `long-${"x".repeat(3000)}`,
  "🦊".repeat(40),
  "a/b%2F?x=1&y=2#z",
  "nul\u0000and\nline",
];

const figures = (rate, errorRate, p95, extra = {}) => ({
  calls: rate * 3600,
  errors: rate * 3600 * errorRate,
  n: Math.max(1, Math.round(rate * 3600)),
  rate,
  errorRate,
  p50: Math.round(p95 / 3),
  p95: Math.round(p95),
  p99: Math.round(p95 * 1.6),
  estimated: false,
  ...extra,
});
const red = ({ calls, ...f }) => ({ ...f, weight: calls });

/** makeMap gives the answer of /map: `nodes` of them in layers, some five services a namespace... and six hostile names. */
export function makeMap({ nodes: n, examples = [], seed = 7 }) {
  const next = random(seed);
  if (n === 0)
    return {
      nodes: [],
      edges: [],
      missing: [],
      notes: [{ kind: "no_spans", message: "no span of this window is here" }],
      complete: true,
    };
  const nodes = [];
  const add = (kind, namespace, service, more = {}) => {
    const own = kind === "service" || kind === "gateway" || kind === "waypoint";
    nodes.push({
      id: `${kind}/${namespace}/${service}`,
      kind,
      namespace,
      service,
      services: own ? [namespace ? `${service}.${namespace}` : service] : [],
      ...(own ? { slot: nodes.length % 20 } : {}),
      versions: [],
      badges: own ? [] : ["inferred"],
      ...figures(0, 0, 0),
      n: 0,
      ...more,
    });
    return nodes[nodes.length - 1];
  };
  add("client", "", "");
  add("gateway", "istio-system", "istio-ingressgateway");
  const rest = [
    ["database", "", "postgresql orders"],
    ["broker", "", "kafka orders"],
    ["external", "", "api.payments.example.com"],
    ["passthrough", "", "tracker.example.com"],
    ["blackhole", "", "forbidden.example.com"],
    ["unknown", "", ""],
    ["waypoint", "shop", "waypoint"],
  ].slice(0, Math.max(0, n - 4));
  const services = Math.max(2, n - 2 - rest.length);
  const odd = n >= 20 ? hostile : [];
  for (let i = 0; i < services; i++) {
    const namespace =
      n > 60 ? `team-${Math.floor((i * 14) / services)}` : ["shop", "payments", "platform"][i % 3];
    const name = odd[i - (services - odd.length)] ?? `svc-${String(i).padStart(3, "0")}`;
    add("service", namespace, name);
  }
  const own = nodes.filter((x) => x.kind === "service");
  for (const [kind, namespace, name] of rest) add(kind, namespace, name);
  const edges = [];
  const mtlsOf = (i) =>
    i % 4 === 3
      ? { mtls: "off", mtlsSource: "DestinationRule shop/legacy sets TLS mode DISABLE" }
      : { mtls: "on", mtlsSource: "automatic mutual TLS between sidecars" };
  const call = (from, to, rate, errorRate, p95, more = {}) => {
    const f = figures(rate, errorRate, p95);
    edges.push({
      from: from.id,
      to: to.id,
      class: "call",
      protocol: "http",
      protocols: ["http"],
      ...f,
      client: red(f),
      server: red(figures(rate, errorRate / 2, p95 * 0.8)),
      seen: "both",
      ...(from.kind === "service" && to.kind === "service" ? mtlsOf(edges.length) : {}),
      flags:
        errorRate > 0.02
          ? [
              { flag: "UF", n: 12 },
              { flag: "URX", n: 3 },
            ]
          : [],
      ...(examples[0] ? { slowest: examples[0], failed: examples[1] } : {}),
      ...more,
    });
    to.calls += f.calls;
    to.errors += f.errors;
    to.n += f.n;
    to.rate += f.rate;
    to.errorRate = to.errors / to.calls;
    to.p50 = Math.max(to.p50, f.p50);
    to.p95 = Math.max(to.p95, f.p95);
    to.p99 = Math.max(to.p99, f.p99);
  };
  call(nodes[0], nodes[1], 42, 0.003, 80e6, { seen: "server", client: undefined, server: undefined });
  call(nodes[1], own[0], 30, 0.002, 70e6);
  call(nodes[1], own[1], 12, 0.08, 300e6);
  // Each service is called by one or two before it, so that the map has layers as real ones have.
  for (let i = 2; i < own.length - 1; i++) {
    const times = next() < 0.35 ? 2 : 1;
    for (let k = 0; k < times; k++) {
      const from = own[Math.max(0, Math.floor((i / 3) * (0.4 + next())) - k)] ?? own[0];
      if (from !== own[i] && !edges.some((e) => e.from === from.id && e.to === own[i].id))
        call(from, own[i], 20 / (1 + i / 4), next() < 0.1 ? 0.12 : 0.004, 5e6 + next() * 90e6);
    }
  }
  if (own.length > 6) call(own[6], own[0], 0.4, 0, 12e6);
  for (const x of nodes.slice(2 + own.length)) {
    const from = own[Math.floor(next() * (own.length - 1))];
    const async = x.kind === "broker";
    call(from, x, 3, x.kind === "blackhole" ? 1 : 0.01, 20e6, {
      class: async ? "async" : "call",
      seen: "client",
      client: undefined,
      server: undefined,
    });
    if (async) call(x, own[own.length - 2], 2.5, 0, 9e6, { class: "async", seen: "server" });
  }
  const versioned = own[1];
  versioned.versions = ["v1", "v2"].map((version, i) => ({
    version,
    red: red(figures(versioned.rate * (i ? 0.1 : 0.9), i ? 0.2 : 0.01, 90e6)),
  }));
  own[2 % own.length].badges = ["no_sidecar"];
  return {
    nodes,
    edges,
    missing: [
      { kind: "callee_without_spans", node: own[own.length - 1].id, message: "is called and sends no spans" },
    ],
    notes: [],
    complete: true,
  };
}

function series(f, q, nowMs, examples) {
  const buckets = Number(q.get("buckets") ?? 30);
  const width = 3600e3 / buckets;
  return Array.from({ length: buckets }, (_, i) => {
    const wave = 1 + 0.3 * Math.sin(i / 3);
    return {
      start: `${Math.round(nowMs - 3600e3 + i * width)}000000`,
      duration: Math.round(width * 1e6),
      red: red({ ...figures(f.rate * wave, f.errorRate * wave, f.p95 * wave) }),
      ...(examples[i] ? { slowest: examples[i] } : {}),
      ...(f.errors > 0 && examples[i + 1] && i % 5 === 0 ? { failed: examples[i + 1] } : {}),
    };
  });
}

export function edgeDetail(map, q, nowMs, examples) {
  const edge = map.edges.find(
    (e) => e.from === q.get("from") && e.to === q.get("to") && e.class === (q.get("class") ?? "call"),
  );
  if (!edge) return undefined;
  const example = (traceId, i) => ({
    traceId,
    start: `${Math.round(nowMs - i * 60e3)}000000`,
    duration: Math.round(edge.p99 / (i + 1)),
    ...(edge.errors > 100 ? { flag: "UF" } : {}),
  });
  return {
    edge,
    from: map.nodes.find((n) => n.id === edge.from),
    to: map.nodes.find((n) => n.id === edge.to),
    series: series(edge, q, nowMs, examples),
    slow: examples.slice(0, 5).map(example),
    failed: edge.errors > 0 ? examples.slice(5, 10).map(example) : [],
    complete: true,
  };
}

export function serviceDetail(map, q, nowMs, examples) {
  const node = map.nodes.find((n) => n.id === q.get("node"));
  if (!node) return undefined;
  return {
    node,
    operations: ["GET /", "POST /{id}", hostile[0]].map((operation, i) => ({
      operation,
      kind: "server",
      red: red(figures(node.rate / (i + 1), node.errorRate, node.p95 || 1e6)),
      ...(examples[i] ? { slowest: examples[i], failed: examples[i + 1] } : {}),
    })),
    callers: map.edges.filter((e) => e.to === node.id),
    callees: map.edges.filter((e) => e.from === node.id),
    series: series(node, q, nowMs, examples),
    missing: map.missing.filter((m) => m.node === node.id),
    complete: true,
  };
}

const stations = [
  "injected",
  "policy",
  "accepted",
  "listener",
  "cluster",
  "endpoint",
  "tls",
  "network",
  "receiver",
  "stored",
  "joined",
];

/** A report with a cause, what follows from it, a warning and a note. */
export function doctorReport(map, lang, examples) {
  const names = map.nodes.filter((n) => n.kind === "service").map((n) => `${n.namespace}/${n.service}`);
  const chain = (workload, red) => ({
    workload,
    stations: stations.map((name, i) => {
      if (red < 0) return { name, state: "green", reason: "as it should be" };
      if (i < red) return { name, state: "green" };
      return i === red
        ? { name, state: "red", reason: "port 4317 is not in the Service", cause: "provider-port-missing" }
        : { name, state: "unknown", reason: "behind the broken one" };
    }),
  });
  const finding = (code, cause, severity, more = {}) => ({
    code,
    cause,
    severity,
    title:
      lang === "ko"
        ? "컬렉터 Service에 provider의 포트가 없음"
        : "The collector's Service lacks the provider's port",
    detail: "Service monitoring/tempo has no port 4317",
    object: { kind: "Service", namespace: "monitoring", name: "tempo", file: "tempo.yaml", line: 12 },
    workloads: names.slice(0, 12),
    evidence: [
      `Envoy's cluster outbound|4317||tempo.monitoring.svc.cluster.local is missing ${hostile[0]}`,
      ...(examples[0] ? [`trace ${examples[0]} has no span of it`] : []),
    ],
    consequence: lang === "ko" ? "스팬이 오류 없이 사라집니다." : "Spans vanish without an error.",
    fix: {
      text: "Add port 4317 named grpc-otlp to the Service, or use a port it has.",
      command: "kubectl patch service tempo -n monitoring --patch-file port.yaml",
      diff: "--- a/tempo.yaml\n+++ b/tempo.yaml\n   ports:\n+  - name: grpc-otlp\n+    port: 4317\n-  - port: 3200",
      ...(lang === "ko" ? { general: "Service에 포트를 더하거나 있는 포트를 쓰세요." } : {}),
    },
    dependsOn: [],
    docs: `docs/findings/${code}.md`,
    ...more,
  });
  if (names.length === 0)
    return { state: "unknown", reason: "nothing was received", findings: [], stations: [], source: "server" };
  return {
    state: "broken",
    reason: "no workload's spans arrive",
    findings: [
      finding("T0301", "provider-port-missing", "error"),
      finding("T0309", "collector-port-closed", "error", { dependsOn: ["provider-port-missing"] }),
      finding("T0504", "workload-silent", "warning", { workloads: [names[1]], dependsOn: [] }),
      finding("T0602", "sampling-full", "info", { workloads: [] }),
    ],
    stations: [...names.slice(0, 12).map((w) => chain(w, 4)), ...names.slice(12).map((w) => chain(w, -1))],
    source: "server",
  };
}
