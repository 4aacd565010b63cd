-- What every run asks is answered from an index, however many records and files there are.

-- As before, and with what tells live records from tombstones: they are counted without a look at the records themselves.
DROP INDEX record_origin;
CREATE INDEX record_origin ON record (origin, module, id, deleted);

-- As before, and with what tells whether a record is listed at all: the pages of a large window are cut from the index alone.
DROP INDEX record_listing;
CREATE INDEX record_listing ON record (module, id, changed_at, deleted, modified, master_modified);

CREATE INDEX file_unlisted ON file (asset) WHERE unlisted_at IS NOT NULL;
