-- What a file that went into the trash was, so that it can be found there by its asset and given back with its row.

CREATE TABLE former_file (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     BIGINT NOT NULL,                   -- as in file
    path     TEXT   NOT NULL,
    place    TEXT   NOT NULL,                   -- where it lay on disk
    asset    TEXT   NOT NULL,
    size     BIGINT NOT NULL,
    modified BIGINT NOT NULL,
    sha256   BLOB   NOT NULL,
    md5      BLOB,
    authored BIGINT NOT NULL,
    gone_at  BIGINT NOT NULL,
    reason   TEXT   NOT NULL                    -- deleted, deleted here, replaced, moved, unlisted
);
CREATE INDEX former_file_place ON former_file (kind, place, size, gone_at);
CREATE INDEX former_file_asset ON former_file (asset, id);
CREATE INDEX former_file_gone ON former_file (gone_at);
