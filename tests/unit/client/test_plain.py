"""Plain JSON goes into the contract's messages and back; errors give the path of the field."""

import json
from pathlib import Path

import pytest
from google.protobuf import json_format
from solidarite.v1 import declaration_pb2, entitlement_pb2, foyer_pb2, resource_record_pb2
from solidarite_client.errors import JsonError
from solidarite_client.plain import from_plain, to_plain

DOSSIER = {
    "numero_allocataire": "0000001",
    "membres": [
        {
            "personne": "Amina",
            "role": "ALLOCATAIRE",
            "date_naissance": "1984-05-14",
            "nir": "2840575999101",
            "grossesse": ["2026-07", "2026-08"],
            "benefices_annuels": [{"annee": 2025, "montant_cents": 960000}],
        }
    ],
    "logements": [{"debut": "2024-01", "statut": "LOCATAIRE"}],
    "prestations": [{"mois": "2026-07", "aide_logement_cents": 18000}],
    "premier_examen_reforme": True,
}


def test_a_dossier_goes_in_and_comes_back():
    message = from_plain(DOSSIER, foyer_pb2.Foyer())
    assert message.membres[0].role == foyer_pb2.ROLE_ALLOCATAIRE
    assert (message.membres[0].date_naissance.year, message.logements[0].debut.month) == (1984, 1)
    plain = to_plain(message)
    assert from_plain(plain, foyer_pb2.Foyer()) == message
    assert plain["membres"][0]["grossesse"] == ["2026-07", "2026-08"]
    assert plain["prestations"][0]["aide_logement_cents"] == 18000
    assert plain["premier_examen_reforme"] is True
    json.dumps(plain)


def test_what_protobuf_writes_is_read_too():
    message = from_plain(DOSSIER, foyer_pb2.Foyer())
    assert from_plain(json.loads(json_format.MessageToJson(message)), foyer_pb2.Foyer()) == message


def test_the_households_of_the_demonstration_are_read():
    path = Path(__file__).parents[3] / "server" / "solidarite_server" / "demo_data" / "foyers.json"
    for item in json.loads(path.read_text(encoding="utf-8")):
        assert from_plain(item, foyer_pb2.Foyer()).membres


def test_unset_messages_and_optional_fields_are_left_out_and_zeros_are_not():
    line = to_plain(declaration_pb2.DeclarationLine(montant_retenu_cents=0, montant_declare_cents=0))
    assert "mois" not in line
    assert "montant_prerempli_cents" not in line
    assert (line["montant_declare_cents"], line["montant_retenu_cents"], line["zeroed"]) == (0, 0, False)


def test_identifiers_are_hexadecimal_and_instants_rfc_3339():
    held = resource_record_pb2.HeldRecord(record_id=bytes(range(16)))
    held.known_at.FromJsonString("2026-11-05T12:00:00.5Z")
    plain = to_plain(held)
    assert plain["record_id"] == "000102030405060708090a0b0c0d0e0f"
    assert plain["known_at"] == "2026-11-05T12:00:00.500Z"
    assert from_plain(plain, resource_record_pb2.HeldRecord()) == held


def test_maps_go_both_ways():
    options = from_plain({"named": {"a": "b"}}, entitlement_pb2.CalculationOptions())
    assert to_plain(options)["named"] == {"a": "b"}


def test_an_enum_number_of_a_newer_server_is_shown_as_it_is():
    assert to_plain(foyer_pb2.Membre(role=99))["role"] == 99


@pytest.mark.parametrize(
    ("change", "path", "expected"),
    [
        ({"membres": [{"role": "PATRON"}]}, "membres[0].role", "ALLOCATAIRE, CONJOINT"),
        ({"membres": [{}, {"role": 1}]}, "membres[1].role", "une valeur parmi"),
        ({"membres": {}}, "membres", "une liste"),
        ({"membres": ["x"]}, "membres[0]", "un objet"),
        ({"membres": [{"date_naissance": "14/05/1984"}]}, "membres[0].date_naissance", "AAAA-MM-JJ"),
        ({"membres": [{"grossesse": ["2026-7"]}]}, "membres[0].grossesse[0]", "un mois AAAA-MM"),
        ({"prestations": [{"aide_logement_cents": 180.5}]}, "prestations[0].aide_logement_cents", "entier de centimes"),
        ({"prestations": [{"aide_logement_cents": True}]}, "prestations[0].aide_logement_cents", "entier"),
        ({"prestations": [{"aide_logement_cents": 2**70}]}, "prestations[0].aide_logement_cents", "limites"),
        ({"premier_examen_reforme": "oui"}, "premier_examen_reforme", "true ou false"),
        ({"numero_allocataire": 1}, "numero_allocataire", "un texte"),
        ({"adresse": "x"}, "", "champ inconnu"),
        ({"membres": [{"age": 1}]}, "membres[0]", "date_naissance"),
    ],
    ids=str,
)
def test_an_error_gives_the_path_and_what_is_expected(change, path, expected):
    with pytest.raises(JsonError) as caught:
        from_plain(DOSSIER | change, foyer_pb2.Foyer())
    assert caught.value.path == path
    assert expected in caught.value.expected


def test_null_is_an_absent_value():
    assert from_plain({"departement": None, "premiere_demande": None}, foyer_pb2.Foyer()) == foyer_pb2.Foyer()
