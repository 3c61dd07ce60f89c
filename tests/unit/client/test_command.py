"""The command `solidarite`: French on stderr, exit codes 0, 1 and 2, JSON of the documented shape, no traceback."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from solidarite_client.cli import main
from solidarite_client.cli_app import VERBS
from solidarite_client.cli_common import euros, month_name
from solidarite_client.cli_declaration import print_declaration, print_entitlements
from solidarite_client.plain import from_plain

from tests.unit.client.fake_service import FakeService, refusal, serving

SAMPLES = Path(__file__).parents[2] / "data" / "dsn"


def test_what_is_told_is_written_even_where_the_system_says_that_it_shows_ascii_only(monkeypatch: pytest.MonkeyPatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", write_through=True))
    assert main(["--help"]) == 0
    assert "Solidarité à la source" in written.getvalue().decode()


@pytest.fixture
def service() -> Iterator[FakeService]:
    service = FakeService()
    with serving(service) as address:
        service.address = address
        yield service


@pytest.fixture
def ingest(service, tmp_path, capsys):
    """Run `solidarite ingest` against the service; gives (exit code, stdout, stderr)."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        spool = ["--spool", str(tmp_path / "spools")]
        code = main(["ingest", "--server", service.address, *spool, *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_ingest_tells_what_became_of_each_file(ingest, service):
    code, out, err = ingest(SAMPLES / "etoile-2026-07.dsn", SAMPLES / "opale-2026-10-neant.dsn")
    assert (code, err) == (0, "")
    assert "etoile-2026-07.dsn" in out
    assert len(service.records) == 5
    assert len(service.seals) == 2


def test_ingest_as_json_has_totals_and_files(ingest):
    files = [SAMPLES / "etoile-2026-08.dsn", SAMPLES / "etoile-2026-08-annule-et-remplace.dsn"]
    code, out, _ = ingest("--json", *files, *files[:1])
    answer = json.loads(out)
    assert code == 0
    assert [answer[name] for name in ("accepted", "replaced", "unchanged", "refused")] == [5, 6, 1, 0]
    assert [item["file"] for item in answer["files"]] == [str(path) for path in (*files, files[0])]
    assert answer["files"][0] == {
        "file": str(files[0]),
        "error": None,
        "accepted": 4,
        "replaced": 0,
        "unchanged": 0,
        "refused": 0,
        "documents": 1,
        "resumed": False,
        "refused_by_reason": {},
        "refusals": [],
        "freshness_token": "token-1",
    }


def test_ingest_of_a_broken_file_fails_and_sends_the_others(ingest, service, tmp_path):
    broken = tmp_path / "broken.dsn"
    broken.write_bytes((SAMPLES / "opale-2026-07.dsn").read_bytes()[:2000])
    code, out, err = ingest(broken, SAMPLES / "etoile-2026-07.dsn")
    assert code == 1
    assert err.startswith(f"Erreur : {broken} : ligne ")
    assert "broken" not in out
    assert len(service.records) == 5


def test_ingest_of_a_missing_file_says_so(ingest, tmp_path):
    code, _, err = ingest(tmp_path / "absent.dsn")
    assert (code, err) == (1, f"Erreur : {tmp_path / 'absent.dsn'} : fichier introuvable\n")


def test_ingest_shows_refusals_with_their_reason(ingest, service):
    service.faults.refuse = lambda request: [refusal(1)]
    code, _, err = ingest(SAMPLES / "etoile-2026-07.dsn")
    assert code == 1
    assert "enregistrement 2, version : Une autre version existe. [RECORD_CONFLICT]" in err
    answer = json.loads(ingest("--json", SAMPLES / "etoile-2026-08.dsn")[1])
    assert (answer["refused"], answer["files"][0]["refused_by_reason"]) == (1, {"RECORD_CONFLICT": 1})
    assert answer["files"][0]["refusals"][0]["record"] == 2


def test_ingest_without_file_finishes_what_was_interrupted(ingest, service):
    service.faults.cut_before_commit_of = [1] * 5
    code, _, err = ingest(SAMPLES / "etoile-2026-07.dsn")
    assert code == 1
    assert "relancez la même commande" in err
    code, out, _ = ingest("--json")
    assert code == 0
    assert json.loads(out)["files"][0]["resumed"]
    assert len(service.records) == 5
    assert "Rien à envoyer" in ingest()[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recods"], "commande inconnue"),
        (["records", "--nri", "1"], "option inconnue : --nri"),
        (["records"], "soit --nir, soit --ntt"),
        (["records", "--nir", "1", "--ntt", "2"], "soit --nir, soit --ntt"),
        (["records", "--nir"], "l'option --nir attend une valeur"),
        (["prefill", "--allocataire", "1"], "option obligatoire absente : --month"),
        (["prefill", "--allocataire", "1", "--month", "11-2026"], "un mois sous la forme AAAA-MM"),
        (["records", "--nir", "1", "--known-at", "hier"], "valeur refusée pour --known-at"),
        (["records", "--nir", "1", "--known-at", "2026-11-01T00:00:00"], "avec son fuseau"),
        (["foyer", "put"], "argument obligatoire absent"),
        (["compute", "--workers", "0"], "valeur refusée pour --workers : attendu : 1 ou plus"),
        (["auth", "token", "--minutes", "721"], "valeur refusée pour --minutes : attendu : 720 au plus"),
        (["simulate", "reform", "--seed", "1.5"], "valeur refusée pour --seed : attendu : un nombre entier"),
        (["records", "--nir", "1", "--tls-cert", "x"], "vont ensemble"),
    ],
    ids=str,
)
def test_wrong_usage_is_said_in_french_with_code_2(arguments, message, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("Erreur : ")
    assert message in err


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a\nb", "jeton\u00e9".encode(), b"a b", b"a\0b"])
def test_a_file_that_holds_no_token_is_refused_before_any_call(content, tmp_path, capsys):
    (tmp_path / "x.jwt").write_bytes(content)
    assert main(["records", "--nir", "1", "--token-file", str(tmp_path / "x.jwt")]) == 2
    assert capsys.readouterr().err.startswith("Erreur : x.jwt n'est pas un jeton")


def test_an_error_of_the_service_is_one_french_line_with_code_1(service, capsys):
    assert main(["records", "--server", service.address, "--nir", "123"]) == 1
    assert capsys.readouterr().err == "Erreur : Un NIR compte 13 caractères. (champ nir)\n"


def test_plain_text_to_another_machine_is_refused(capsys):
    assert main(["records", "--server", "10.0.0.1:1", "--nir", "123"]) == 1
    assert "sans TLS" in capsys.readouterr().err


def test_a_dossier_that_is_no_json_is_refused(tmp_path, capsys):
    (tmp_path / "a.json").write_text("{")
    assert main(["foyer", "put", str(tmp_path / "a.json")]) == 1
    assert capsys.readouterr().err == "Erreur : a.json : un fichier JSON en UTF-8 est attendu\n"
    (tmp_path / "a.json").write_text('[{"membres": [{"role": "PATRON"}]}]')
    assert main(["foyer", "put", str(tmp_path / "a.json")]) == 1
    assert "champ [0].membres[0].role" in capsys.readouterr().err


def test_what_was_not_foreseen_shows_no_traceback_unless_asked(monkeypatch, capsys):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret 9182")

    monkeypatch.setattr("solidarite_client._sync.SolidariteClient.list_resource_records", broken)
    assert main(["records", "--nir", "1"]) == 1
    err = capsys.readouterr().err
    assert "imprévue (RuntimeError)" in err
    assert "9182" not in err
    monkeypatch.setenv("SOLIDARITE_DEBUG", "1")
    with pytest.raises(RuntimeError):
        main(["records", "--nir", "1"])


@pytest.mark.parametrize(
    "arguments",
    [[], ["ingest"], ["records"], ["foyer"], ["foyer", "put"], ["foyer", "show"], ["prefill"], ["entitlements"]],
)
def test_help_is_in_french(arguments, capsys):
    assert main([*arguments, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Afficher cette aide." in out
    for english in ("Show this message", "Commands", "[default", "[required]", "[env var"):
        assert english not in out


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("solidarite-source ")


def test_without_typer_the_command_says_how_to_install_it():
    program = """
import sys
sys.modules["typer"] = None
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "typer" else real(name, *a)
from solidarite_client.cli import main
sys.exit(main(["records"]))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert 'pip install "solidarite-source[cli]"' in run.stderr
    assert "Traceback" not in run.stderr


def installed(entry):
    """In place of `entry_points`: this one, and none that stands alone."""
    return lambda group, name="": [entry] if group == VERBS else []


def test_verbs_of_a_server_that_is_not_installed_say_how_to_install_it(monkeypatch, capsys):
    class Entry:
        name = "server"

        def load(self):
            raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    monkeypatch.setattr("solidarite_client.cli_app.entry_points", installed(Entry()))
    assert main(["serve"]) == 2
    assert 'pip install "solidarite-source[server]"' in capsys.readouterr().err


def test_verbs_come_from_entry_points(monkeypatch, capsys):
    class Entry:
        name = "extra"

        def load(self):
            def register(app) -> None:
                @app.command("bonjour")
                def bonjour() -> int:
                    print("bonjour")
                    return 0

            return register

    monkeypatch.setattr("solidarite_client.cli_app.entry_points", installed(Entry()))
    assert main(["bonjour"]) == 0
    assert capsys.readouterr().out == "bonjour\n"


# -- how answers are shown ---------------------------------------------------------------------------------------------


def test_amounts_and_months_are_written_the_french_way():
    assert [euros(cents) for cents in (0, 5, 121583, -12050, 123456789)] == [
        "0,00\xa0€", "0,05\xa0€", "1\u202f215,83\xa0€", "−120,50\xa0€", "1\u202f234\u202f567,89\xa0€",
    ]  # fmt: skip
    assert month_name(2026, 8) == "août 2026"


def test_a_declaration_is_shown_line_by_line(capsys):
    from solidarite.v1.declaration_pb2 import Declaration

    print_declaration(
        from_plain(
            {
                "numero_allocataire": "7",
                "mois_declaration": "2026-11",
                "lines": [
                    {
                        "personne": "Lucas", "mois": "2026-07", "label_fr": "Salaires et primes", "status": "PREREMPLI",
                        "montant_prerempli_cents": -500, "montant_retenu_cents": 0, "zeroed": True,
                    }
                ],
                "persons": [{"personne": "Chidi", "prefilled": False, "message_fr": "À déclarer [tout]."}],
                "signals": [
                    {"message_fr": "Un employeur manque."},
                    {"message_fr": "Montant corrigé.", "personne": "Lucas", "mois": "2026-07"},
                ],
            },
            Declaration(),
        )
    )  # fmt: skip
    out = capsys.readouterr().out
    amount = "−5,00\xa0€"
    people = ("Chidi : À déclarer [tout].", "À vérifier : Un employeur manque.")
    line = "À vérifier (Lucas, juillet 2026) : Montant corrigé."
    for expected in ("novembre 2026", "juillet 2026", amount, "prérempli (ramené à zéro)", line, *people):
        assert expected in out


def test_steps_show_parts_of_a_cent_so_that_they_add_up(capsys):
    from solidarite.v1.entitlement_pb2 import MonthlyEntitlement

    month = from_plain(
        {
            "mois_droit": "2026-11",
            "benefits": [
                {
                    "benefit": "RSA",
                    "montant_cents": 57349,
                    "steps": [
                        {
                            "label": "Montant forfaitaire",
                            "amount_cents": "65169.0000",
                            "article": "CASF R262-1",
                            "depth": 1,
                        },
                        {"label": "Forfait logement", "amount_cents": "-7820.2800", "personne": "Zoé", "depth": 1},
                        {"label": "Condition", "amount_cents": ""},
                    ],
                }
            ],
        },
        MonthlyEntitlement(),
    )
    print_entitlements([month, month])
    out = capsys.readouterr().out
    assert "651,69\xa0€" in out
    assert "−78,2028\xa0€" in out
    assert "Forfait logement (Zoé)" in out
    assert out.count("Montant forfaitaire") == 1, "the same explanation is shown once"
