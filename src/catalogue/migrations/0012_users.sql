-- Who may use the page, and who does.

CREATE TABLE page_user (
    name       TEXT   NOT NULL PRIMARY KEY,
    password   TEXT   NOT NULL,             -- argon2id in PHC form
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL              -- when the password was set
);

CREATE TABLE page_session (
    hash       BLOB   NOT NULL PRIMARY KEY, -- SHA-256 of what the browser shows
    name       TEXT   NOT NULL,             -- of the user
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX page_session_name ON page_session (name);
