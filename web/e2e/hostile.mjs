// Traces as no honest sender makes them, as OTLP JSON, for the page that opens files.

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

const strings = [
  "<img src=x onerror='globalThis.harmed=true'>",
  "<script>globalThis.harmed=true</script>",
  "<b>bold</b>&amp;&lt;",
  "\u202Egnirts desrever\u202C \u2066\u2069",
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
