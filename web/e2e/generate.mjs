// Made-up traces in the shape of a real mesh, for tests and for the fixture server. Everything follows
// from a seed, so a failing test can be repeated.

/** Small seeded random numbers (mulberry32), 0 to 1. */
export function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Applications, their namespace, and whom they call. */
export const mesh = [
  { app: "productpage", namespace: "bookinfo", calls: [1, 2, 9], path: "/productpage" },
  { app: "details", namespace: "bookinfo", calls: [8], path: "/details/{id}" },
  { app: "reviews", namespace: "bookinfo", calls: [3, 9], path: "/reviews/{id}" },
  { app: "ratings", namespace: "bookinfo", calls: [10], path: "/ratings/{id}" },
  { app: "storefront", namespace: "shop", calls: [5, 6, 7, 0], path: "/" },
  { app: "cart", namespace: "shop", calls: [10, 11], path: "/cart" },
  { app: "checkout", namespace: "shop", calls: [7, 8, 11], path: "/checkout" },
  { app: "payment", namespace: "pay", calls: [8], path: "/charge" },
  { app: "fraud-check", namespace: "pay", calls: [], path: "/score" },
  { app: "profile", namespace: "users", calls: [10], path: "/users/{id}" },
  { app: "store-db-proxy", namespace: "users", calls: [], path: "/query" },
  { app: "notification", namespace: "users", calls: [], path: "/send" },
];

/** Names of everything that reports spans; the index is the colour slot too. */
export const services = [
  {
    name: "istio-ingressgateway.istio-system",
    group: "istio-ingressgateway",
    namespace: "istio-system",
    slot: 0,
  },
  ...mesh.map((m, i) => ({ name: m.app, group: m.app, namespace: m.namespace, slot: i + 1 })),
  ...mesh.map((m, i) => ({
    name: `${m.app}.${m.namespace}`,
    group: m.app,
    namespace: m.namespace,
    slot: i + 1,
  })),
];
const appService = (i) => 1 + i;
const proxyService = (i) => 1 + mesh.length + i;

const hex = (rnd, digits) => {
  let out = "";
  while (out.length < digits)
    out += Math.floor(rnd() * 0x10000)
      .toString(16)
      .padStart(4, "0");
  return out.slice(0, digits);
};

const F = {
  error: 1,
  proxy: 2,
  missing: 4,
  sharedId: 8,
  duplicates: 16,
  outsideParent: 32,
  serviceDerived: 128,
};
const kind = { internal: 1, server: 2, client: 3 };

/**
 * makeTrace gives a skeleton and the spans behind it. `spans` is how many rows it aims at; `fault`
 * puts an error, a retry, a missing parent and a clock skew into it.
 */
