-- Files that a look at the disk found otherwise than their rows say, until they are there again.

ALTER TABLE file ADD COLUMN damaged_at BIGINT;          -- when it was found so
CREATE INDEX file_damaged ON file (asset) WHERE damaged_at IS NOT NULL;

-- Assets that go without a row of their own for a file that they name, since another asset has it: they inherit it.
CREATE TABLE sharer (
    kind  BIGINT NOT NULL,                              -- as in file
    path  TEXT   NOT NULL,
    asset TEXT   NOT NULL,
    PRIMARY KEY (kind, path, asset)
);
CREATE INDEX sharer_asset ON sharer (asset);
