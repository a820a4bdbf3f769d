// Traces as no honest sender makes them, as OTLP JSON: for the page that opens files, and for a receiver.

const id = (i) => (i + 1).toString(16).padStart(16, "0");
const start = 1_795_860_000_000_000_000n;

function otlp(spans, service = "shop", more = []) {
  return JSON.stringify({
    resourceSpans: [
      {
        resource: { attributes: [{ key: "service.name", value: { stringValue: service } }, ...more] },
        scopeSpans: [{ scope: { name: "hostile" }, spans }],
      },
    ],
  });
}

function span(i, parent, more = {}) {
  return {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: id(i),
    ...(parent >= 0 ? { parentSpanId: id(parent) } : {}),
    name: `call ${i}`,
    kind: 1,
    startTimeUnixNano: String(start + BigInt(i) * 1000n),
    endTimeUnixNano: String(start + 50_000_000n),
    ...more,
  };
}

export const strings = [
  "<img src=x onerror='globalThis.harmed=true'>",
  "<script>globalThis.harmed=true</script>",
  "<b>bold</b>&amp;&lt;",
  "\u202Egnirts desrever\u202C \u2066\u2069",
  "\u202Elive never ends",
  "e\u0301\u0323".repeat(40),
  "👩‍👩‍👧‍👦🇰🇷🏳️‍🌈".repeat(10),
  "nul\u0000in\u0001side\u007f",
  "\ud800 lone half",
  "line\nbreak\ttab\r\n",
  "{{constructor.constructor('globalThis.harmed=true')()}}",
  "javascript:globalThis.harmed=true",
  " ".repeat(300),
  "W".repeat(5000),
  "__proto__",
  "한국어 서비스 이름",
];

/** hostileTraces gives name, text of the file, and how many rows it has. */
export function hostileTraces() {
  const value = (stringValue) => ({ stringValue });
  const everywhere = strings.map((s, i) =>
    span(i, i === 0 ? -1 : 0, {
      name: s,
      kind: 3,
      traceState: s,
      status: { code: 2, message: s },
      attributes: [
        { key: s, value: value(s) },
        { key: "response_flags", value: value(s) },
        { key: "upstream_cluster.name", value: value(s) },
        { key: "node_id", value: value(`${s}~${s}~${s}.${s}~${s}`) },
        { key: "http.url", value: value("x".repeat(1 << 20)) },
        {
          key: "list",
          value: {
            arrayValue: { values: [value(s), { kvlistValue: { values: [{ key: s, value: value(s) }] } }] },
          },
        },
      ],
      events: [{ name: s, timeUnixNano: "0", attributes: [{ key: s, value: value(s) }] }],
      links: [{ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: id(1), attributes: [] }],
    }),
  );
  const wide = 2 ** 52;
  return [
    { name: "strings everywhere", text: otlp(everywhere, strings[0]), rows: strings.length },
    { name: "one span", text: otlp([span(0, -1)]), rows: 1 },
    { name: "depth 5000", text: otlp(Array.from({ length: 5000 }, (_, i) => span(i, i - 1))), rows: 5000 },
    {
      name: "cycles",
      text: otlp([span(0, 2), span(1, 0), span(2, 1), span(3, 3)]),
      rows: 4,
    },
    { name: "duplicate ids", text: otlp([span(0, -1), span(0, -1), span(0, 0), span(1, 0)]), rows: 4 },
    {
      name: "zero and absurd durations",
      text: otlp([
        span(0, -1, { endTimeUnixNano: String(start) }),
        span(1, 0, { startTimeUnixNano: "0", endTimeUnixNano: "0" }),
        span(2, 0, { startTimeUnixNano: String(start), endTimeUnixNano: String(start + BigInt(wide)) }),
        span(3, 0, { startTimeUnixNano: "18446744073709551615", endTimeUnixNano: "18446744073709551615" }),
        span(4, 0, { startTimeUnixNano: String(start + 9n), endTimeUnixNano: String(start) }),
      ]),
      rows: 5,
    },
    {
      name: "nothing took any time",
      text: otlp(
        Array.from({ length: 5 }, (_, i) =>
          span(i, i - 1, { startTimeUnixNano: String(start), endTimeUnixNano: String(start) }),
        ),
      ),
      rows: 5,
    },
  ];
}

/** The trace of hostileMesh that is all of strings[i]: the failed one of its ten. */
export const hostileTraceId = (i) => (0xbad0000 + i * 100 + 4).toString(16).padStart(32, "0");

/**
 * hostileMesh gives bodies of OTLP JSON: a gateway that calls a service named after each of the strings, which calls a database, a
 * broker and a host of such names. Traces end before `now` (milliseconds); every fifth failed, their durations differ.
 */
export function hostileMesh(now) {
  const value = (stringValue) => ({ stringValue });
  const attr = (key, text) => ({ key, value: value(text) });
  const hex = (n, digits) => n.toString(16).padStart(digits, "0");
  return strings.map((s, i) => {
    const resourceSpans = [];
    for (let n = 0; n < 10; n++) {
      const traceId = hex(0xbad0000 + i * 100 + n, 32);
      const ids = Array.from({ length: 5 }, (_, k) => hex(0xbad00000 + (i * 100 + n) * 10 + k, 16));
      const ms = 5 + n * n * 3;
      const begin = BigInt(now - 60_000 + i * 2000 + n * 150) * 1_000_000n;
      const times = (from, to) => ({
        startTimeUnixNano: String(begin + BigInt(Math.round(ms * from * 1e6))),
        endTimeUnixNano: String(begin + BigInt(Math.round(ms * to * 1e6))),
      });
      const failed = n % 5 === 4 ? { status: { code: 2, message: s } } : {};
      const many = [
        attr(s, s),
        attr("response_flags", s),
        attr("upstream_cluster.name", s),
        attr("http.method", s),
        attr("http.url", n === 0 ? "x".repeat(1 << 20) : s),
        attr("peer.address", s),
        attr("user_agent", s),
      ];
      const more = {
        traceId,
        traceState: s,
        events: [{ name: s, timeUnixNano: String(begin), attributes: [attr(s, s)] }],
        links: [{ traceId: hex(0xbad0000, 32), spanId: ids[0], attributes: [attr(s, s)] }],
      };
      const span = (k, parent, kind, name, from, to, attributes) => ({
        ...more,
        ...failed,
        ...times(from, to),
        spanId: ids[k],
        ...(parent >= 0 ? { parentSpanId: ids[parent] } : {}),
        kind,
        name,
        attributes,
      });
      const of = (service, namespace, spans) =>
        resourceSpans.push({
          resource: {
            attributes: [
              attr("service.name", service),
              attr("k8s.namespace.name", namespace),
              attr("k8s.pod.name", s),
              attr("service.version", s),
              attr(s, s),
            ],
          },
          scopeSpans: [{ scope: { name: s, version: s }, spans }],
        });
      of("gate", "edge", [
        span(0, -1, 2, s, 0, 1, many),
        span(1, 0, 3, s, 0.1, 0.9, [...many, attr("peer.service", s)]),
      ]);
      of(s, s, [
        span(2, 1, 2, s, 0.15, 0.85, many),
        span(3, 2, 3, s, 0.2, 0.5, [
          ...many,
          attr("db.system", s),
          attr("server.address", s),
          attr("db.name", s),
        ]),
        span(4, 2, 4, s, 0.5, 0.6, [
          ...many,
          attr("messaging.system", s),
          attr("messaging.destination.name", s),
        ]),
      ]);
    }
    return JSON.stringify({ resourceSpans });
  });
}
