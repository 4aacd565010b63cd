-- The catalogue of one node. Times are BIGINT milliseconds since 1970 UTC, digests are raw bytes, flags are 0 or 1.

CREATE TABLE record (
    module          TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    source          TEXT   NOT NULL,            -- JSON, byte for byte as it came
    content         BLOB   NOT NULL,            -- SHA-256 of the same JSON with sorted members
    deleted         BIGINT NOT NULL,
    master          TEXT,                       -- the four members of the record status, where there is one
    modified_by     TEXT,
    modified        BIGINT,
    master_modified BIGINT,
    received_at     BIGINT NOT NULL,            -- when this node stored it or one of its files
    changed_at      BIGINT NOT NULL,            -- the later of modified and received_at: what listings select by
    origin          TEXT   NOT NULL,            -- peer it came from, '' when made here
    pushed          BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (module, id)
);
CREATE INDEX record_changed ON record (changed_at, module, id);
CREATE INDEX record_listing ON record (module, id, changed_at, deleted);

CREATE TABLE file (
    kind        BIGINT NOT NULL,                -- 0 original, 1 generated
    path        TEXT   NOT NULL,
    asset       TEXT   NOT NULL,
    size        BIGINT NOT NULL,
    modified    BIGINT NOT NULL,
    sha256      BLOB   NOT NULL,
    md5         BLOB,
    authored    BIGINT NOT NULL,                -- derived here rather than copied from its author
    received_at BIGINT NOT NULL,
    unlisted_at BIGINT,                         -- when a listing of its asset first lacked it
    PRIMARY KEY (kind, path)
);
CREATE INDEX file_asset ON file (asset, kind, path);
CREATE INDEX file_content ON file (sha256);

CREATE TABLE job (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: a worker may still hold a job that was withdrawn
    peer        TEXT   NOT NULL,                -- '' for work of this node's own
    subject     TEXT   NOT NULL,                -- what it is about; one job for each
    lane        BIGINT NOT NULL,
    asset       TEXT   NOT NULL,
    size        BIGINT NOT NULL,
    payload     TEXT   NOT NULL,
    generation  BIGINT NOT NULL DEFAULT 0,      -- raised when the payload changes, so that an old claim cannot settle a new wish
    state       BIGINT NOT NULL,                -- 0 ready, 1 leased, 2 quarantined, 3 held by the guard
    attempts    BIGINT NOT NULL DEFAULT 0,
    run_at      BIGINT NOT NULL,
    lease_owner TEXT,
    lease_until BIGINT,
    reason      TEXT,
    created_at  BIGINT NOT NULL,
    UNIQUE (peer, subject)
);
CREATE INDEX job_ready ON job (peer, lane, run_at, id) WHERE state = 0;
CREATE INDEX job_set_aside ON job (peer, state) WHERE state >= 1;
CREATE INDEX job_asset ON job (asset);

CREATE TABLE checkpoint (
    peer             TEXT   NOT NULL,
    feed             TEXT   NOT NULL,
    watermark        BIGINT NOT NULL,           -- our clock: start of the last listing that was taken whole
    server_watermark BIGINT NOT NULL,           -- the same moment on the peer's clock
    took_ms          BIGINT NOT NULL,           -- how long that listing took
    PRIMARY KEY (peer, feed)
);

CREATE TABLE listing (
    peer          TEXT   NOT NULL PRIMARY KEY,  -- the listing under way, if any
    started_at    BIGINT NOT NULL,
    server_now    BIGINT NOT NULL,
    since         BIGINT NOT NULL,              -- start of its window, our clock
    session       TEXT   NOT NULL,
    resumable     BIGINT NOT NULL,              -- the peer keeps its cursor without a session cookie
    page          BIGINT NOT NULL,              -- last page whose rows are in
    pages         BIGINT NOT NULL,
    total         BIGINT NOT NULL,
    live_before   BIGINT NOT NULL               -- live assets when it began: what the delete guard measures by
);

CREATE TABLE seen (
    peer   TEXT NOT NULL,
    module TEXT NOT NULL,
    id     TEXT NOT NULL,
    PRIMARY KEY (peer, module, id)
) WITHOUT ROWID;

CREATE TABLE peer_node (
    peer       TEXT NOT NULL PRIMARY KEY,
    cluster_id TEXT NOT NULL,                   -- learned from the peer itself and pinned
    version    TEXT NOT NULL,
    seen_at    BIGINT NOT NULL
);

CREATE TABLE run (
    id         INTEGER PRIMARY KEY,
    peer       TEXT   NOT NULL,
    activity   TEXT   NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at   BIGINT,
    outcome    TEXT,
    report     TEXT
);
CREATE INDEX run_peer ON run (peer, id);

CREATE TABLE parity (
    peer    TEXT   NOT NULL PRIMARY KEY,
    as_of   BIGINT NOT NULL,
    in_sync BIGINT NOT NULL,
    report  TEXT   NOT NULL
);

CREATE TABLE access_key (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    hash       BLOB   NOT NULL,                 -- SHA-256 of the key; the key itself is nowhere
    scope      TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE source (
    dir      TEXT   NOT NULL PRIMARY KEY,
    prefix   TEXT   NOT NULL,
    added_at BIGINT NOT NULL,
    walk     BIGINT NOT NULL
);

CREATE TABLE source_file (
    dir      TEXT   NOT NULL,
    path     TEXT   NOT NULL,
    size     BIGINT NOT NULL,
    modified BIGINT NOT NULL,                   -- nanoseconds since 1970, as the walk saw it
    sha256   BLOB   NOT NULL,
    asset    TEXT   NOT NULL,
    walk     BIGINT NOT NULL,                   -- the last walk that saw it
    PRIMARY KEY (dir, path)
);
CREATE INDEX source_file_walk ON source_file (dir, walk, path);
CREATE INDEX source_file_content ON source_file (dir, sha256);

CREATE TABLE conflict (
    id            INTEGER PRIMARY KEY,
    module        TEXT   NOT NULL,
    record        TEXT   NOT NULL,
    peer          TEXT   NOT NULL,
    at            BIGINT NOT NULL,
    winner        TEXT   NOT NULL,              -- local or remote
    local_source  TEXT   NOT NULL,
    remote_source TEXT   NOT NULL,
    digest        BLOB   NOT NULL UNIQUE        -- of both sides: a conflict listed again is the same conflict
);

CREATE TABLE finding (
    asset  TEXT   NOT NULL PRIMARY KEY,         -- an original no rendition can be made of
    sha256 BLOB   NOT NULL,                     -- of that original: another one is another question
    reason TEXT   NOT NULL,
    at     BIGINT NOT NULL
);

CREATE TABLE meta (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
