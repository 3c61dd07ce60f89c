-- The set of record versions received, as sorted runs (storage/runs.py): the person comes first in the key.
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    state INTEGER NOT NULL,  -- 0 being built, 1 live, 2 dead
    rows INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    fences BLOB NOT NULL,  -- the large columns last: what comes after them would be far to read
    filter BLOB NOT NULL
);

CREATE TABLE run_block (
    id INTEGER PRIMARY KEY,  -- run × 2^32 + place in the run
    checksum INTEGER NOT NULL,
    data BLOB NOT NULL  -- up to 64 RUN_ROW, sorted
);

CREATE TABLE source (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE document_seal (
    source INTEGER NOT NULL,
    document_id BLOB NOT NULL,
    version INTEGER NOT NULL,
    record_count INTEGER NOT NULL,
    known_at_us INTEGER NOT NULL,
    PRIMARY KEY (source, document_id, version)
) WITHOUT ROWID;

-- Durable batches of an upload: `position` is the end of the unbroken run from 1, `ahead` holds those beyond it.
CREATE TABLE upload (
    source_id TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (source_id, upload_id)
) WITHOUT ROWID;

CREATE TABLE upload_ahead (
    source_id TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    batch_sequence INTEGER NOT NULL,
    PRIMARY KEY (source_id, upload_id, batch_sequence)
) WITHOUT ROWID;

-- One row: the newest commit, and its instant, which never goes back even when the clock does.
CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    commit_sequence INTEGER NOT NULL,
    known_at_us INTEGER NOT NULL,
    record_versions INTEGER NOT NULL  -- what the live runs hold together: a run lost would not go unseen
);
INSERT INTO head VALUES (1, 0, 0, 0);

CREATE TABLE foyer (
    numero_allocataire TEXT NOT NULL,
    known_at_us INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (numero_allocataire, known_at_us)
) WITHOUT ROWID;

CREATE TABLE declaration_event (
    numero_allocataire TEXT NOT NULL,
    mois INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    payload BLOB NOT NULL,
    request_id TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    known_at_us INTEGER NOT NULL,
    PRIMARY KEY (numero_allocataire, mois, sequence)
) WITHOUT ROWID;
CREATE UNIQUE INDEX declaration_request ON declaration_event (numero_allocataire, mois, request_id);
CREATE INDEX declaration_by_month ON declaration_event (mois, numero_allocataire);

-- Each line's hash covers the one before: a change, a drop or a swap breaks the chain.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    purpose TEXT NOT NULL,
    hash BLOB NOT NULL
);
