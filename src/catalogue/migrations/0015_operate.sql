-- What a person decides while the node runs, who is still to be told of a run, and how much is left without looking at every job.

CREATE TABLE paused (
    peer     TEXT   NOT NULL PRIMARY KEY,       -- no run over it begins, and none goes on
    since_at BIGINT NOT NULL
);

ALTER TABLE event_run ADD COLUMN is_told BIGINT NOT NULL DEFAULT 1;  -- 0: whoever is to be told of its end is not yet
CREATE INDEX event_run_untold ON event_run (id) WHERE is_told = 0;

CREATE TABLE job_left (
    way   BIGINT NOT NULL PRIMARY KEY,          -- 0 what is to come here, 1 what is to be sent
    jobs  BIGINT NOT NULL,                      -- ready and leased ones, as the triggers below count them
    bytes BIGINT NOT NULL
);
INSERT INTO job_left (way, jobs, bytes)
    SELECT ways.way, COUNT(job.id), CAST(TOTAL(MIN(job.size, 17592186044416)) AS INTEGER)
    FROM (SELECT 0 AS way UNION ALL SELECT 1) AS ways LEFT JOIN job ON (job.lane = 6) = ways.way AND job.state <= 1
    GROUP BY ways.way;

-- A peer may announce any size; beyond 16 TiB it counts as that, so that no sum overflows.
CREATE TRIGGER job_left_added AFTER INSERT ON job WHEN NEW.state <= 1 BEGIN
    UPDATE job_left SET jobs = jobs + 1, bytes = bytes + MIN(NEW.size, 17592186044416) WHERE way = (NEW.lane = 6);
END;
CREATE TRIGGER job_left_gone AFTER DELETE ON job WHEN OLD.state <= 1 BEGIN
    UPDATE job_left SET jobs = jobs - 1, bytes = bytes - MIN(OLD.size, 17592186044416) WHERE way = (OLD.lane = 6);
END;
CREATE TRIGGER job_left_changed AFTER UPDATE OF state, size, lane ON job
WHEN (OLD.state <= 1) <> (NEW.state <= 1) OR OLD.size <> NEW.size OR OLD.lane <> NEW.lane BEGIN
    UPDATE job_left SET jobs = jobs - 1, bytes = bytes - MIN(OLD.size, 17592186044416) WHERE way = (OLD.lane = 6) AND OLD.state <= 1;
    UPDATE job_left SET jobs = jobs + 1, bytes = bytes + MIN(NEW.size, 17592186044416) WHERE way = (NEW.lane = 6) AND NEW.state <= 1;
END;
