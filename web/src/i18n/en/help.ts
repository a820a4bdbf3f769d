/** A word of tracing: its name, what it means in a few sentences, and lines to look at. */
export interface Term {
  title: string;
  text: string[];
  /** Headers, names or commands as they are written. */
  example?: string[];
}

/** Ids of the terms: they stand in links, so they stay. */
export const termGroups = {
  basics: ["trace", "span", "root", "service", "attributes", "errors"],
  mesh: ["sidecar", "hop", "cluster", "passthrough", "retries", "mtls", "waypoint"],
  context: ["propagation", "b3", "w3c", "requestid", "missing"],
  sampling: ["sampling", "head", "tail", "weight"],
  time: ["selftime", "critical", "gaps", "skew", "percentile"],
} as const;
export type GroupId = keyof typeof termGroups;
export type TermId = (typeof termGroups)[GroupId][number];

/** The help page; loaded when it is opened. */
export const helpTexts = {
  title: "Help",
  question: "The words of tracing, as they are used here",
  contents: "Contents",
  groups: {
    basics: "Traces and spans",
    mesh: "In the mesh",
    context: "How spans find each other",
    sampling: "Sampling",
    time: "Where the time went",
  } as Record<GroupId, string>,
  flagsTitle: "Envoy's response flags",
  flagsText:
    "A proxy notes with such a flag why a request ended as it did. It stands in the attribute response_flags of its spans; several are separated by commas.",
  colFlag: "Flag",
  colMeaning: "What happened",
  colCause: "Usual cause",
  search: "Find traces",
  searchFlag: (flag: string) => `Find traces with the flag ${flag}`,
  problemsTitle: "When something is missing",
  problems: [
    {
      title: "No traces at all",
      text: "Look at the overview: it says whether spans arrive, and what was refused. Then run the doctor, which follows the way of a span from the mesh configuration to the store and names the first station that fails.",
      command: "spanloom doctor",
    },
    {
      title: "Traces of proxies only, or of applications only",
      text: "Proxies report by themselves; applications need an instrumentation library. Where only applications report, sidecars are not injected or have no tracing provider.",
    },
    {
      title: "Every request makes two traces or more",
      text: "An application does not hand on the trace headers of the request that it serves. See “Propagation”.",
    },
    {
      title: "A trace that the logs name is not here",
      text: "It was not sampled, it is older than what is kept, or its spans were refused. Status shows how long spans are held and what was refused.",
    },
  ] as { title: string; text: string; command?: string }[],
  keysTitle: "Keys",
  keysText: "Press ? on any page for all keys.",
  terms: {
    trace: {
      title: "Trace",
      text: [
        "Everything that happened because of one request: a tree of spans with one trace id. Also called a distributed trace.",
        "The id is 16 or 32 hexadecimal digits. Paste it, or a header that carries it, into the search field of any page.",
      ],
    },
    span: {
      title: "Span",
      text: [
        "One piece of work with a start, a duration and a name: a request that was served, a call that was made, a query. It names the span that caused it, its parent.",
        "Its kind says which side it saw: a server span served a call, a client span made one, producer and consumer spans belong to a message queue, internal ones stay inside of the application.",
      ],
    },
    root: {
      title: "Root span",
      text: [
        "The span without a parent: usually the ingress gateway's. Its duration is what the user waited for. A trace whose root never arrived still shows all that did.",
      ],
    },
    service: {
      title: "Service, operation, workload",
      text: [
        "The service is who reported the span (service.name), the operation is the span's name. A sidecar often calls itself differently from its application, for example productpage.bookinfo and productpage; both belong to one workload and are shown as one where that helps.",
      ],
    },
    attributes: {
      title: "Attributes and resource",
      text: [
        "Facts about a span (http.status_code, response_flags) and about who sent it (the resource: pod, namespace, version). Each can be searched for.",
      ],
    },
    errors: {
      title: "Errors",
      text: [
        "A span failed if its status says so. Proxies set it for answers with 5xx and for requests that got no answer; a 404 is an answer and no error.",
      ],
    },
    sidecar: {
      title: "Sidecar",
      text: [
        "The proxy (Envoy) beside each application. Every call between two services goes through two of them, and both report a span. They know about retries, timeouts and routes, of which the application sees nothing.",
      ],
    },
    hop: {
      title: "Hop",
      text: [
        "One call from one service to another, as up to four spans saw it: the caller's application, its proxy, the callee's proxy, the callee's application. Folded, a hop is one row. The differences of the durations tell how long the network and the proxies took.",
      ],
    },
    cluster: {
      title: "Upstream cluster",
      text: [
        "Where a proxy sent a request: direction, port, subset and host. The subset is the version that a DestinationRule names; it is empty without one.",
      ],
      example: ["outbound|9080|v2|reviews.bookinfo.svc.cluster.local"],
    },
    passthrough: {
      title: "PassthroughCluster and BlackHoleCluster",
      text: [
        "PassthroughCluster: the call left the mesh to an address that Istio does not know; a ServiceEntry gives it a name. BlackHoleCluster: the mesh allows only known hosts (REGISTRY_ONLY), and the call was blocked.",
      ],
    },
    retries: {
      title: "Retries and timeouts",
      text: [
        "The proxy tries a failed call again without the application knowing; by default twice. Each try is a span of the callee's proxy below the same span of the caller's proxy. URX says that all tries failed, UT that the time was over.",
      ],
    },
    mtls: {
      title: "mTLS",
      text: [
        "Encryption and identity between proxies. Spans do not say whether a call was encrypted; the doctor knows it from policies and from the proxies' own configuration.",
      ],
    },
    waypoint: {
      title: "Waypoint, ambient",
      text: [
        "Without sidecars, a node's ztunnel carries the calls and a waypoint proxy per namespace or service does what needs HTTP. Only waypoints report spans, so one proxy span stands where two would be.",
      ],
    },
    propagation: {
      title: "Propagation",
      text: [
        "Proxies cannot know which incoming request caused an outgoing one. The application must copy the trace headers from the request that it serves to the calls that it makes. An OpenTelemetry library does so by itself; without one, these headers are to be copied:",
      ],
      example: [
        "x-request-id",
        "traceparent, tracestate",
        "x-b3-traceid, x-b3-spanid, x-b3-parentspanid, x-b3-sampled, x-b3-flags",
        "b3",
      ],
    },
    b3: {
      title: "B3",
      text: ["Zipkin's headers, which Istio's Zipkin provider sends: five of them, or all in one called b3."],
      example: ["b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"],
    },
    w3c: {
      title: "W3C Trace Context",
      text: [
        "The standard header, which OpenTelemetry sends: version, trace id, parent span id, and whether the trace is sampled. A mesh that sends one family and applications that understand only the other break traces apart.",
      ],
      example: ["traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
    },
    requestid: {
      title: "Request id, correlation id",
      text: [
        "Envoy gives each request an x-request-id, which access logs show. It is an attribute of proxies' spans (guid:x-request-id): paste it into the search field to find the trace. A correlation id of your own works the same way if it is a span attribute.",
      ],
    },
    missing: {
      title: "Missing parent",
      text: [
        "Spans name a parent that was never received: it was dropped, not sampled, or its sender does not report here. Its place is drawn dashed, so that the rest of the tree keeps its shape.",
      ],
    },
    sampling: {
      title: "Sampling",
      text: [
        "Keeping some traces instead of all. Istio's default is 1 %. A trace is kept or not as a whole, because the decision travels in the headers.",
      ],
    },
    head: {
      title: "Head sampling",
      text: [
        "The first proxy decides when the request begins, by a percentage. It is cheap, and does not know yet whether the request will fail.",
      ],
      example: ["randomSamplingPercentage: 10"],
    },
    tail: {
      title: "Tail sampling",
      text: [
        "The decision is made when the trace is complete: failed and slow ones stay, of the others a share. All spans must be sent for that.",
      ],
    },
    weight: {
      title: "Weight, estimated numbers",
      text: [
        "A span that was kept with a probability of 10 % stands for ten. Rates and error shares are computed with these weights and are then marked as estimated.",
      ],
    },
    selftime: {
      title: "Self time",
      text: [
        "The time in which a span ran and none of its children did: its own work. Self times add up to the work of the whole trace; durations do not.",
      ],
    },
    critical: {
      title: "Critical path",
      text: [
        "The chain of spans that the root had to wait for. Making something else faster does not make the trace faster.",
      ],
    },
    gaps: {
      title: "No span running",
      text: ["Time of the trace that no span covers: work that is not instrumented, or a queue."],
    },
    skew: {
      title: "Clock skew",
      text: [
        "Clocks of nodes differ by some milliseconds, so a callee can seem to start before its caller. Times are shown as they were sent, with a mark. “Corrected” shifts them by an estimate, in that view only.",
      ],
    },
    percentile: {
      title: "p50, p95, p99",
      text: [
        "Half of the calls were faster than p50, 95 of 100 faster than p95, 99 of 100 faster than p99. Averages hide the slow ones.",
      ],
    },
  } satisfies Record<TermId, Term> as Record<TermId, Term>,
};

export type HelpTexts = typeof helpTexts;
