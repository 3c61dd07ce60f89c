-- Persons and records as UUID, versions on four bytes: an index entry of 48 bytes rather than 64, and comparisons that
-- cost half. A person is 16 bytes, as a UUID is; nothing else of a UUID is meant.
ALTER TABLE record RENAME TO old_record;
ALTER TABLE old_record RENAME CONSTRAINT record_pkey TO old_record_pkey;
ALTER TABLE record_0 RENAME TO old_record_0;
ALTER TABLE record_1 RENAME TO old_record_1;
ALTER TABLE record_2 RENAME TO old_record_2;
ALTER TABLE record_3 RENAME TO old_record_3;
ALTER TABLE record_4 RENAME TO old_record_4;
ALTER TABLE record_5 RENAME TO old_record_5;
ALTER TABLE record_6 RENAME TO old_record_6;
ALTER TABLE record_7 RENAME TO old_record_7;
CREATE TABLE record (
    person UUID NOT NULL,
    source INTEGER NOT NULL,
    record_id UUID NOT NULL,
    version INTEGER NOT NULL,  -- less 2^31: versions go from 1 to 2^32 - 1
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
INSERT INTO record
    SELECT encode(person, 'hex')::uuid, source, encode(record_id, 'hex')::uuid, (version - 2147483648)::integer,
        known_at_us, content
    FROM old_record;
DROP TABLE old_record;
