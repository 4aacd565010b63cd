-- Files of peers whose bytes went to make room: their rows stay, and say what is to be fetched when somebody reads it.

ALTER TABLE file ADD COLUMN evicted BIGINT;             -- 1 the bytes are about to go, 2 they are gone
CREATE INDEX file_evicting ON file (kind, path, asset) WHERE evicted = 1;

CREATE TABLE last_read (
    kind  BIGINT NOT NULL,                              -- as in file
    path  TEXT   NOT NULL,
    asset TEXT   NOT NULL,
    at    BIGINT NOT NULL,
    PRIMARY KEY (kind, path, asset)
) WITHOUT ROWID;
