-- Which version of the keys the persons are wrapped under (0: none), and a fingerprint of those keys.
ALTER TABLE head ADD COLUMN pseudonym_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE head ADD COLUMN pseudonym_fingerprint BYTEA NOT NULL DEFAULT '';
