-- A file's name and its place on disk are two things: `path` is what its asset and every peer call it, `place` where it lies.
-- Two assets may have files of one name; no two files have one place.

CREATE TABLE placed_file (
    kind        BIGINT NOT NULL,                -- 0 original, 1 generated
    path        TEXT   NOT NULL,
    asset       TEXT   NOT NULL,
    place       TEXT   NOT NULL,
    fold        TEXT   NOT NULL,                -- place without what case, Unicode form and invisible characters distinguish
    size        BIGINT NOT NULL,
    modified    BIGINT NOT NULL,
    sha256      BLOB   NOT NULL,
    md5         BLOB,
    authored    BIGINT NOT NULL,                -- derived here rather than copied from its author
    received_at BIGINT NOT NULL,
    unlisted_at BIGINT,                         -- when a listing of its asset first lacked it
    PRIMARY KEY (kind, path, asset),
    UNIQUE (kind, place)
);

-- The engine folds ASCII only. What has other characters is left empty, and folded when the catalogue is opened.
INSERT INTO placed_file (kind, path, asset, place, fold, size, modified, sha256, md5, authored, received_at, unlisted_at)
SELECT kind, path, asset, path, CASE WHEN path GLOB '*[^ -~]*' THEN '' ELSE lower(path) END,
       size, modified, sha256, md5, authored, received_at, unlisted_at
FROM file;

DROP TABLE file;
ALTER TABLE placed_file RENAME TO file;

CREATE INDEX file_asset ON file (asset, kind, path);
CREATE INDEX file_content ON file (sha256);
CREATE INDEX file_fold ON file (kind, fold);
