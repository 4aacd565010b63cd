-- Files that a look at the disk found otherwise than their rows say, until they are there again.

ALTER TABLE file ADD COLUMN damaged_at BIGINT;          -- when it was found so
CREATE INDEX file_damaged ON file (asset) WHERE damaged_at IS NOT NULL;
