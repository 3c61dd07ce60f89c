-- How far a renewal of the pseudonyms is (Renewal, storage/persons.py); NULL when none is under way. The version in force
-- has another name: a server of an earlier version, which would look for persons under it alone, reads nothing any more.
ALTER TABLE head RENAME COLUMN pseudonym_version TO pseudonyms;
ALTER TABLE head ADD COLUMN renewal BYTEA;
-- How many renewals were begun since, and how many of them each record has been through.
ALTER TABLE head ADD COLUMN renewals SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE record ADD COLUMN renewals SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE record ALTER COLUMN renewals DROP DEFAULT;
