-- Whether another version of the dossier, or another event of the declaration, follows: one that is missing is noticed.
ALTER TABLE foyer ADD COLUMN followed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE declaration_event ADD COLUMN followed INTEGER NOT NULL DEFAULT 0;
UPDATE foyer SET followed = 1 WHERE EXISTS (SELECT 1 FROM foyer AS later
    WHERE later.numero_allocataire = foyer.numero_allocataire AND later.known_at_us > foyer.known_at_us);
UPDATE declaration_event SET followed = 1 WHERE EXISTS (SELECT 1 FROM declaration_event AS later
    WHERE later.numero_allocataire = declaration_event.numero_allocataire AND later.mois = declaration_event.mois
    AND later.sequence > declaration_event.sequence);
