-- A checksum a row, of its other columns; those of rows already there are made by storage/sums.py.
ALTER TABLE foyer ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE declaration_event ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE upload ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE upload_ahead ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
