// A stand-in for the server in tests of the UI: it answers docs/api/openapi.yaml with made-up data and
// serves the built UI with the same headers as embed.go. It is no part of the product.
//
//   node e2e/fixture-server.mjs [--port 0] [--base /]
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { hopsOf, otlpOf } from "./fixture-trace.mjs";
import { makeTrace, mesh, random, services, summaryOf } from "./generate.mjs";
import { doctorReport, edgeDetail, makeMap, serviceDetail } from "./map-fixture.mjs";
import { meshPlan, meshRefusal, meshRender } from "./mesh-fixture.mjs";

const dist = fileURLToPath(new URL("../dist", import.meta.url));
const types = {
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".html": "text/html; charset=utf-8",
};

/** Ids of large traces by their number of spans, which no search lists. */
export const largeTraces = { 5000: "5000", 50000: "50000", 500000: "500000" };
export const largeId = (spans) => largeTraces[spans].padStart(32, "0");

/** startFixture listens and gives its address, its log of API requests and a way to stop it. */
export async function startFixture({ port = 0, base = "/", empty = false, mapNodes = 24 } = {}) {
  const nowMs = Date.now();
  const traces = empty
    ? []
    : Array.from({ length: 260 }, (_, i) =>
        makeTrace({
          seed: i + 1,
          spans: 12 + ((i * 7) % 60),
          startMs: nowMs - 4000 - i * 11_000,
          entry: i % 4 === 3 ? 4 : 0,
        }),
      );
  if (!empty) traces[0].skeleton.maybeIncomplete = false;
  const byId = new Map(traces.map((t) => [t.skeleton.traceId, t]));
  const large = new Map();
  const find = (id) => {
    const spans = empty ? undefined : Object.keys(largeTraces).find((n) => largeId(n) === id);
    if (spans) {
      if (!large.has(id)) {
        const made = makeTrace({ seed: 42, spans: Number(spans), startMs: nowMs - 60_000 });
        made.skeleton.traceId = id;
        large.set(id, made);
      }
      return large.get(id);
    }
    return byId.get(id.padStart(32, "0")) ?? byId.get(id);
  };
  const requests = [];
  const examples = traces.slice(0, 20).map((t) => t.skeleton.traceId);
  const map = makeMap({ nodes: empty ? 0 : mapNodes, examples });

  const server = createServer((req, res) => {
    const url = new URL(req.url, "http://fixture");
    const path = url.pathname.startsWith(base) ? url.pathname.slice(base.length) : url.pathname.slice(1);
    if (path.startsWith("api/spanloom/v1/")) {
      requests.push(`${req.method} ${path.slice("api/spanloom/v1/".length)}${url.search}`);
      return api(path.slice("api/spanloom/v1/".length), url.searchParams, req, res);
    }
    if (path === "tempo/api/metrics/query") return instant(url.searchParams.get("q") ?? "", res);
    asset(path, res);
  });

  const json = (res, body, status = 200) => {
    res.writeHead(status, { "content-type": "application/json", "x-request-id": "fixture-1" });
    res.end(JSON.stringify(body));
  };
  const fail = (res, status, kind, message, more = {}) =>
    json(res, { error: { kind, message, ...more } }, status);

  const searches = { items: [{ name: "slow checkouts", query: "q=duration%3E1s" }], version: 1 };

  function api(path, q, req, res) {
    if (path === "status") return json(res, status(nowMs, empty));
    if (path === "receipts") return json(res, receipts(empty));
    if (path === "services")
      return json(res, { items: empty ? [] : serviceList(q.get("red") === "true", nowMs), complete: true });
    if (path === "operations") {
      const m = mesh.find((x) => x.app === q.get("service"));
      return json(res, {
        items: m
          ? [
              { name: `GET ${m.path}`, kind: "server", n: 812 },
              { name: `POST ${m.path}`, kind: "server", n: 203 },
            ]
          : [],
        complete: true,
      });
    }
    if (path === "attributes/keys") {
      const keys = [
        "http.method",
        "http.status_code",
        "http.url",
        "response_flags",
        "node_id",
        "istio.canonical_service",
        "upstream_cluster.name",
        "user_agent",
      ];
      const prefix = q.get("prefix") ?? "";
      return json(res, {
        items: keys
          .filter((k) => k.startsWith(prefix))
          .map((key, i) => ({ key, scope: "span", type: "string", n: 9000 - i * 700 })),
        complete: true,
      });
    }
    if (path === "attributes/values") {
      const values = {
        "http.method": ["GET", "POST"],
        "http.status_code": ["200", "503", "404"],
        response_flags: ["-", "UF,URX", "DC"],
      }[q.get("key")] ?? ["one", "two"];
      return json(res, {
        items: values.map((value, i) => ({ value, type: "string", n: 800 - i * 100 })),
        complete: true,
      });
    }
    if (path === "search/stream") return search(q, res, true);
    if (path === "search") return search(q, res, false);
    if (path === "heatmap") return json(res, heatmap());
    if (path === "differences") return json(res, differences());
    if (path === "traceql") {
      const bad = /staus/.test(q.get("q") ?? "");
      return json(
        res,
        bad
          ? {
              ok: false,
              mistake: { message: "staus is no field", hint: "did you mean status?", line: 1, column: 3 },
            }
          : { ok: true, kind: "spans" },
      );
    }
    if (path === "searches") return saved(req, res);
    // A window that ended before the fixture's first trace is empty.
    const past = q.has("end") && Number(BigInt(q.get("end")) / 1000000n) < nowMs - 86400e3;
    if (path === "map") return json(res, past ? makeMap({ nodes: 0, examples }) : map);
    if (path === "edge") {
      const found = edgeDetail(map, q, nowMs, examples);
      return found ? json(res, found) : fail(res, 404, "notFound", "no such call in this window");
    }
    if (path === "service") {
      const found = serviceDetail(map, q, nowMs, examples);
      return found ? json(res, found) : fail(res, 404, "notFound", "no such node in this window");
    }
    if (path === "doctor") return json(res, doctorReport(map, q.get("lang") ?? "en", examples));
    if (path === "mesh/render" || path === "mesh/plan") {
      const refusal = meshRefusal(q);
      if (refusal) return fail(res, 400, "invalid", refusal.message, refusal);
      return json(res, path === "mesh/plan" ? meshPlan() : meshRender(q));
    }
    if (path === "hops") {
      const trace = find((q.get("traceId") ?? "").toLowerCase());
      return trace ? json(res, hopsOf(trace)) : fail(res, 404, "notFound", "no such trace");
    }
    const m = /^traces\/([^/]+)(?:\/(spans|otlp|keep|find))?$/.exec(path);
    if (!m) return fail(res, 404, "notFound", `no path ${path}`);
    const trace = find(decodeURIComponent(m[1]).toLowerCase());
    if (!trace) return fail(res, 404, "notFound", `trace ${m[1]} was not found`);
    if (m[2] === "spans") {
      const ids = q.get("ids")?.split(",");
      const rows = trace.skeleton.spans.id
        .flatMap((id, r) => (!ids || ids.includes(id) ? [r] : []))
        .slice(0, 500);
      return json(res, { items: rows.map((r) => trace.details(r)) });
    }
    if (m[2] === "find") {
      const wanted = (q.get("q") ?? "").trim().toLowerCase();
      const carries = (a) => `${a.key}=${a.value}`.toLowerCase().includes(wanted);
      const spanIds = trace.skeleton.spans.id.filter((_, r) => {
        const s = trace.details(r);
        return s.attributes.some(carries) || s.resource.some(carries);
      });
      return json(res, { count: spanIds.length, spanIds: spanIds.slice(0, 100_000) });
    }
    if (m[2] === "otlp") return json(res, otlpOf(trace));
    if (m[2] === "keep") {
      res.writeHead(204);
      return res.end();
    }
    return json(res, trace.skeleton);
  }

  /** Peers of a span: 1,000 of them, 730 faster. */
  function instant(q, res) {
    const series = q.includes("quantile_over_time")
      ? [0.5, 0.95, 0.99].map((p) => ({
          labels: [{ key: "p", value: { doubleValue: p } }],
          value: p * p * 0.08,
        }))
      : [{ labels: [], value: q.includes("duration <") ? 730 : 1000 }];
    json(res, { series, metrics: {} });
  }

  function search(q, res, stream) {
    const filters = q.getAll("filter");
    if (filters.some((f) => f.startsWith("kind=")))
      return fail(res, 501, "unsupported", "this engine has no kinds", {
        field: "filter",
        hint: "drop kind",
      });
    if (filters.some((f) => f === ".boom=1")) return fail(res, 500, "internal", "boom");
    const limit = Number(q.get("limit") ?? 20);
    const from = Number(q.get("page") ?? 0);
    let found = traces.map(summaryOf);
    for (const f of filters) {
      const [, field, op, value] = /^([^=!<>]+)(=~|!=|>=|<=|=|>|<)(.*)$/.exec(f) ?? [];
      if (field === "service" && op === "=")
        found = found.filter((t) => t.services.some((s) => s.name === value));
      else if (field === "status" && value === "error") found = found.filter((t) => t.errors > 0);
      else if (/^(trace)?[dD]uration$/.test(field))
        found = found.filter((t) => t.duration > Number.parseFloat(value) * 1e6);
      else if (field === "operation")
        found = found.filter((t) =>
          op === "=" ? t.rootOperation === value : new RegExp(`^(?:${value})$`).test(t.rootOperation),
        );
      else if (value === "nothing") found = [];
    }
    const items = found.slice(from, from + limit);
    const end = {
      ...(from + limit < found.length ? { next: String(from + limit) } : {}),
      complete: !filters.includes(".slow=1"),
      ...(filters.includes(".slow=1") ? { reason: "search stopped at 10 s" } : {}),
      read: { blocks: filters.includes(".slow=1") ? 42 : 120, of: 120, bytes: 9_000_000 },
    };
    if (!stream) return json(res, { items, ...end });
    res.writeHead(200, { "content-type": "application/x-ndjson", "x-request-id": "fixture-1" });
    for (const trace of items) res.write(`${JSON.stringify({ type: "trace", trace })}\n`);
    res.end(`${JSON.stringify({ type: "end", ...end })}\n`);
  }

  /** Saved searches, with compare-and-set. */
  function saved(req, res) {
    if (req.method !== "POST") return json(res, searches);
    let body = "";
    req.on("data", (part) => {
      body += part;
    });
    req.on("end", () => {
      const { items, ifVersion } = JSON.parse(body);
      if (ifVersion !== searches.version)
        return fail(res, 400, "invalid", "not the newest", { field: "ifVersion" });
      searches.items = items;
      json(res, { version: ++searches.version });
    });
  }

  /** Counts of the made-up roots: 60 columns over the last hour, six rows a decade. */
  function heatmap() {
    const bounds = [1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000].map(
      (ms) => ms * 1e6,
    );
    const startMs = nowMs - 3600e3;
    const cells = new Map();
    for (const t of traces.map(summaryOf)) {
      const column = Math.min(59, Math.floor((Number(BigInt(t.start) / 1000000n) - startMs) / 60e3));
      const row = bounds.findLastIndex((b) => b <= t.duration);
      if (column < 0 || row < 0 || row >= bounds.length - 1) continue;
      const key = column * 100 + row;
      const c = cells.get(key) ?? { column, row, n: 0, errors: 0, example: t.traceId };
      c.n++;
      if (t.errors) c.errors++;
      cells.set(key, c);
    }
    const n = traces.length;
    return {
      start: `${startMs}000000`,
      step: 60e9,
      columns: 60,
      of: "roots",
      bounds: empty ? [] : bounds,
      cells: [...cells.values()].sort((a, b) => a.column - b.column || a.row - b.row),
      red: {
        n,
        weight: n,
        errors: n ? 12 : 0,
        rate: 0.1,
        errorRate: 0.05,
        p50: 45e6,
        p95: 180e6,
        p99: 420e6,
        estimated: false,
      },
      complete: true,
      read: { blocks: 120, of: 120, bytes: 9_000_000 },
    };
  }

  function differences() {
    const value = (v, selected, rest) => ({ value: v, selected, rest });
    return {
      selected: empty ? 0 : 13,
      rest: empty ? 0 : 247,
      of: "roots",
      items: empty
        ? []
        : [
            {
              field: "resource.istio.canonical_revision",
              key: "istio.canonical_revision",
              scope: "resource",
              score: 0.84,
              values: [value("v3", 13, 20), value("v1", 0, 227)],
            },
            {
              field: "span.response_flags",
              key: "response_flags",
              scope: "span",
              score: 0.4,
              many: true,
              values: [
                value("UT", 6, 0),
                value("-", 7, 230),
                { absent: true, selected: 0, rest: 17 },
                value('<script>alert("x")</script> \u202eabc', 0, 1),
              ],
            },
            {
              field: "operation",
              scope: "intrinsic",
              score: 0.2,
              values: [value("GET /productpage", 9, 100), value("POST /checkout", 4, 147)],
            },
          ],
      complete: true,
      read: { blocks: 120, of: 120, bytes: 9_000_000 },
    };
  }

  function asset(path, res) {
    const headers = {
      "content-security-policy":
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
      "x-content-type-options": "nosniff",
    };
    const file = normalize(join(dist, path));
    if (path && file.startsWith(dist)) {
      try {
        const body = readFileSync(file);
        res.writeHead(200, {
          ...headers,
          "content-type": types[extname(file)] ?? "application/octet-stream",
        });
        return res.end(body);
      } catch {
        if (path.startsWith("assets/")) {
          res.writeHead(404, headers);
          return res.end();
        }
      }
    }
    const page = readFileSync(join(dist, "index.html"), "utf8").replace(
      '<base href="/">',
      `<base href="${base}">`,
    );
    res.writeHead(200, { ...headers, "content-type": types[".html"] });
    res.end(page);
  }

  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}${base}`,
    requests,
    traces,
    stop: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}

const ns = (ms) => (BigInt(Math.round(ms)) * 1000000n).toString();

function status(nowMs, empty) {
  const now = Date.now();
  return {
    version: "1.0.0",
    commit: "52aae50",
    uptime: 93_784e9,
    now: ns(now),
    receivers: [
      {
        protocol: "zipkin",
        address: "127.0.0.1:9411",
        spansPerSecond: empty ? 0 : 1182.4,
        spans: empty ? 0 : 8_412_331,
        ...(empty ? {} : { lastTime: ns(now - 800) }),
        refused: {},
        misuses: empty ? {} : { wrong_path: 17 },
      },
      {
        protocol: "otlp_grpc",
        address: "127.0.0.1:4317",
        spansPerSecond: empty ? 0 : 403.2,
        spans: empty ? 0 : 2_019_004,
        ...(empty ? {} : { lastTime: ns(now - 2100) }),
        refused: empty ? {} : { bad_id: 3, body_too_large: 1 },
        misuses: {},
      },
      {
        protocol: "otlp_http",
        address: "127.0.0.1:4318",
        spansPerSecond: 0,
        spans: 0,
        refused: {},
        misuses: {},
      },
    ],
    store: {
      kind: "local",
      spans: empty ? 0 : 10_431_335,
      traces: empty ? 0 : 412_009,
      bytes: empty ? 0 : 612e6,
      limitBytes: 1 << 30,
      diskBytes: empty ? 0 : 1.3e9,
      evictedTraces: empty ? 0 : 1204,
      ...(empty ? {} : { oldest: ns(nowMs - 5 * 3600e3) }),
      segments: {
        files: empty ? 0 : 31,
        bytes: empty ? 0 : 1.2e9,
        bytesPerHour: empty ? 0 : 240e6,
        dueBytes: empty ? 0 : 60e6,
        fullInNs: empty ? -1 : 96 * 3600e9,
        holdsNs: 360 * 3600e9,
        questions: 18_422,
        blocksRead: 91_003,
        blocksPassed: 8_300_411,
        hours: empty
          ? []
          : Array.from({ length: 6 }, (_, i) => ({
              hour: ns(Math.floor(nowMs / 3600e3 - i) * 3600e3),
              spans: 2_000_000 - i * 111_000,
              bytes: 250e6 - i * 14e6,
            })),
      },
      bucket: {
        address: "s3://traces/prod",
        readOnly: false,
        generation: empty ? 1 : 412,
        segments: empty ? 0 : 28,
        bytes: empty ? 0 : 1.1e9,
        farSegments: 0,
        waitingSegments: empty ? 0 : 3,
        waitingBytes: empty ? 0 : 96e6,
        ...(empty ? {} : { since: ns(now - 212e3) }),
        uploads: empty ? 0 : 340,
        failures: empty ? 0 : 4,
        ...(empty
          ? {}
          : { lastError: "s3://traces/prod: list the manifests: dial tcp 10.0.0.7:443: no route to host" }),
        checkedAt: ns(now - 9e3),
        cacheBytes: 0,
        cacheHits: 0,
        fetches: 0,
        fetchedBytes: 0,
      },
      damaged: [],
    },
    listeners: [
      { name: "http", address: "127.0.0.1:16686", tls: false, authenticated: false },
      { name: "zipkin", address: "0.0.0.0:9411", tls: false, authenticated: false },
      { name: "otlpGrpc", address: "0.0.0.0:4317", tls: true, authenticated: true },
      { name: "otlpHttp", address: "127.0.0.1:4318", tls: false, authenticated: false },
    ],
    forward: {
      bytes: empty ? 0 : 74e6,
      limitBytes: 2e9,
      targets: [
        {
          name: "tempo",
          address: "grpc://tempo.observability:4317",
          spans: 0,
          sentSpans: empty ? 0 : 10_431_335,
          refusedSpans: 0,
          droppedSpans: 0,
          unreadableSpans: 0,
          failures: 0,
        },
        {
          name: "jaeger",
          address: "http://jaeger.observability:4318",
          spans: empty ? 0 : 61_204,
          ...(empty ? {} : { oldest: ns(now - 48e3) }),
          sentSpans: empty ? 0 : 10_369_119,
          refusedSpans: empty ? 0 : 12,
          droppedSpans: 0,
          unreadableSpans: 0,
          failures: empty ? 0 : 6,
          ...(empty
            ? {}
            : { lastError: "dial tcp: connection refused", lastRefusal: "400: the body is too large" }),
        },
      ],
    },
  };
}

function receipts(empty) {
  if (empty) return { items: [], rejects: [] };
  const now = Date.now();
  return {
    items: mesh.slice(0, 8).map((m, i) => ({
      workload: `${m.namespace}/${m.app}-v1`,
      sender: `10.244.1.${10 + i}`,
      protocol: i % 3 === 0 ? "otlp_grpc" : "zipkin",
      spans: 90_000 - i * 8111,
      requests: 17_000 - i * 1200,
      spansPerRequest: (90_000 - i * 8111) / (17_000 - i * 1200),
      lastTime: ns(now - i * 900),
      refused: i === 3 ? { bad_id: 3 } : {},
      misuses: i === 1 ? { wrong_path: 17 } : {},
    })),
    rejects: [
      {
        time: ns(now - 90_000),
        sender: "10.244.1.44",
        protocol: "otlp_grpc",
        reason: "body_too_large",
        message: "request of 20971520 bytes is over the limit of 16777216",
        bytes: 20_971_520,
        head: "0a91cd010a4d0a21",
      },
    ],
  };
}

function serviceList(red, nowMs) {
  const rnd = random(7);
  return services.slice(0, 22).map((s, i) => {
    const proxyOnly = i > mesh.length;
    const rate = 0.4 + rnd() * 140;
    const errorRate = i % 4 === 2 ? rnd() * 0.06 : 0;
    const p50 = Math.round((3 + rnd() * 40) * 1e6);
    const one = (f) => ({
      n: proxyOnly && i % 5 === 0 ? 0 : Math.round(rate * 3600 * f),
      weight: rate * 3600 * f,
      errors: Math.round(errorRate * rate * 3600 * f),
      rate: rate * f,
      errorRate,
      p50,
      p95: Math.round(p50 * 3.1 * f),
      p99: Math.round(p50 * 6.4),
      estimated: i === 5,
    });
    return {
      ...s,
      spans: Math.round(rate * 3600 * 1.4),
      lastTime: ns(nowMs - i * 700),
      ...(red
        ? {
            red: one(1),
            before: one(0.8 + rnd() * 0.35),
            spark: Array.from(
              { length: 30 },
              (_, k) => rate * (0.8 + 0.25 * Math.sin(k / 3 + i) + rnd() * 0.1),
            ),
            sparkErrors: Array.from({ length: 30 }, () =>
              errorRate > 0 && rnd() < 0.25 ? rate * errorRate * rnd() : 0,
            ),
          }
        : {}),
    };
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const arg = (name, otherwise) => {
    const at = process.argv.indexOf(`--${name}`);
    return at > 0 ? process.argv[at + 1] : otherwise;
  };
  const f = await startFixture({
    port: Number(arg("port", "0")),
    base: arg("base", "/"),
    empty: process.argv.includes("--empty"),
  });
  console.log(`fixture server on ${f.url}`);
}
