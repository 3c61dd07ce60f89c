"""The reference page in a real Chromium: the whole flow, what is refused, what arrives late, for every reader."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright
from pydantic import SecretStr
from solidarite.v1 import common_pb2, declaration_pb2
from solidarite.v1.declaration_pb2_grpc import DeclarationServiceStub
from solidarite_client import ClientSettings, SolidariteClient, confirm
from solidarite_server.cli_demo_web import LATE_FILES

from tests.browser.served import Served, served
from tests.robustness.served import NEVER

RESOURCE_EXHAUSTED = str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
AMINA, ZOE, CHIDI = "0000001", "0000002", "0000004"
expect.set_options(timeout=15_000)  # CI's two cores are shared
Visit = Callable[..., Page]
ARGUMENTS = [
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """For tests that change nothing."""
    with served(tmp_path_factory.mktemp("served"), page=True) as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Served]:
    """For a test that changes declarations."""
    with served(tmp_path, page=True) as running:
        yield running


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens the page of a gateway; the test fails if a policy was broken or an error not caught."""
    complaints: list[str] = []
    pages: list[Page] = []

    def hear(message: ConsoleMessage) -> None:
        # That a call was refused is no complaint: the page says it.
        if message.type == "error" and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    def open_page(running: Served, width: int = 1100, height: int = 800) -> Page:
        page = browser.new_page(viewport={"width": width, "height": height}, locale="fr-FR")
        pages.append(page)
        page.set_default_timeout(15_000)
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(running.gateway)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert complaints == []


