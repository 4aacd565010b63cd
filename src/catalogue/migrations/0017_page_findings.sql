-- Pages after the first that no rendition can be made of, while the rest of their original allows some.

CREATE TABLE page_finding (
    asset      TEXT   NOT NULL,
    first_page BIGINT NOT NULL,                         -- counted from 1
    last_page  BIGINT NOT NULL,                         -- the same, but where the original has fewer pages than its record says
    sha256     BLOB   NOT NULL,                         -- content of the original when it was tried; the finding holds for that alone
    reason     TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (asset, first_page)
) WITHOUT ROWID;
