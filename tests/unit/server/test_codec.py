from datetime import date

from solidarite_server.domain.foyer import (
    Foyer,
    Logement,
    Membre,
    PeriodeStatut,
    PrestationsMois,
    Role,
    Statut,
    StatutLogement,
    Zone,
)
from solidarite_server.domain.month import Month
from solidarite_server.services import codec


def test_a_dossier_comes_back_as_it_was_stored():
    foyer = Foyer(
        "A1",
        (
            Membre(
                "demandeur",
                Role.ALLOCATAIRE,
                date(1990, 5, 4),
                pseudonyme=bytes(range(16)),
                statuts=(PeriodeStatut(Statut.ETUDIANT, date(2025, 9, 1)),),
                grossesse=(Month(2026, 7),),
                benefices_annuels={2024: 960_000},
            ),
        ),
        zone=Zone.GUYANE,
        logements=(Logement(Month(2020, 1), StatutLogement.LOCATAIRE),),
        aide_logement={Month(2026, 7): 18_000},
        prestations={Month(2026, 8): PrestationsMois(paje_allocation_base_cents=19_915)},
        premiere_demande=Month(2026, 1),
    )
    assert codec.loads(Foyer, codec.dumps(foyer)) == foyer


def test_the_same_dossier_always_gives_the_same_bytes():
    one = Foyer("A1", (), aide_logement={Month(2026, 7): 1, Month(2026, 8): 2})
    other = Foyer("A1", (), aide_logement={Month(2026, 8): 2, Month(2026, 7): 1})
    assert codec.dumps(one) == codec.dumps(other)