export function makeTrace({
  seed = 1,
  spans = 40,
  startMs = Date.UTC(2026, 10, 21, 8),
  fault = true,
  entry = 0,
} = {}) {
  const rnd = random(seed);
  const rows = [];
  const traceId = hex(rnd, 32);
  let hops = 0;

  const add = (row) => {
    rows.push({ id: hex(rnd, 16), flags: 0, hop: -1, ...row });
    return rows.length - 1;
  };

  // One call of an application: the caller's proxy, the callee's proxy, the application's own span.
  const call = (parent, caller, callee, start, length, depth) => {
    const hop = hops++;
    const wrong = fault && rnd() < 0.012;
    const error = wrong ? F.error : 0;
    const target = mesh[callee];
    const authority = `${target.app}.${target.namespace}.svc.cluster.local:9080/*`;
    const network = length * 0.03;
    let at = parent;
    if (caller >= 0 && caller % 3 === 0) {
      // Some applications have a span of their own for what they call.
      at = add({
        parent: at,
        service: appService(caller),
        name: "HTTP GET",
        kind: kind.client,
        start: start - network * 0.3,
        duration: length + network * 0.6,
        flags: error,
        hop,
        callee,
      });
    }
    if (caller >= 0) {
      at = add({
        parent: at,
        service: proxyService(caller),
        name: authority,
        kind: kind.client,
        start,
        duration: length,
        flags: F.proxy | error,
        hop,
        callee,
      });
    }
    at = add({
      parent: at,
      service: proxyService(callee),
      name: authority,
      kind: kind.server,
      start: start + network,
      duration: length - 2 * network,
      flags: F.proxy | error,
      hop,
      callee,
    });
    const skew = fault && rnd() < 0.01;
    at = add({
      parent: at,
      service: appService(callee),
      name: `${rnd() < 0.8 ? "GET" : "POST"} ${target.path}`,
      kind: kind.server,
      start: start + (skew ? 0 : network * 1.6),
      duration: length - network * (skew ? 1 : 3.2),
      flags: error | (skew ? F.outsideParent : 0),
      hop,
      callee,
    });
    body(at, callee, start + network * 1.8, length - network * 3.8, depth);
  };

  // What an application does inside a call: own work, then calls one after the other or side by side.
  const body = (parent, app, start, length, depth) => {
    if (length <= 4000) return;
    if (rnd() < 0.35) {
      add({
        parent,
        service: appService(app),
        name: "render template",
        kind: kind.internal,
        start,
        duration: length * 0.08,
      });
    }
    const calls = mesh[app].calls.filter(() => rnd() < 0.85);
    const inParallel = rnd() < 0.35;
    let at = start + length * 0.1;
    const part = (length * 0.8) / Math.max(1, calls.length);
    for (const callee of calls) {
      if (rows.length >= spans || depth > 9) break;
      const begin = inParallel ? start + length * (0.1 + rnd() * 0.1) : at;
      const span = inParallel ? length * (0.3 + rnd() * 0.4) : part * (0.55 + rnd() * 0.4);
      call(parent, app, callee, begin, span, depth + 1);
      at += part;
    }
    if (calls.length === 0 && rnd() < 0.7) {
      add({
        parent,
        service: appService(app),
        name: "SELECT items",
        kind: kind.client,
        start: start + length * 0.2,
        duration: length * 0.5,
        db: true,
      });
    }
  };

  const duration = Math.round((20 + rnd() * 180) * 1e6 * Math.max(1, spans / 400));
  const root = add({
    parent: -1,
    service: 0,
    name: "ingress /*",
    kind: kind.server,
    start: 0,
    duration,
    flags: F.proxy,
    hop: -1,
  });
  const rounds = Math.max(1, Math.ceil(spans / 26));
  for (let i = 0; i < rounds && rows.length < spans; i++) {
    const part = (duration * 0.94) / rounds;
    call(root, -1, i % 3 === 2 ? 4 : entry, duration * 0.02 + part * i, part * (0.7 + rnd() * 0.25), 1);
  }
  if (fault && rows.length > 12) {
    const at = add({
      parent: root,
      service: appService(3),
      name: "",
      kind: 0,
      start: duration * 0.5,
      duration: duration * 0.1,
      flags: F.missing,
    });
    add({
      parent: at,
      service: appService(3),
      name: "GET /ratings/{id}",
      kind: kind.server,
      start: duration * 0.5,
      duration: duration * 0.1,
    });
  }
  return finish({ rows, traceId, startMs, duration });
}

