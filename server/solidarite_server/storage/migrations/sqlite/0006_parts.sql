-- What is left of a run that a merge takes over range by range, or the range that a run was made for; without a row: all.
-- A table of its own: after the filter of a run, a column would be far to read.
CREATE TABLE run_part (
    id INTEGER PRIMARY KEY,  -- of the run
    part BLOB NOT NULL  -- Part (storage/runs.py), with a checksum
);
