-- Workers that follow a shard's log and wait for its lease: told every second, and forgotten when they stop telling.
CREATE UNLOGGED TABLE worker_standby (
    shard smallint NOT NULL,
    owner varchar(80) NOT NULL,
    sequence bigint NOT NULL,
    behind bigint NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (shard, owner)
);