/** Sorts rows into tree order and writes the columns of the contract. */
function finish({ rows, traceId, startMs, duration }) {
  const children = rows.map(() => []);
  const roots = [];
  for (const [i, r] of rows.entries()) (r.parent < 0 ? roots : children[r.parent]).push(i);
  const byStart = (a, b) => rows[a].start - rows[b].start || a - b;
  const order = [];
  const stack = roots.sort(byStart).reverse();
  while (stack.length) {
    const i = stack.pop();
    order.push(i);
    stack.push(...children[i].sort(byStart).reverse());
  }
  const newRow = new Map(order.map((old, i) => [old, i]));
  const sorted = order.map((i) => ({
    ...rows[i],
    parent: rows[i].parent < 0 ? -1 : newRow.get(rows[i].parent),
  }));

  const used = [...new Set(sorted.map((r) => r.service))].sort((a, b) => a - b);
  const names = [...new Set(sorted.map((r) => r.name))];
  const nameIndex = new Map(names.map((n, i) => [n, i]));
  const depth = [];
  for (const [i, r] of sorted.entries()) depth[i] = r.parent < 0 ? 1 : depth[r.parent] + 1;
  const start = (BigInt(Math.round(startMs)) * 1000000n).toString();
  const rowsWith = (bit) => sorted.flatMap((r, i) => (r.flags & bit ? [i] : []));
  const warnings = [];
  const warn = (kind, bit, message) => {
    const all = rowsWith(bit);
    if (all.length) warnings.push({ kind, rows: all.slice(0, 100), count: all.length, message });
  };
  warn("missing_parent", F.missing, "a parent never arrived");
  warn("clock_skew", F.outsideParent, "a span starts before its parent");
  const skeleton = {
    traceId,
    start,
    duration,
    maybeIncomplete: false,
    complete: true,
    spanCount: sorted.length - rowsWith(F.missing).length,
    errorCount: rowsWith(F.error).length,
    depth: depth.reduce((a, b) => Math.max(a, b), 0),
    services: used.map((s) => services[s]),
    names,
    spans: {
      id: sorted.map((r) => r.id),
      parent: sorted.map((r) => r.parent),
      start: sorted.map((r) => Math.round(r.start)),
      duration: sorted.map((r) => Math.max(0, Math.round(r.duration))),
      service: sorted.map((r) => used.indexOf(r.service)),
      name: sorted.map((r) => nameIndex.get(r.name)),
      kind: sorted.map((r) => r.kind),
      flags: sorted.map((r) => r.flags),
      hop: sorted.map((r) => r.hop),
    },
    warnings,
  };
  return { skeleton, details: (row) => details(skeleton, sorted, row) };
}

const kindName = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const text = (key, value) => ({ key, type: "string", value: String(value) });

