// What the fixture server answers of one trace beside its skeleton: its calls, and its spans as OTLP JSON.

const F = { error: 1, proxy: 2, missing: 4, outsideParent: 32 };

/** hopsOf makes the answer of GET hops out of the skeleton's hop numbers. */
export function hopsOf({ skeleton: s }) {
  const { spans } = s;
  const byHop = new Map();
  for (let r = 0; r < spans.id.length; r++) {
    const h = spans.hop[r];
    if (h < 0 || spans.flags[r] & F.missing) continue;
    if (!byHop.has(h)) byHop.set(h, []);
    byHop.get(h).push(r);
  }
  const end = (r) => {
    const service = s.services[spans.service[r]];
    return {
      kind: "service",
      namespace: service.namespace,
      name: service.group,
      service: service.name,
      version: "v1",
    };
  };
  const stage = (r) => {
    const side = spans.kind[r] === 3 ? "caller" : "callee";
    return spans.flags[r] & F.proxy ? `${side}_proxy` : side;
  };
  const items = [...byHop].map(([hop, rows]) => {
    const callers = rows.filter((r) => spans.kind[r] === 3);
    const callees = rows.filter((r) => spans.kind[r] !== 3);
    const outer = rows[0];
    const tries = callees.filter((r) => spans.flags[r] & F.proxy);
    const failed = (spans.flags[outer] & F.error) !== 0;
    const inner = callees.at(-1);
    const host = inner === undefined ? undefined : s.services[spans.service[inner]];
    return {
      hop,
      from: callers.length ? end(callers[0]) : { kind: "client", namespace: "", name: "" },
      to: callees.length ? end(inner) : { kind: "unknown", namespace: "", name: "" },
      start: String(BigInt(s.start) + BigInt(spans.start[outer])),
      duration: spans.duration[outer],
      failed,
      protocol: "http/1.1",
      method: "GET",
      path: /\/.*/.exec(s.names[spans.name[inner ?? outer]])?.[0] ?? "/",
      code: failed ? "503" : "200",
      headers: "b3",
      mtls: "unknown",
      ...(host
        ? {
            cluster: {
              direction: "outbound",
              port: 9080,
              subset: "v1",
              host: `${host.group}.${host.namespace}.svc.cluster.local`,
            },
          }
        : {}),
      upstream: "10.244.1.17:9080",
      rows: rows.map((row) => ({ row, spanId: spans.id[row], stage: stage(row) })),
      parts:
        callers.length && inner !== undefined
          ? [
              { name: "network", duration: Math.max(0, spans.duration[outer] - spans.duration[inner]) },
              { name: "callee", duration: spans.duration[inner] },
            ]
          : [{ name: "callee_proxy_and_callee", duration: spans.duration[outer] }],
      attempts: tries.map((row) => ({
        row,
        start: String(BigInt(s.start) + BigInt(spans.start[row])),
        duration: spans.duration[row],
        failed: (spans.flags[row] & F.error) !== 0,
        code: spans.flags[row] & F.error ? "503" : "200",
      })),
      flags: rows
        .filter((r) => spans.flags[r] & F.error && spans.flags[r] & F.proxy)
        .slice(0, 2)
        .map((row) => ({ row, flag: "UF", meaning: "the connection could not be made" })),
      missing: callers.length ? [] : ["caller"],
    };
  });
  const late = spans.flags.findIndex((f) => f & F.outsideParent);
  return {
    traceId: s.traceId,
    maybeIncomplete: false,
    items,
    clocks: [
      { name: "node-1", shift: 0, low: 0, high: 0, pairs: 0, linked: true },
      ...(late >= 0
        ? [
            {
              name: "node-2",
              shift: 4_000_000,
              low: 3_500_000,
              high: 4_500_000,
              pairs: 3,
              linked: true,
            },
          ]
        : []),
    ],
    clockOf: spans.flags.map((f) => (f & F.missing ? -1 : f & F.outsideParent ? 1 : 0)),
    complete: true,
  };
}

/** otlpOf gives the spans as OTLP JSON (TracesData), one resource a service. */
export function otlpOf({ skeleton: s, details }) {
  const byService = new Map();
  for (let row = 0; row < s.spans.id.length; row++) {
    if (s.spans.flags[row] & F.missing) continue;
    const d = details(row);
    if (!byService.has(d.service)) byService.set(d.service, []);
    byService.get(d.service).push(d);
  }
  return {
    resourceSpans: [...byService].map(([service, list]) => ({
      resource: { attributes: [{ key: "service.name", value: { stringValue: service } }] },
      scopeSpans: [
        {
          scope: { name: "fixture", version: "1" },
          spans: list.map((d) => ({
            traceId: s.traceId,
            spanId: d.spanId,
            ...(d.parentSpanId ? { parentSpanId: d.parentSpanId } : {}),
            name: d.name,
            kind: ["unspecified", "internal", "server", "client", "producer", "consumer"].indexOf(d.kind),
            startTimeUnixNano: d.start,
            endTimeUnixNano: String(BigInt(d.start) + BigInt(d.duration)),
            attributes: d.attributes.map((a) => ({ key: a.key, value: anyValue(a.value) })),
            status: d.status === "error" ? { code: 2 } : {},
          })),
        },
      ],
    })),
  };
}

function anyValue(v) {
  if (typeof v === "boolean") return { boolValue: v };
  if (typeof v === "number") return Number.isInteger(v) ? { intValue: String(v) } : { doubleValue: v };
  if (Array.isArray(v)) return { arrayValue: { values: v.map(anyValue) } };
  return { stringValue: String(v) };
}
