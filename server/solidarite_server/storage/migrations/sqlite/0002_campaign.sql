-- Campaigns: blocks of dossiers by number, each kept with its results in one commit.
CREATE TABLE campaign (
    campaign_id TEXT PRIMARY KEY,
    mois INTEGER NOT NULL,
    bounds TEXT NOT NULL  -- JSON list: the last dossier number of every block but the open-ended last one
) WITHOUT ROWID;

CREATE TABLE campaign_block (
    campaign_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    done INTEGER NOT NULL,
    refusals TEXT NOT NULL,  -- JSON object: foyers by reason
    rsa_total_cents INTEGER NOT NULL,
    prime_activite_total_cents INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, number)
) WITHOUT ROWID;

CREATE TABLE campaign_row (
    campaign_id TEXT NOT NULL,
    numero_allocataire TEXT NOT NULL,
    rsa_cents INTEGER NOT NULL,
    prime_activite_cents INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, numero_allocataire)
) WITHOUT ROWID;
