-- The set of record versions received. The person is in the key and decides the partition: a distributed PostgreSQL can
-- shard by it, and no constraint crosses shards.
CREATE TABLE record (
    person BYTEA NOT NULL,
    source INTEGER NOT NULL,
    record_id BYTEA NOT NULL,
    version BIGINT NOT NULL,
    known_at_us BIGINT NOT NULL,
    content BYTEA NOT NULL,  -- CONTENT_DTYPE
    PRIMARY KEY (person, source, record_id, version)
) PARTITION BY HASH (person);
CREATE TABLE record_0 PARTITION OF record FOR VALUES WITH (MODULUS 8, REMAINDER 0);
CREATE TABLE record_1 PARTITION OF record FOR VALUES WITH (MODULUS 8, REMAINDER 1);
CREATE TABLE record_2 PARTITION OF record FOR VALUES WITH (MODULUS 8, REMAINDER 2);
CREATE TABLE record_3 PARTITION OF record FOR VALUES WITH (MODULUS 8, REMAINDER 3);
CREATE TABLE record_4 PARTITION OF record FOR VALUES WITH (MODULUS 8, REMAINDER 4);
CREATE TABLE record_5 PARTITION OF record FOR VALUES WITH (MODULUS 8, REMAINDER 5);
CREATE TABLE record_6 PARTITION OF record FOR VALUES WITH (MODULUS 8, REMAINDER 6);
CREATE TABLE record_7 PARTITION OF record FOR VALUES WITH (MODULUS 8, REMAINDER 7);

CREATE TABLE source (
    id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE document_seal (
    source INTEGER NOT NULL,
    document_id BYTEA NOT NULL,
    version BIGINT NOT NULL,
    record_count BIGINT NOT NULL,
    known_at_us BIGINT NOT NULL,
    PRIMARY KEY (source, document_id, version)
);

-- Durable batches of an upload: `position` is the end of the unbroken run from 1, `ahead` holds those beyond it.
CREATE TABLE upload (
    source_id TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (source_id, upload_id)
);

CREATE TABLE upload_ahead (
    source_id TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    batch_sequence BIGINT NOT NULL,
    PRIMARY KEY (source_id, upload_id, batch_sequence)
);

-- One row, which every writer takes first: the newest commit, and its instant, which never goes back.
CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    commit_sequence BIGINT NOT NULL,
    known_at_us BIGINT NOT NULL
) WITH (fillfactor = 10);
INSERT INTO head VALUES (1, 0, 0);

-- Numbers of dossiers sort by their characters, whatever the language of the server.
CREATE TABLE foyer (
    numero_allocataire TEXT COLLATE "C" NOT NULL,
    known_at_us BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (numero_allocataire, known_at_us)
);

CREATE TABLE declaration_event (
    numero_allocataire TEXT COLLATE "C" NOT NULL,
    mois INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    payload BYTEA NOT NULL,
    request_id TEXT NOT NULL,
    body_hash BYTEA NOT NULL,
    known_at_us BIGINT NOT NULL,
    PRIMARY KEY (numero_allocataire, mois, sequence)
);
CREATE UNIQUE INDEX declaration_request ON declaration_event (numero_allocataire, mois, request_id);
CREATE INDEX declaration_by_month ON declaration_event (mois, numero_allocataire);

-- Each line's hash covers the one before: a change, a drop or a swap breaks the chain.
CREATE TABLE audit (
    id BIGINT PRIMARY KEY,
    at_us BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    purpose TEXT NOT NULL,
    hash BYTEA NOT NULL
);

-- Campaigns: blocks of dossiers by number, each kept with its results in one commit.
CREATE TABLE campaign (
    campaign_id TEXT PRIMARY KEY,
    mois INTEGER NOT NULL,
    bounds TEXT NOT NULL
);

CREATE TABLE campaign_block (
    campaign_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    done BIGINT NOT NULL,
    refusals TEXT NOT NULL,
    rsa_total_cents BIGINT NOT NULL,
    prime_activite_total_cents BIGINT NOT NULL,
    PRIMARY KEY (campaign_id, number)
);

CREATE TABLE campaign_row (
    campaign_id TEXT NOT NULL,
    numero_allocataire TEXT COLLATE "C" NOT NULL,
    rsa_cents BIGINT NOT NULL,
    prime_activite_cents BIGINT NOT NULL,
    PRIMARY KEY (campaign_id, numero_allocataire)
);
