-- Spans of Spanloom, schema 1. A process creates this where it is missing; `spanloom store schema` prints it.
--
-- The columns Spanloom writes hold a span without loss. The columns after them (ALIAS) take no space: they give it under
-- the names of OpenTelemetry's ClickHouse exporter, for dashboards and people.
--
-- Attributes of one owner stand in three arrays in the order they were sent: key, type (0 null, 1 string, 2 int, 3 double,
-- 4 bool, 5 bytes, 6 to 9 lists of one scalar type, 10 mixed list, 11 map, 12 a NaN with bits of its own) and value. The value of a scalar is its text; all
-- other values are the bytes of OTLP. Keys that are asked for daily have a column of their own (attr_...): the last scalar
-- value of such a key stands there and its entry in SpanValues is empty. attr_lists is 1 where one of them has a value
-- that is no scalar.
--
-- Rows are ordered by the minute of their start and by trace, so that the newest come first and a trace lies together. The
-- projection says per trace when it was, so that a look-up by id reads a few granules.
CREATE TABLE IF NOT EXISTS ${database}.spans
(
    Tenant            LowCardinality(String) CODEC(ZSTD(1)),
    Minute            DateTime('UTC')        CODEC(Delta(4), ZSTD(1)),  -- of Timestamp
    TraceHigh         UInt64                 CODEC(ZSTD(1)),            -- upper half of the trace id, 0 for ids of 64 bits
    TraceLow          UInt64                 CODEC(ZSTD(1)),
    Timestamp         DateTime64(9, 'UTC')   CODEC(Delta(8), ZSTD(1)),  -- the start that files and finds the span
    Duration          UInt64                 CODEC(ZSTD(1)),            -- ns
    SentStart         UInt64                 CODEC(ZSTD(1)),            -- start as sent minus Timestamp, modulo 2^64
    SentEnd           UInt64                 CODEC(ZSTD(1)),            -- end as sent minus start as sent and Duration, modulo 2^64
    Received          DateTime64(9, 'UTC')   CODEC(Delta(8), ZSTD(1)),
    Writer            UInt64                 CODEC(ZSTD(1)),            -- the process that stored the row
    Seq               UInt64                 CODEC(Delta(8), ZSTD(1)),  -- its batch, grows with time
    Row               UInt32                 CODEC(ZSTD(1)),            -- place in the batch
    SpanNumber        UInt64                 CODEC(ZSTD(1)),
    ParentNumber      UInt64                 CODEC(ZSTD(1)),            -- 0 for a root
    ServiceName       LowCardinality(String) CODEC(ZSTD(1)),
    ServiceGroup      LowCardinality(String) CODEC(ZSTD(1)),
    ServiceNamespace  LowCardinality(String) CODEC(ZSTD(1)),
    SpanName          LowCardinality(String) CODEC(ZSTD(1)),
    Kind              UInt8                  CODEC(ZSTD(1)),
    Status            UInt8                  CODEC(ZSTD(1)),
    Failed            UInt8                  CODEC(ZSTD(1)),            -- an error as people count them
    StatusMessage     LowCardinality(String) CODEC(ZSTD(1)),
    TraceState        LowCardinality(String) CODEC(ZSTD(1)),
    Flags             UInt32                 CODEC(ZSTD(1)),
    Mark              UInt16                 CODEC(ZSTD(1)),
    Weight            Float64                CODEC(ZSTD(1)),            -- 1 / probability of being kept
    DroppedAttributes UInt32                 CODEC(ZSTD(1)),
    DroppedEvents     UInt32                 CODEC(ZSTD(1)),
    DroppedLinks      UInt32                 CODEC(ZSTD(1)),

    SpanKeys          Array(LowCardinality(String)) CODEC(ZSTD(1)),
    SpanTypes         Array(UInt8)                  CODEC(ZSTD(1)),
    SpanValues        Array(String)                 CODEC(ZSTD(1)),
    ResourceKeys      Array(LowCardinality(String)) CODEC(ZSTD(1)),
    ResourceTypes     Array(UInt8)                  CODEC(ZSTD(1)),
    ResourceValues    Array(LowCardinality(String)) CODEC(ZSTD(1)),
    ResourceSchema    LowCardinality(String)        CODEC(ZSTD(1)),
    ResourceDropped   UInt32                        CODEC(ZSTD(1)),
    ScopeName         LowCardinality(String)        CODEC(ZSTD(1)),
    ScopeVersion      LowCardinality(String)        CODEC(ZSTD(1)),
    ScopeKeys         Array(LowCardinality(String)) CODEC(ZSTD(1)),
    ScopeTypes        Array(UInt8)                  CODEC(ZSTD(1)),
    ScopeValues       Array(LowCardinality(String)) CODEC(ZSTD(1)),
    ScopeSchema       LowCardinality(String)        CODEC(ZSTD(1)),
    ScopeDropped      UInt32                        CODEC(ZSTD(1)),
    EventTimes        Array(UInt64)                 CODEC(ZSTD(1)),
    EventNames        Array(LowCardinality(String)) CODEC(ZSTD(1)),
    EventDropped      Array(UInt32)                 CODEC(ZSTD(1)),
    EventSizes        Array(UInt32)                 CODEC(ZSTD(1)),     -- attributes of each event; theirs follow each other
    EventKeys         Array(LowCardinality(String)) CODEC(ZSTD(1)),
    EventTypes        Array(UInt8)                  CODEC(ZSTD(1)),
    EventValues       Array(String)                 CODEC(ZSTD(1)),
    LinkHighs         Array(UInt64)                 CODEC(ZSTD(1)),
    LinkLows          Array(UInt64)                 CODEC(ZSTD(1)),
    LinkSpans         Array(UInt64)                 CODEC(ZSTD(1)),
    LinkStates        Array(LowCardinality(String)) CODEC(ZSTD(1)),
    LinkFlags         Array(UInt32)                 CODEC(ZSTD(1)),
    LinkDropped       Array(UInt32)                 CODEC(ZSTD(1)),
    LinkSizes         Array(UInt32)                 CODEC(ZSTD(1)),
    LinkKeys          Array(LowCardinality(String)) CODEC(ZSTD(1)),
    LinkTypes         Array(UInt8)                  CODEC(ZSTD(1)),
    LinkValues        Array(String)                 CODEC(ZSTD(1)),

    attr_component                   LowCardinality(String)  CODEC(ZSTD(1)),
    attr_node_id                     LowCardinality(String)  CODEC(ZSTD(1)),
    attr_zone                        LowCardinality(String)  CODEC(ZSTD(1)),
    attr_http_url                    String                  CODEC(ZSTD(1)),
    attr_http_method                 LowCardinality(String)  CODEC(ZSTD(1)),
    attr_http_status_code            LowCardinality(String)  CODEC(ZSTD(1)),
    attr_http_protocol               LowCardinality(String)  CODEC(ZSTD(1)),
    attr_http_route                  LowCardinality(String)  CODEC(ZSTD(1)),
    attr_http_target                 String                  CODEC(ZSTD(1)),
    attr_http_request_method         LowCardinality(String)  CODEC(ZSTD(1)),
    attr_http_response_status_code   LowCardinality(String)  CODEC(ZSTD(1)),
    attr_url_full                    String                  CODEC(ZSTD(1)),
    attr_url_path                    String                  CODEC(ZSTD(1)),
    attr_user_agent                  LowCardinality(String)  CODEC(ZSTD(1)),
    attr_request_size                String                  CODEC(ZSTD(1)),
    attr_response_size               String                  CODEC(ZSTD(1)),
    attr_response_flags              LowCardinality(String)  CODEC(ZSTD(1)),
    attr_error                       LowCardinality(String)  CODEC(ZSTD(1)),
    attr_downstream_cluster          LowCardinality(String)  CODEC(ZSTD(1)),
    attr_upstream_cluster            LowCardinality(String)  CODEC(ZSTD(1)),
    attr_upstream_cluster_name       LowCardinality(String)  CODEC(ZSTD(1)),
    attr_upstream_address            LowCardinality(String)  CODEC(ZSTD(1)),
    attr_peer_address                LowCardinality(String)  CODEC(ZSTD(1)),
    attr_peer_service                LowCardinality(String)  CODEC(ZSTD(1)),
    attr_guid_x_request_id           String                  CODEC(ZSTD(1)),
    attr_istio_mesh_id               LowCardinality(String)  CODEC(ZSTD(1)),
    attr_istio_cluster_id            LowCardinality(String)  CODEC(ZSTD(1)),
    attr_istio_namespace             LowCardinality(String)  CODEC(ZSTD(1)),
    attr_istio_canonical_service     LowCardinality(String)  CODEC(ZSTD(1)),
    attr_istio_canonical_revision    LowCardinality(String)  CODEC(ZSTD(1)),
    attr_grpc_status_code            LowCardinality(String)  CODEC(ZSTD(1)),
    attr_grpc_path                   LowCardinality(String)  CODEC(ZSTD(1)),
    attr_grpc_authority              LowCardinality(String)  CODEC(ZSTD(1)),
    attr_rpc_system                  LowCardinality(String)  CODEC(ZSTD(1)),
    attr_rpc_service                 LowCardinality(String)  CODEC(ZSTD(1)),
    attr_rpc_method                  LowCardinality(String)  CODEC(ZSTD(1)),
    attr_server_address              LowCardinality(String)  CODEC(ZSTD(1)),
    attr_server_port                 LowCardinality(String)  CODEC(ZSTD(1)),
    attr_net_peer_name               LowCardinality(String)  CODEC(ZSTD(1)),
    attr_net_peer_port               LowCardinality(String)  CODEC(ZSTD(1)),
    attr_db_system                   LowCardinality(String)  CODEC(ZSTD(1)),
    attr_db_name                     LowCardinality(String)  CODEC(ZSTD(1)),
    attr_messaging_system            LowCardinality(String)  CODEC(ZSTD(1)),
    attr_messaging_destination_name  LowCardinality(String)  CODEC(ZSTD(1)),
    attr_lists                       UInt8                   CODEC(ZSTD(1)),

    TraceId            String ALIAS lower(concat(leftPad(hex(TraceHigh), 16, '0'), leftPad(hex(TraceLow), 16, '0'))),
    SpanId             String ALIAS lower(leftPad(hex(SpanNumber), 16, '0')),
    ParentSpanId       String ALIAS if(ParentNumber = 0, '', lower(leftPad(hex(ParentNumber), 16, '0'))),
    SpanKind           String ALIAS ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer'][least(Kind, 5) + 1],
    StatusCode         String ALIAS ['Unset', 'Ok', 'Error'][least(Status, 2) + 1],
    ResourceAttributes Map(String, String) ALIAS CAST((ResourceKeys, ResourceValues), 'Map(String, String)'),
    SpanAttributes     Map(String, String) ALIAS mapConcat(
        mapFilter((k, v) -> v != '', CAST((SpanKeys, SpanValues), 'Map(String, String)')),
        mapFilter((k, v) -> v != '', map(
            'component', attr_component, 'node_id', attr_node_id, 'zone', attr_zone,
            'http.url', attr_http_url, 'http.method', attr_http_method, 'http.status_code', attr_http_status_code,
            'http.protocol', attr_http_protocol, 'http.route', attr_http_route, 'http.target', attr_http_target,
            'http.request.method', attr_http_request_method, 'http.response.status_code', attr_http_response_status_code, 'url.full', attr_url_full,
            'url.path', attr_url_path, 'user_agent', attr_user_agent, 'request_size', attr_request_size,
            'response_size', attr_response_size, 'response_flags', attr_response_flags, 'error', attr_error,
            'downstream_cluster', attr_downstream_cluster, 'upstream_cluster', attr_upstream_cluster, 'upstream_cluster.name', attr_upstream_cluster_name,
            'upstream_address', attr_upstream_address, 'peer.address', attr_peer_address, 'peer.service', attr_peer_service,
            'guid:x-request-id', attr_guid_x_request_id, 'istio.mesh_id', attr_istio_mesh_id, 'istio.cluster_id', attr_istio_cluster_id,
            'istio.namespace', attr_istio_namespace, 'istio.canonical_service', attr_istio_canonical_service, 'istio.canonical_revision', attr_istio_canonical_revision,
            'grpc.status_code', attr_grpc_status_code, 'grpc.path', attr_grpc_path, 'grpc.authority', attr_grpc_authority,
            'rpc.system', attr_rpc_system, 'rpc.service', attr_rpc_service, 'rpc.method', attr_rpc_method,
            'server.address', attr_server_address, 'server.port', attr_server_port, 'net.peer.name', attr_net_peer_name,
            'net.peer.port', attr_net_peer_port, 'db.system', attr_db_system, 'db.name', attr_db_name,
            'messaging.system', attr_messaging_system, 'messaging.destination.name', attr_messaging_destination_name))),

    INDEX request_id attr_guid_x_request_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX last toFloat64(toUnixTimestamp64Nano(Timestamp)) + toFloat64(Duration) TYPE minmax GRANULARITY 1,
    INDEX longest Duration TYPE minmax GRANULARITY 1,
    INDEX failed Failed TYPE minmax GRANULARITY 1,

    PROJECTION traces
    (
        SELECT Tenant, TraceLow, TraceHigh, min(Timestamp), max(Timestamp)
        GROUP BY Tenant, TraceLow, TraceHigh
    )
)
ENGINE = MergeTree
PARTITION BY toDate(Received)
ORDER BY (Tenant, Minute, TraceLow, TraceHigh)
${ttl}
SETTINGS
    -- Most questions read a few traces with all their columns.
    index_granularity = 1024,
    -- A batch that is sent again after a lost answer is told by its token.
    non_replicated_deduplication_window = 1000,
    -- Retention drops whole parts.
    ttl_only_drop_parts = 1,
    -- A changed retention looks at times of receipt again and rewrites nothing.
    materialize_ttl_recalculate_only = 1,
    -- The native protocol of older clients has no sparse columns.
    ratio_of_defaults_for_sparse_serialization = 1
COMMENT 'spanloom schema 1: spans';

-- Small state: the newest version of a document counts.
CREATE TABLE IF NOT EXISTS ${database}.documents
(
    Tenant  LowCardinality(String),
    Name    String,
    Version UInt64,
    Data    String CODEC(ZSTD(1)),
    Deleted UInt8
)
ENGINE = ReplacingMergeTree(Version)
ORDER BY (Tenant, Name)
COMMENT 'spanloom schema 1: documents';
