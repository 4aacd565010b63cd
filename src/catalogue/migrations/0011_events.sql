-- What the scheduler knows of its events, and the history of their runs.

CREATE TABLE event (
    name      TEXT   NOT NULL PRIMARY KEY,
    shape     TEXT   NOT NULL,                  -- when it runs, as it was written; one that is written otherwise begins anew
    anchor_at BIGINT NOT NULL,                  -- where the beats of a period begin that has no start
    beat_at   BIGINT NOT NULL,                  -- up to here every beat is dealt with
    is_owed   BIGINT NOT NULL                   -- 1 while a run of it goes on; still 1 at a start: the run was cut short
);

CREATE TABLE event_run (
    id         INTEGER PRIMARY KEY,
    event      TEXT   NOT NULL,
    action     TEXT   NOT NULL,
    cause      TEXT   NOT NULL,                 -- beat, missed, again, hand
    started_at BIGINT NOT NULL,
    ended_at   BIGINT,
    outcome    TEXT,
    detail     TEXT,                            -- what is to be said of the outcome
    report     TEXT                             -- JSON
);
CREATE INDEX event_run_event ON event_run (event, id);
