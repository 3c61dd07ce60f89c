-- Where the audit chain begins (after a purge) and ends; the seal is made with a key outside the store.
CREATE TABLE audit_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    first INTEGER NOT NULL,
    before BLOB NOT NULL,
    last INTEGER NOT NULL,
    hash BLOB NOT NULL,
    seal BLOB NOT NULL
);
INSERT INTO audit_head
    SELECT 1, 1, X'', coalesce(max(id), 0), coalesce((SELECT hash FROM audit ORDER BY id DESC LIMIT 1), X''), X''
    FROM audit;
