-- Counts of spans, made by Spanloom: rate, errors and durations per operation and who called whom, per minute. A row counts exactly the
-- spans of one Tenant and Writer whose Seq lies between SeqFrom and SeqTo; spans of which no row tells are counted by reading them.
-- Processes write a row for what they stored in about a minute (Level 0) and join those of an hour (Level 1), which stands for the rows inside
-- of its range. A row without spans says that another one took its place. Nothing is lost with this table: it is made again of the spans.
CREATE TABLE IF NOT EXISTS ${database}.rollups
(
    Tenant  LowCardinality(String) CODEC(ZSTD(1)),
    Day     Date                   CODEC(ZSTD(1)),   -- of receipt: the partition of the spans
    Writer  UInt64                 CODEC(ZSTD(1)),
    SeqFrom UInt64                 CODEC(ZSTD(1)),
    SeqTo   UInt64                 CODEC(ZSTD(1)),
    Level   UInt8                  CODEC(ZSTD(1)),
    First   DateTime('UTC')        CODEC(ZSTD(1)),   -- minutes of the first and the last start
    Last    DateTime('UTC')        CODEC(ZSTD(1)),
    Spans   UInt64                 CODEC(ZSTD(1)),
    Version UInt64                 CODEC(ZSTD(1)),   -- of rows of one range the highest stays
    Data    String                 CODEC(ZSTD(1))    -- docs/format/rollups.md
)
ENGINE = ReplacingMergeTree(Version)
PARTITION BY Day
ORDER BY (Tenant, Writer, SeqFrom, SeqTo, Level)
${ttl}
SETTINGS
    index_granularity = 64,
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1,
    ratio_of_defaults_for_sparse_serialization = 1
COMMENT 'spanloom schema 1: rollups';
