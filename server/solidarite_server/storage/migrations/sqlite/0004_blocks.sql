-- Blocks of a page each, with their checksum inside; what the old ones hold is taken over by storage/old_blocks.py.
ALTER TABLE run RENAME TO old_run;
ALTER TABLE run_block RENAME TO old_run_block;

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
    data BLOB NOT NULL  -- 66 RUN_ROW, sorted, their number and a checksum
);

-- Changes whenever the live runs do: who has seen the same number knows them.
ALTER TABLE head ADD COLUMN run_generation INTEGER NOT NULL DEFAULT 0;
UPDATE head SET record_versions = 0;
