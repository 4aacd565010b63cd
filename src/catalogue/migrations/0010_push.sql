-- What goes to peers: how far each push has come, and what was sent lately.

CREATE TABLE push (
    peer         TEXT   NOT NULL PRIMARY KEY,
    offers       BIGINT NOT NULL,           -- which kinds of files go along: another kind begins from the start
    watermark    BIGINT NOT NULL,           -- received_at up to which everything was pushed
    since        BIGINT NOT NULL,           -- the push under way, or the last one: from here
    until        BIGINT NOT NULL,           -- to here, of what was stored
    is_under_way BIGINT NOT NULL,
    after_at     BIGINT NOT NULL,           -- how far it is, in order of (changed_at, module, id)
    after_module TEXT   NOT NULL,
    after_id     TEXT   NOT NULL
);

CREATE TABLE sent (
    peer        TEXT   NOT NULL,
    module      TEXT   NOT NULL,
    id          TEXT   NOT NULL,
    received_at BIGINT NOT NULL,            -- of the record when it was sent: one that was stored since is to be sent again
    content     BLOB   NOT NULL,
    state       BIGINT NOT NULL,            -- 0 to be looked for at the peer, 1 seen there, 2 not to be looked for any more
    PRIMARY KEY (peer, module, id)
) WITHOUT ROWID;
CREATE INDEX sent_open ON sent (peer, module, id) WHERE state = 0;
