-- Records that their peer does not list any more: noted, confirmed by a second complete listing, taken away, and kept aside.

ALTER TABLE record ADD COLUMN unlisted_at BIGINT;       -- start of the complete listing that first lacked it
CREATE INDEX record_unlisted ON record (origin, unlisted_at) WHERE unlisted_at IS NOT NULL;
CREATE INDEX record_origin ON record (origin, module, id);

ALTER TABLE seen ADD COLUMN live BIGINT NOT NULL DEFAULT 0;

CREATE TABLE audit (
    peer      TEXT   NOT NULL PRIMARY KEY,
    listed_at BIGINT,                       -- start of the last complete listing that was believed
    tried_at  BIGINT NOT NULL,              -- start of the last complete listing, believed or not
    surplus   BIGINT,                       -- live assets the peer counts beyond those it lists, when nothing was missing
    here      BIGINT NOT NULL,              -- live assets of this peer here at its end
    counted   BIGINT                        -- live assets the peer counted then
);

CREATE TABLE former_record (
    module  TEXT   NOT NULL,
    id      TEXT   NOT NULL,
    source  TEXT   NOT NULL,
    origin  TEXT   NOT NULL,
    gone_at BIGINT NOT NULL,
    reason  TEXT   NOT NULL,
    PRIMARY KEY (module, id)
);
