-- The tables of the OpenTelemetry Collector's ClickHouse exporter as it creates them since 2024. A process creates them where they are
-- missing; what is there is read and written as it is.
--
-- Beside the exporter's own: the setting by which a batch that is sent again after a lost answer is told, and comments by which Spanloom knows
-- tables that it made.
CREATE TABLE IF NOT EXISTS ${traces}
(
    Timestamp          DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    TraceId            String CODEC(ZSTD(1)),
    SpanId             String CODEC(ZSTD(1)),
    ParentSpanId       String CODEC(ZSTD(1)),
    TraceState         String CODEC(ZSTD(1)),
    SpanName           LowCardinality(String) CODEC(ZSTD(1)),
    SpanKind           LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName        LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeName          String CODEC(ZSTD(1)),
    ScopeVersion       String CODEC(ZSTD(1)),
    SpanAttributes     Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    Duration           UInt64 CODEC(ZSTD(1)),
    StatusCode         LowCardinality(String) CODEC(ZSTD(1)),
    StatusMessage      String CODEC(ZSTD(1)),
    Events             Nested (Timestamp DateTime64(9), Name LowCardinality(String), Attributes Map(LowCardinality(String), String)) CODEC(ZSTD(1)),
    Links              Nested (TraceId String, SpanId String, TraceState String, Attributes Map(LowCardinality(String), String)) CODEC(ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_key mapKeys(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_value mapValues(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_duration Duration TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(Timestamp)
ORDER BY (ServiceName, SpanName, toDateTime(Timestamp))
${ttl of Timestamp}
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000
COMMENT 'spanloom otel schema 1: spans';

-- When traces were, for look-ups by id.
CREATE TABLE IF NOT EXISTS ${lookup}
(
    TraceId String CODEC(ZSTD(1)),
    Start   DateTime CODEC(Delta(4), ZSTD(1)),
    End     DateTime CODEC(Delta(4), ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(Start)
ORDER BY (TraceId, Start)
${ttl of Start}
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1
COMMENT 'spanloom otel schema 1: lookup';

CREATE MATERIALIZED VIEW IF NOT EXISTS ${view} TO ${lookup} AS
SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End FROM ${traces} WHERE TraceId != '' GROUP BY TraceId;

-- Small state of Spanloom's own: the newest version of a document counts.
CREATE TABLE IF NOT EXISTS ${documents}
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
