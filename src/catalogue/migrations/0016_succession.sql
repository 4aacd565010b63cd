-- Which node took whose place, as far as this node knows.

CREATE TABLE succession (
    former    TEXT   NOT NULL PRIMARY KEY,              -- cluster id of the one whose place was taken
    successor TEXT   NOT NULL,                          -- by whom
    at        BIGINT NOT NULL,
    said_by   TEXT                                      -- the peer that said so; none where this node did it
) WITHOUT ROWID;
