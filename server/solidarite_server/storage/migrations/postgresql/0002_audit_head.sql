-- Where the audit chain begins (after a purge) and ends; the seal is made with a key outside the store.
CREATE TABLE audit_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    first BIGINT NOT NULL,
    before BYTEA NOT NULL,
    last BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    seal BYTEA NOT NULL
);
INSERT INTO audit_head
    SELECT 1, 1, '', coalesce(max(id), 0), coalesce((SELECT hash FROM audit ORDER BY id DESC LIMIT 1), ''), ''
    FROM audit;
