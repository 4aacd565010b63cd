-- How far the scrub has come, and what it found.

CREATE TABLE scrub_slice (
    slice       BIGINT NOT NULL PRIMARY KEY,            -- files whose SHA-256 begins with this byte
    verified_at BIGINT NOT NULL,                        -- every file in it was read since then, or is younger
    begun_at    BIGINT,                                 -- when the pass under way began
    after_sha256 BLOB,                                  -- the last file of it that was read; none at its beginning
    after_kind  BIGINT,
    after_path  TEXT,
    after_asset TEXT
);
WITH RECURSIVE byte (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM byte WHERE number < 255)
INSERT INTO scrub_slice (slice, verified_at)
SELECT number, COALESCE((SELECT MIN(received_at) FROM file), CAST(strftime('%s', 'now') AS INTEGER) * 1000) FROM byte;

-- One round: what was due when it began, however many runs it takes.
CREATE TABLE scrub_round (
    id         BIGINT NOT NULL PRIMARY KEY,             -- always 1
    begun_at   BIGINT NOT NULL,
    target     BIGINT NOT NULL,                         -- slices verified before this are due
    ended_at   BIGINT,
    files      BIGINT NOT NULL DEFAULT 0,               -- read to their ends
    bytes      BIGINT NOT NULL DEFAULT 0,
    changed    BIGINT NOT NULL DEFAULT 0,               -- suspected, and replaced meanwhile by whoever may
    rotten     BIGINT NOT NULL DEFAULT 0,               -- found so, as all that follow
    truncated  BIGINT NOT NULL DEFAULT 0,
    replaced   BIGINT NOT NULL DEFAULT 0,
    missing    BIGINT NOT NULL DEFAULT 0,
    unreadable BIGINT NOT NULL DEFAULT 0,
    healed     BIGINT NOT NULL DEFAULT 0
);

-- Files that did not read as their rows say, until they are there again.
CREATE TABLE scrub_finding (
    kind     BIGINT NOT NULL,                           -- as in file, with path and asset
    path     TEXT   NOT NULL,
    asset    TEXT   NOT NULL,
    stage    BIGINT NOT NULL,                           -- 0 suspected, 1 judged, 2 judged and the bad copy is in the trash
    found_at BIGINT NOT NULL,
    cause    TEXT,                                      -- once it is judged
    size     BIGINT,                                    -- of the bad copy, where there is one
    modified BIGINT,
    sha256   BLOB,
    PRIMARY KEY (kind, path, asset)
) WITHOUT ROWID;

-- Whoever brings such a file back, or forgets it, the finding goes with it, and so does what was set aside for it.
CREATE TRIGGER file_sound AFTER UPDATE OF damaged_at ON file WHEN OLD.damaged_at IS NOT NULL AND NEW.damaged_at IS NULL BEGIN
    UPDATE scrub_round SET healed = healed + (
        SELECT COUNT(*) FROM scrub_finding WHERE kind = OLD.kind AND path = OLD.path AND asset = OLD.asset AND stage > 0);
    DELETE FROM scrub_finding WHERE kind = OLD.kind AND path = OLD.path AND asset = OLD.asset;
    DELETE FROM job WHERE peer = '' AND lane <= 1 AND asset = OLD.asset AND subject =
        CASE OLD.kind WHEN 0 THEN 'originals/' ELSE 'generated/' END || OLD.path || '//' || OLD.asset;
END;
CREATE TRIGGER file_unfound AFTER DELETE ON file WHEN OLD.damaged_at IS NOT NULL BEGIN
    DELETE FROM scrub_finding WHERE kind = OLD.kind AND path = OLD.path AND asset = OLD.asset;
    DELETE FROM job WHERE peer = '' AND lane <= 1 AND asset = OLD.asset AND subject =
        CASE OLD.kind WHEN 0 THEN 'originals/' ELSE 'generated/' END || OLD.path || '//' || OLD.asset;
END;

-- What records were before they were changed, so that a moment can be gone back to.
ALTER TABLE record ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0;     -- when its key came here first; 0 before this was noted

CREATE TABLE record_version (
    version    INTEGER PRIMARY KEY AUTOINCREMENT,
    module     TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    source     TEXT   NOT NULL,                                         -- as in record
    deleted    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    gone_at    BIGINT NOT NULL                                          -- when another version took its place
);
CREATE INDEX record_version_key ON record_version (module, id, gone_at);
CREATE INDEX record_version_gone ON record_version (gone_at);

-- With the change itself, whoever makes it, and never for a record that is new. How far its renditions are is no version of an asset.
CREATE TRIGGER record_replaced AFTER UPDATE OF content ON record WHEN OLD.content <> NEW.content
AND CASE WHEN json_valid(OLD.source) AND json_valid(NEW.source)
    THEN json_remove(OLD.source, '$.previewstatus', '$.emrecordstatus', '$.recordmodificationdate')
      <> json_remove(NEW.source, '$.previewstatus', '$.emrecordstatus', '$.recordmodificationdate')
      OR OLD.deleted <> NEW.deleted
    ELSE 1 END
BEGIN
    INSERT INTO record_version (module, id, source, deleted, created_at, gone_at)
    VALUES (OLD.module, OLD.id, OLD.source, OLD.deleted, OLD.created_at, NEW.received_at);
END;
