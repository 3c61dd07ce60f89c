-- The set of record versions received. The person comes first in every key, so that a distributed store can shard by it.
CREATE TABLE record (
    person BLOB NOT NULL,
    source INTEGER NOT NULL,
    record_id BLOB NOT NULL,
    version INTEGER NOT NULL,
    known_at_us INTEGER NOT NULL,
    content BLOB NOT NULL,  -- RECORD_DTYPE without its first two fields and the version
    PRIMARY KEY (person, source, record_id, version)
) WITHOUT ROWID;

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
    known_at_us INTEGER NOT NULL
);
INSERT INTO head VALUES (1, 0, 0);

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
