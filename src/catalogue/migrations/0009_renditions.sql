-- What files made here were made of, and which record holds the rectangle of an asset.

ALTER TABLE file ADD COLUMN fingerprint BLOB;  -- of a file made here: SHA-256 over its original, preset, crop and pipeline

CREATE TABLE crop (
    record TEXT NOT NULL PRIMARY KEY,           -- id in the table "assetcrop"; whether it still holds is for that record to say
    asset  TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX crop_asset ON crop (asset);

INSERT INTO crop (record, asset)
SELECT id, json_extract(source, '$.assetid') FROM record
WHERE module = 'assetcrop' AND deleted = 0 AND json_valid(source) AND json_type(source, '$.assetid') = 'text';

CREATE TABLE rebuild (
    selection TEXT   NOT NULL PRIMARY KEY,      -- what a rebuild of everything was asked for, as JSON
    begun_at  BIGINT NOT NULL,
    after_id  TEXT   NOT NULL                   -- the last asset that is done, in order of ids
);
