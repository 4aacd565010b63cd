-- What the listing of each stretch of a table amounts to, so that two nodes find out in little what they need not list.

CREATE TABLE span (
    module    TEXT   NOT NULL,
    first     TEXT   NOT NULL,          -- id it begins with, '' at the start of a table; it ends where the next one begins
    state     BIGINT NOT NULL,          -- 0 known, 1 changed since, else the number of the reading under way
    heads     BIGINT NOT NULL,          -- 1 when a group of spans begins here
    odd       BIGINT NOT NULL,          -- records and files in it that no listing names, or that cannot be used
    live      BIGINT NOT NULL,          -- of all others: live records, tombstones, originals, generated files
    deleted   BIGINT NOT NULL,
    originals BIGINT NOT NULL,
    generated BIGINT NOT NULL,
    tag       BLOB   NOT NULL,
    items     BLOB   NOT NULL,          -- tags of its items, one after the other
    PRIMARY KEY (module, first)
);
CREATE INDEX span_unknown ON span (module, first) WHERE state <> 0;

-- Whatever changes what a listing says makes the span unknown, whoever writes: no statement can forget it.
CREATE TRIGGER record_added AFTER INSERT ON record BEGIN
    UPDATE span SET state = 1 WHERE module = NEW.module AND state <> 1
    AND first = (SELECT MAX(first) FROM span WHERE module = NEW.module AND first <= NEW.id);
END;
CREATE TRIGGER record_gone AFTER DELETE ON record BEGIN
    UPDATE span SET state = 1 WHERE module = OLD.module AND state <> 1
    AND first = (SELECT MAX(first) FROM span WHERE module = OLD.module AND first <= OLD.id);
END;
CREATE TRIGGER record_edited
AFTER UPDATE OF module, id, source, content, deleted, master, modified_by, modified, master_modified ON record BEGIN
    UPDATE span SET state = 1 WHERE module = OLD.module AND state <> 1
    AND first = (SELECT MAX(first) FROM span WHERE module = OLD.module AND first <= OLD.id);
    UPDATE span SET state = 1 WHERE module = NEW.module AND state <> 1
    AND first = (SELECT MAX(first) FROM span WHERE module = NEW.module AND first <= NEW.id);
END;
CREATE TRIGGER file_added AFTER INSERT ON file BEGIN
    UPDATE span SET state = 1 WHERE module = 'asset' AND state <> 1
    AND first = (SELECT MAX(first) FROM span WHERE module = 'asset' AND first <= NEW.asset);
END;
CREATE TRIGGER file_gone AFTER DELETE ON file BEGIN
    UPDATE span SET state = 1 WHERE module = 'asset' AND state <> 1
    AND first = (SELECT MAX(first) FROM span WHERE module = 'asset' AND first <= OLD.asset);
END;
CREATE TRIGGER file_edited AFTER UPDATE OF kind, path, asset, size, modified, sha256, md5 ON file BEGIN
    UPDATE span SET state = 1 WHERE module = 'asset' AND state <> 1
    AND first = (SELECT MAX(first) FROM span WHERE module = 'asset' AND first <= OLD.asset);
    UPDATE span SET state = 1 WHERE module = 'asset' AND state <> 1
    AND first = (SELECT MAX(first) FROM span WHERE module = 'asset' AND first <= NEW.asset);
END;