/** One span with everything it carries, as Envoy or an SDK would send it. */
function details(skeleton, rows, row) {
  const r = rows[row];
  const service = services[r.service];
  const rnd = random(row * 7919 + 17);
  const proxy = (r.flags & F.proxy) !== 0;
  const error = (r.flags & F.error) !== 0;
  const startNs = BigInt(skeleton.start) + BigInt(Math.round(r.start));
  const target = r.callee === undefined ? undefined : mesh[r.callee];
  const attributes = [];
  if (proxy) {
    attributes.push(
      text("component", "proxy"),
      text(
        "node_id",
        `${r.service === 0 ? "router" : "sidecar"}~10.244.1.${row % 250}~${service.group}-v1-6d8996bff-ztg6z.${service.namespace}~${service.namespace}.svc.cluster.local`,
      ),
      text("http.method", "GET"),
      text("http.status_code", error ? 503 : 200),
      text(
        "http.url",
        `http://${target?.app ?? "bookinfo.example.com"}:9080${target?.path ?? "/productpage"}`,
      ),
      text("http.protocol", "HTTP/1.1"),
      text("request_size", 0),
      text("response_size", Math.floor(rnd() * 9000)),
      text("response_flags", error ? "UF,URX" : "-"),
      text(
        "upstream_cluster.name",
        target
          ? r.kind === 3
            ? `outbound|9080|v1|${target.app}.${target.namespace}.svc.cluster.local`
            : "inbound|9080||;"
          : "outbound|9080||productpage.bookinfo.svc.cluster.local",
      ),
      text("guid:x-request-id", "0f6d3b1c-9b1f-4a53-9d0e-52f1a2b6c7d8"),
      text("istio.canonical_service", service.group),
      text("istio.canonical_revision", "v1"),
      text("istio.mesh_id", "cluster.local"),
      text("istio.cluster_id", "Kubernetes"),
      text("istio.namespace", service.namespace),
      text("peer.address", "10.244.1.17"),
      text("user_agent", "curl/8.5.0"),
    );
    if (error) attributes.push(text("error", "true"));
  } else if (r.db) {
    attributes.push(
      text("db.system", "postgresql"),
      text("db.statement", "SELECT id, title, stars FROM items WHERE book = $1 ORDER BY id"),
      { key: "db.rows", type: "int", value: Math.floor(rnd() * 100) },
    );
  } else {
    attributes.push(
      text("http.request.method", "GET"),
      { key: "http.response.status_code", type: "int", value: error ? 503 : 200 },
      text("url.path", target?.path ?? "/"),
      text("server.address", "10.244.1.17"),
      { key: "server.port", type: "int", value: 9080 },
      { key: "feature.flags", type: "array", value: ["dark-mode", "new-cart"] },
      { key: "cache.hit", type: "bool", value: rnd() < 0.5 },
      { key: "queue.wait", type: "double", value: 0.25 },
    );
  }
  return {
    row,
    spanId: r.id,
    ...(r.parent >= 0 ? { parentSpanId: rows[r.parent].id } : {}),
    name: r.name,
    kind: kindName[r.kind],
    start: startNs.toString(),
    end: (startNs + BigInt(Math.round(r.duration))).toString(),
    duration: Math.round(r.duration),
    status: error ? "error" : "unset",
    ...(error && !proxy
      ? { statusMessage: "upstream connect error or disconnect/reset before headers" }
      : {}),
    service: service.name,
    group: service.group,
    namespace: service.namespace,
    weight: 1,
    flags: r.flags,
    scope: proxy ? {} : { name: "go.opentelemetry.io/contrib/otelhttp", version: "0.72.0" },
    attributes,
    resource: [
      text("service.name", service.name),
      ...(proxy
        ? [text("telemetry.sdk.name", "envoy")]
        : [
            text("telemetry.sdk.language", "go"),
            text("k8s.pod.name", `${service.group}-v1-6d8996bff-ztg6z`),
            text("k8s.namespace.name", service.namespace),
          ]),
    ],
    events:
      error && !proxy
        ? [
            {
              time: (startNs + BigInt(Math.round(r.duration * 0.6))).toString(),
              name: "exception",
              attributes: [
                text("exception.type", "*url.Error"),
                text("exception.message", "dial tcp 10.244.1.17:9080: connect: connection refused"),
              ],
              dropped: 0,
            },
          ]
        : [],
    links:
      !proxy && !r.db && rnd() < 0.08
        ? [
            {
              traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
              spanId: "00f067aa0ba902b7",
              attributes: [text("messaging.operation", "receive")],
            },
          ]
        : [],
    droppedAttributes: 0,
    droppedEvents: 0,
    droppedLinks: 0,
  };
}

/** The result row of a trace, with only what a search answers. */
export function summaryOf({ skeleton }) {
  const s = skeleton.spans;
  const by = new Map();
  for (let r = 0; r < s.id.length; r++) {
    if (s.flags[r] & F.missing) continue;
    const service = skeleton.services[s.service[r]];
    const item = by.get(service.name) ?? { name: service.name, slot: service.slot, spans: 0, errors: 0 };
    item.spans++;
    if (s.flags[r] & F.error) item.errors++;
    by.set(service.name, item);
  }
  return {
    traceId: skeleton.traceId,
    start: skeleton.start,
    duration: skeleton.duration,
    rootService: skeleton.services[s.service[0]].name,
    rootOperation: skeleton.names[s.name[0]],
    spans: skeleton.spanCount,
    errors: skeleton.errorCount,
    matched: 1,
    matchedStart: skeleton.start,
    maybeIncomplete: skeleton.maybeIncomplete,
    services: [...by.values()],
  };
}