@pytest.fixture(scope="session")
def axe(web: Path) -> str:
    return (web / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


def violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds wrong on the page as it is."""
    page.evaluate(axe)
    found = page.evaluate("axe.run().then(result => result.violations)")
    return [f"{one['id']}: {[node['html'] for node in one['nodes']]}" for one in found]


def open_household(page: Page, number: str) -> None:
    page.get_by_label("Foyer d'exemple").select_option(number)
    page.get_by_role("button", name="Ouvrir la déclaration").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Déclaration de novembre 2026")


def cell(page: Page, line_id: str) -> Locator:
    return page.locator(f"#ligne-{line_id.replace('/', '-').replace('_', '-')}")


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.id")


def total(page: Page) -> str:
    return page.locator("#droits .sum").first.inner_text().replace("\u202f", " ").replace("\xa0", " ")


def test_the_whole_flow_with_a_refused_amendment_and_a_late_correction(visit: Visit, own: Served, axe: str):
    page = visit(own)
    page.get_by_label("Foyer d'exemple").wait_for()
    assert violations(page, axe) == []
    open_household(page, AMINA)
    assert focused(page) == "titre"
    expect(page.locator("#et-si svg[role=img]")).to_be_visible()
    assert violations(page, axe) == []

    # Where an amount comes from: payer, payment date, since when it is known, what it replaced.
    august = cell(page, "Amina/2026-08/SALAIRE")
    august.click()
    detail = page.locator(".detail")
    expect(detail).to_contain_text("SIRET 812 345 678 00013")
    expect(detail).to_contain_text("Versé le 31 août 2026")
    expect(detail).to_contain_text("Connu le")
    expect(detail).to_contain_text("annule et remplace")
    detail.locator("summary").click()
    expect(detail.locator(".events li")).to_have_count(2)

    # A rectification without a justification is refused by the service: told on its field, what was typed stays.
    detail.get_by_role("button", name="Rectifier").click()
    assert focused(page) == "montant"
    page.get_by_label("Montant net social exact").fill("beaucoup")
    page.get_by_role("button", name="Enregistrer la rectification").click()
    expect(page.locator("#montant-erreur")).to_contain_text("positif ou nul")
    page.get_by_label("Montant net social exact").fill("1 200,50")
    page.get_by_role("button", name="Enregistrer la rectification").click()
    refused = page.get_by_label("Pièce justificative")
    expect(refused).to_have_attribute("aria-invalid", "true")
    assert "justification-erreur" in refused.get_attribute("aria-describedby").split()
    expect(page.locator("#justification-erreur")).to_have_text(
        "Une rectification s'accompagne d'une pièce justificative."
    )
    expect(refused).to_be_focused()
    expect(page.get_by_label("Montant net social exact")).to_have_value("1 200,50")
    assert violations(page, axe) == []

    # Meanwhile a payer corrects: it is told, shown, and what is being typed stays.
    before = total(page)
    refused.fill("BULLETIN-2026-08")
    own.service.send(*LATE_FILES)
    corrections = page.locator("#corrections li")
    expect(corrections).to_have_count(2)
    expect(corrections.nth(1)).to_contain_text("septembre 2026 : 1\u202f281,76\xa0€ → 1\u202f161,26\xa0€")
    expect(page.locator("#annonces")).to_contain_text("Un payeur vient de corriger un montant")
    expect(cell(page, "Amina/2026-09/SALAIRE")).to_contain_text("corrigé à l'instant")
    expect(refused).to_have_value("BULLETIN-2026-08")
    assert total(page) != before
    assert violations(page, axe) == []

    page.get_by_role("button", name="Enregistrer la rectification").click()
    expect(august).to_contain_text("rectifié")
    expect(page.locator("#etat")).to_have_text("En cours")

    page.get_by_role("button", name="Ajouter une ressource pour Amina").click()
    page.get_by_label("Ressource", exact=True).select_option(label="Pension alimentaire reçue")
    page.get_by_label("Mois", exact=True).select_option(label="août 2026")
    page.get_by_label("Montant reçu").fill("50")
    assert violations(page, axe) == []
    page.get_by_role("button", name="Ajouter", exact=True).click()
    expect(cell(page, "Amina/2026-08/PENSION_ALIMENTAIRE")).to_contain_text("50,00")
    expect(cell(page, "Amina/2026-08/PENSION_ALIMENTAIRE")).to_be_focused()

    page.get_by_role("button", name="Tout confirmer").click()
    expect(cell(page, "Lucas/2026-07/SALAIRE")).to_contain_text("confirmé")
    page.get_by_role("button", name="Valider ma déclaration").click()
    expect(page.get_by_role("alert")).to_contain_text("Cochez la case")
    expect(page.get_by_label("Je certifie")).to_be_focused()
    expect(page.get_by_label("Je certifie")).to_have_attribute("aria-describedby", "certifier-erreur")
    assert violations(page, axe) == []
    page.get_by_label("Je certifie").check()
    page.get_by_role("button", name="Valider ma déclaration").click()

    expect(page.locator("#etat")).to_have_text("Validée, rectification en vérification")
    expect(page.locator("#droits")).to_contain_text("Montants fixés par la validation")
    expect(page.locator("#droits .payment")).to_have_count(3)
    page.locator("#calcul-2 > summary").click()
    page.locator("#calcul-2 .steps summary").first.click()
    expect(page.locator("#calcul-2 .article").first).to_contain_text("CSS L842-3, D843-1")
    expect(page.locator("#calcul-2 .parameters").first).to_contain_text("638,28 € par mois")
    expect(page.locator("#calcul-2 .parameters").first).to_contain_text(
        "Montant forfaitaire de la prime d'activité pour une personne seule ppa.montant_forfaitaire"
    )
    expect(page.locator("#historique li").first).to_contain_text("Déclaration validée")
    expect(page.locator("#historique")).to_contain_text("1\u202f265,83\xa0€ → 1\u202f200,50\xa0€")
    assert violations(page, axe) == []


def test_a_declaration_that_changed_elsewhere_is_read_again_before_anything_is_kept(visit: Visit, own: Served):
    page = visit(own)
    page.route("**/WatchDeclaration", lambda route: route.abort())
    open_household(page, ZOE)
    token = SecretStr(own.service.token(ZOE))
    with SolidariteClient(own.gateway.removeprefix("http://"), ClientSettings(token=token)) as elsewhere:
        seen = elsewhere.prefill_declaration(ZOE, "2026-11")
        elsewhere.amend_declaration(ZOE, "2026-11", etag=seen.etag, amendments=[confirm()])
    july = cell(page, "Zoé/2026-07/SALAIRE")
    july.click()
    page.get_by_role("button", name="Rectifier").click()
    page.get_by_label("Montant net social exact").fill("600")
    page.get_by_label("Pièce justificative").fill("BULLETIN-07")
    page.get_by_role("button", name="Enregistrer la rectification").click()
    expect(page.get_by_role("alert")).to_contain_text("La déclaration a changé depuis sa lecture")
    expect(july).to_contain_text("confirmé")
    expect(page.get_by_label("Montant net social exact")).to_have_value("600")
    page.get_by_role("button", name="Enregistrer la rectification").click()
    expect(july).to_contain_text("rectifié")


def test_a_correction_that_no_notice_told_is_shown_before_anything_is_kept(visit: Visit, own: Served):
    page = visit(own)
    page.route("**/WatchDeclaration", lambda route: route.abort())
    open_household(page, AMINA)
    own.service.send(*LATE_FILES)
    page.get_by_role("button", name="Tout confirmer").click()
    expect(page.locator("#valider").get_by_role("alert")).to_contain_text("La déclaration a changé depuis sa lecture")
    expect(page.locator("#corrections li")).to_have_count(2)
    september = cell(page, "Amina/2026-09/SALAIRE")
    expect(september).to_contain_text("1\u202f161,26")
    expect(september).to_contain_text("prérempli")
    page.locator("#corrections").get_by_role("button", name="Voir cette ligne").nth(1).click()
    expect(september).to_be_focused()
    page.get_by_role("button", name="J'ai vu").click()
    expect(page.locator("#corrections")).to_have_count(0)
    expect(page.locator("#titre")).to_be_focused()
    page.get_by_role("button", name="Tout confirmer").click()
    expect(september).to_contain_text("confirmé")


def test_the_rights_are_computed_as_one_types_and_drawn(visit: Visit, shared: Served):
    page = visit(shared)
    open_household(page, ZOE)
    result = page.locator("#et-si-resultat")
    expect(page.locator("#et-si svg[role=img]")).to_be_visible()
    page.get_by_label("Salaire net social mensuel").fill("0")
    # RSA 651.69 − 12 % × 651.69 = 573.487; no work, no prime.
    expect(result).to_contain_text("RSA 573,49\xa0€, prime d'activité 0,00\xa0€")
    page.get_by_label("Salaire net social mensuel").fill("1200")
    # 638.28 + 0.5985 × 1200 + 240.63 × (1200 − 726.29) / 972.49 − 1200 − 76.5936 = 197.10, less 0.5 % of CRDS.
    expect(result).to_contain_text("RSA 0,00\xa0€, prime d'activité 196,11\xa0€")
    page.get_by_label("Salaire net social mensuel").fill("99999")
    expect(page.locator("#et-si").get_by_role("alert")).to_contain_text("de 0 à 3000")
    expect(page.get_by_label("Salaire net social mensuel")).to_have_attribute("aria-invalid", "true")
    page.get_by_text("Les chiffres de la courbe").click()
    expect(page.locator("#et-si tbody tr")).to_have_count(31)
    expect(page.locator("#et-si tbody tr").first).to_contain_text("573,49")


def test_who_cannot_be_prefilled_declares_by_hand(visit: Visit, own: Served, axe: str):
    page = visit(own)
    open_household(page, CHIDI)
    expect(page.get_by_role("region", name="À vérifier avant de valider")).to_contain_text("n'est pas certifié")
    cell(page, "Chidi/2026-07/SALAIRE").click()
    page.get_by_label("Montant reçu").fill("1000")
    page.get_by_role("button", name="Déclarer ce montant").click()
    expect(cell(page, "Chidi/2026-07/SALAIRE")).to_contain_text("ajouté")
    assert violations(page, axe) == []
    page.get_by_role("button", name="Retirer cette ligne").click()
    expect(cell(page, "Chidi/2026-07/SALAIRE")).to_contain_text("à déclarer")


def test_signing_in_says_what_is_wrong_on_the_right_field(visit: Visit, shared: Served, axe: str):
    page = visit(shared)
    page.get_by_label("Foyer d'exemple").select_option(AMINA)
    page.get_by_label("Mois de la déclaration").fill("novembre")
    page.get_by_role("button", name="Ouvrir la déclaration").click()
    month = page.get_by_label("Mois de la déclaration")
    expect(month).to_be_focused()
    expect(month).to_have_attribute("aria-describedby", "mois-aide mois-erreur")
    month.fill("2026-11")
    page.get_by_label("Jeton de développement").fill("faux")
    page.get_by_role("button", name="Ouvrir la déclaration").click()
    expect(page.get_by_role("alert")).to_contain_text("Ce jeton n'est pas accepté")
    assert violations(page, axe) == []
    page.get_by_label("Foyer d'exemple").select_option(ZOE)
    page.get_by_label("Numéro d'allocataire").fill(AMINA)
    page.get_by_role("button", name="Ouvrir la déclaration").click()
    expect(page.locator("#numero-erreur")).to_have_text("Aucun dossier de ce numéro.")


def test_everything_can_be_done_with_the_keyboard(visit: Visit, own: Served):
    page = visit(own)
    press = page.keyboard.press
    page.get_by_label("Foyer d'exemple").wait_for()
    press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Aller au contenu"
    press("Enter")
    reach(page, "exemple")
    press("ArrowDown")
    expect(page.get_by_label("Numéro d'allocataire")).to_have_value(ZOE)
    reach(page, "jeton")
    press("Enter")
    expect(page.locator("#titre")).to_be_focused()
    reach(page, "ligne-Zoé-2026-07-SALAIRE")
    press("Enter")
    reach(page, "confirmer-Zoé-2026-07-SALAIRE")
    press("Enter")
    expect(cell(page, "Zoé/2026-07/SALAIRE")).to_contain_text("confirmé")
    expect(cell(page, "Zoé/2026-07/SALAIRE")).to_be_focused()
    reach(page, "tout-confirmer")
    press("Enter")
    expect(page.locator("#tout-confirmer")).to_have_count(0)
    reach(page, "certifier")
    press("Space")
    reach(page, "valider-bouton")
    press("Enter")
    expect(page.locator("#etat")).to_have_text("Validée")
    expect(page.locator("#titre")).to_be_focused()


def reach(page: Page, identifier: str, most: int = 40) -> None:
    """Press Tab until that element has the focus."""
    for _ in range(most):
        if focused(page) == identifier:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{identifier} is not reached with {most} tabs")


def test_calls_refused_because_too_many_wait_come_back_by_themselves(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SOLIDARITE_WAITING_CALLS", "4")
    monkeypatch.setenv("SOLIDARITE_FRESHNESS_WAIT_SECONDS", "0.2")
    with served(tmp_path, page=True) as running:
        page = visit(running)
        with (
            every_place_taken(running, 4),
            page.expect_response(lambda answer: answer.headers.get("grpc-status") == RESOURCE_EXHAUSTED),
        ):
            page.get_by_label("Foyer d'exemple").select_option(AMINA)
            page.get_by_role("button", name="Ouvrir la déclaration").click()
        expect(page.locator("#et-si svg[role=img]")).to_be_visible()


@contextmanager
def every_place_taken(running: Served, places: int) -> Iterator[None]:
    """Calls that wait inside the server for a commit that will not come, as many as may wait and always some more."""
    over = threading.Event()
    request = declaration_pb2.PrefillDeclarationRequest(
        numero_allocataire=ZOE, mois_declaration=common_pb2.Month(year=2026, month=11), at_least_as_fresh=NEVER
    )

    def call_again_and_again(stub: DeclarationServiceStub) -> None:
        while not over.is_set():
            with suppress(grpc.RpcError):
                stub.PrefillDeclaration(request, metadata=list(running.bearer(ZOE).items()), timeout=10)

    with (
        grpc.insecure_channel(running.gateway.removeprefix("http://")) as channel,
        ThreadPoolExecutor(2 * places) as threads,
    ):
        calls = [threads.submit(call_again_and_again, DeclarationServiceStub(channel)) for _ in range(2 * places)]
        try:
            yield
        finally:
            over.set()
        for call in calls:
            call.result()


@pytest.mark.parametrize(("width", "height"), [(390, 844), (320, 640), (550, 400)], ids=["phone", "small", "zoom-200"])
def test_nothing_overflows(visit: Visit, shared: Served, axe: str, width: int, height: int):
    page = visit(shared, width, height)
    open_household(page, AMINA)
    cell(page, "Lucas/2026-09/SALAIRE").click()
    page.get_by_role("button", name="Rectifier").click()
    page.locator("#calcul-2 > summary").click()
    expect(page.locator("#et-si svg[role=img]")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page, axe) == []


def test_the_accessibility_statement_is_a_page(visit: Visit, shared: Served, axe: str):
    page = visit(shared)
    page.get_by_role("link", name="Accessibilité").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Accessibilité de la page de référence")
    assert violations(page, axe) == []
