-- What every run asks is answered from an index, however many records and files there are.

-- As before, and with what tells live records from tombstones: they are counted without a look at the records themselves.
DROP INDEX record_origin;
CREATE INDEX record_origin ON record (origin, module, id, deleted);

CREATE INDEX file_unlisted ON file (asset) WHERE unlisted_at IS NOT NULL;
