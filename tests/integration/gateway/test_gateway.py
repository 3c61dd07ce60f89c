"""What a browser or curl gets through the real Envoy from the real server."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from pydantic import ValidationError
from solidarite.v1 import declaration_pb2, declaration_pb2_grpc, foyer_pb2, foyer_pb2_grpc
from solidarite_client import ClientSettings, SolidariteClient
from solidarite_server.gateway import GatewayError, GatewaySettings, front_end_methods, page_files, running_gateway

from tests.browser.served import Served, served

NOVEMBER = {"year": 2026, "month": 11}
PORTAL = "https://portail.example"
SECRET = "2840575999101"


@dataclass
class Answer:
    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    def detail(self, kind: str) -> Any:
        return next((one for one in self.json["details"] if one["@type"].endswith(f"google.rpc.{kind}")), None)


def ask(url: str, body: Any = None, *, method: str = "", **headers: str) -> Answer:
    """One call by JSON; headers are named with underscores or as they are."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, named, method=method or ("GET" if data is None else "POST"))
    if data is not None and "content-type" not in named:
        request.add_header("content-type", "application/json")
    try:
        response = urllib.request.urlopen(request, timeout=20)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return Answer(response.status, response.headers, response.read().decode())


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served"), origins=(PORTAL,), page=True) as both:
        yield both


@pytest.fixture(scope="module")
def url(services: Served) -> str:
    return services.gateway


@pytest.fixture(scope="module")
def bearer(services: Served) -> dict[str, str]:
    """The token of Zoé's portal."""
    return services.bearer("0000002")


def test_the_rpcs_of_the_front_ends_are_these():
    assert {method.name for method in front_end_methods()} == {
        "GetFoyer", "PrefillDeclaration", "GetDeclaration", "AmendDeclaration", "SubmitDeclaration",
        "WatchDeclaration", "ComputeEntitlements", "GetEntitlements",
    }  # fmt: skip


def test_json_has_the_names_of_the_contract_and_cents_as_text(url: str, bearer: dict[str, str]):
    answer = ask(f"{url}/v1/foyers/0000002/declarations:prefill", {"mois_declaration": NOVEMBER}, **bearer)
    declaration = answer.json["declaration"]
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    july = next(line for line in declaration["lines"] if line["line_id"] == "Zoé/2026-07/SALAIRE")
    assert july["montant_prerempli_cents"] == july["montant_retenu_cents"] == "64020"
    assert july["records"][0]["date_versement"] == {"year": 2026, "month": 7, "day": 31}


def test_entitlements_come_with_their_steps(url: str, bearer: dict[str, str]):
    answer = ask(f"{url}/v1/foyers/0000002/entitlements/2026/11?explain=true", **bearer).json
    rsa = answer["months"][0]["benefits"][0]
    assert rsa["montant_cents"] == "1308"
    assert any(step["article"].startswith("CASF") for step in rsa["steps"])


def test_an_error_keeps_its_reason_its_field_and_its_french_message(url: str, bearer: dict[str, str]):
    answer = ask(f"{url}/v1/foyers/0000002/declarations/2026/13", **bearer)
    assert (answer.status, answer.json["code"]) == (400, 3)
    assert answer.detail("ErrorInfo")["reason"] == "INVALID_FIELD"
    assert answer.detail("ErrorInfo")["domain"] == "solidarite.v1"
    assert answer.detail("BadRequest")["field_violations"][0]["field"] == "mois_declaration"
    assert answer.detail("LocalizedMessage")["locale"] == "fr"
    assert answer.json["message"] == answer.detail("LocalizedMessage")["message"]


def test_what_is_not_the_expected_json_is_refused_without_repeating_it(url: str):
    for body in (b"garbage", b"\xff" * 40, {"mois_declaration": {"year": SECRET * 3}}, {"mois_declaration": SECRET}):
        answer = ask(f"{url}/v1/foyers/0000002/declarations:prefill", body)
        assert answer.status == 400
        assert answer.detail("ErrorInfo")["reason"] == "UNDECODABLE_REQUEST"
        assert "JSON attendu" in answer.json["message"]
        assert SECRET not in answer.text
    assert ask(f"{url}/v1/foyers/0000002?explique=true").status == 400


def test_a_request_too_large_is_refused_in_french(url: str):
    answer = ask(f"{url}/v1/entitlements:compute", {"foyer": {"numero_allocataire": "a" * (5 << 20)}})
    assert answer.status == 413
    assert answer.json["message"] == "La demande est trop grande."


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /v1/foyers/1 HTTP/1.1\r\nhost: x\r\n",
        b"POST /v1/entitlements:compute HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
    ],
    ids=["headers", "body"],
)
def test_a_request_that_does_not_end_is_not_waited_for(sent: bytes):
    settings = GatewaySettings(listen="127.0.0.1:0", server="127.0.0.1:1", request_seconds=1)
    with running_gateway(settings) as gateway:
        host, _, port = gateway.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(sent)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 408")
    assert "TIME_LIMIT" in answer.decode()


def test_nothing_but_the_rpcs_of_the_front_ends_passes(services: Served):
    answer = ask(f"{services.gateway}/solidarite.v1.DeclarationService/DecideRectification", {})
    assert answer.status == 404
    assert answer.detail("ErrorInfo")["reason"] == "NOT_FOUND"
    with grpc.insecure_channel(services.gateway.removeprefix("http://")) as channel:
        stub = foyer_pb2_grpc.FoyerServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.UpsertFoyer(foyer_pb2.UpsertFoyerRequest(), timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert refused.value.details() == "La passerelle ne donne pas accès à cette opération."


def test_grpc_itself_passes_too_with_its_rich_errors(services: Served, bearer: dict[str, str]):
    address = services.gateway.removeprefix("http://")
    with SolidariteClient(address, ClientSettings(token=services.service.token("0000002"))) as client:
        assert client.prefill_declaration("0000002", "2026-11").lines
    request = foyer_pb2.GetFoyerRequest(numero_allocataire="X")
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as refused:
        foyer_pb2_grpc.FoyerServiceStub(channel).GetFoyer(request, timeout=10, metadata=tuple(bearer.items()))
    details = rpc_status.from_call(refused.value).details
    (info,) = [one for one in details if one.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    found = error_details_pb2.ErrorInfo()
    info.Unpack(found)
    assert found.reason == "FOYER_UNKNOWN"


def test_a_token_is_asked_for_and_opens_one_household_only(services: Served, bearer: dict[str, str]):
    nobody = ask(f"{services.gateway}/v1/foyers/0000002")
    assert (nobody.status, nobody.detail("ErrorInfo")["reason"]) == (401, "UNAUTHENTICATED")
    forged = ask(f"{services.gateway}/v1/foyers/0000002", authorization=bearer["authorization"][:-4] + "AAAA")
    assert (forged.status, forged.detail("ErrorInfo")["reason"]) == (401, "UNAUTHENTICATED")
    other = ask(f"{services.gateway}/v1/foyers/0000001", **bearer)
    assert (other.status, other.detail("ErrorInfo")["reason"]) == (404, "FOYER_UNKNOWN")


def test_a_watch_writes_one_line_of_json_a_notice(url: str, bearer: dict[str, str]):
    request = urllib.request.Request(f"{url}/v1/foyers/0000002/declarations/2026/11:watch", headers=bearer)
    with urllib.request.urlopen(request, timeout=20) as stream:
        first = json.loads(stream.readline())
    assert first["changes"] == []
    assert first["etag"]


def test_an_origin_that_was_named_may_call_and_read_errors(url: str, bearer: dict[str, str]):
    for path in ("/solidarite.v1.FoyerService/GetFoyer", "/v1/foyers/0000002"):
        preflight = {"origin": PORTAL, "access-control-request-method": "POST"}
        answer = ask(f"{url}{path}", method="OPTIONS", **preflight)
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == PORTAL
        assert "authorization" in answer.headers["access-control-allow-headers"]
    for answer in (
        ask(f"{url}/v1/foyers/0000002", origin=PORTAL, **bearer),
        ask(f"{url}/v1/foyers/INCONNU", origin=PORTAL, **bearer),
        ask(f"{url}/v1/entitlements:compute", b"garbage", origin=PORTAL),
        ask(f"{url}/v1/inconnu", origin=PORTAL),
    ):
        assert answer.headers["access-control-allow-origin"] == PORTAL
        assert "grpc-status-details-bin" in answer.headers["access-control-expose-headers"]


def test_another_origin_gets_no_permission(url: str):
    answer = ask(
        f"{url}/v1/foyers/0000002",
        method="OPTIONS",
        **{"origin": "https://autre.example", "access-control-request-method": "GET"},
    )
    assert answer.headers["access-control-allow-origin"] is None
    assert (
        ask(f"{url}/v1/foyers/0000002", origin="https://autre.example").headers["access-control-allow-origin"] is None
    )


def test_without_a_server_the_answer_says_to_try_again():
    settings = GatewaySettings(listen="127.0.0.1:0", server="127.0.0.1:1")
    with running_gateway(settings) as gateway:
        answer = ask(f"{gateway.url}/v1/foyers/0000002")
        assert (answer.status, answer.json["code"]) == (503, 14)
        assert answer.detail("ErrorInfo")["reason"] == "SERVER_UNREACHABLE"
        assert answer.detail("RetryInfo")["retry_delay"] == "1s"
        with grpc.insecure_channel(gateway.url.removeprefix("http://")) as channel:
            stub = declaration_pb2_grpc.DeclarationServiceStub(channel)
            with pytest.raises(grpc.RpcError) as refused:
                stub.GetDeclaration(declaration_pb2.GetDeclarationRequest(), timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        details = rpc_status.from_call(refused.value).details
        assert {one.TypeName() for one in details} >= {"google.rpc.ErrorInfo", "google.rpc.RetryInfo"}
        assert ask(f"{gateway.url}/").status == 404, "no page unless asked for"


def test_tls_is_spoken_with_browsers_and_with_the_server(services: Served, bearer: dict[str, str], tmp_path: Path):
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.private_key_pem.write_to_path(key)
    for part in certificate.cert_chain_pems:
        part.write_to_path(chain, append=True)
    settings = GatewaySettings(
        listen="127.0.0.1:0",
        server=services.service.portals,
        server_ca_file=services.service.ca_file,
        tls_certificate_file=chain,
        tls_key_file=key,
    )
    with running_gateway(settings) as gateway:
        context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        assert gateway.url.startswith("https://127.0.0.1:")
        request = urllib.request.Request(f"{gateway.url}/v1/foyers/0000002", headers=bearer)
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            assert json.load(answer)["foyer"]["membres"]


@pytest.mark.parametrize("option", [{"listen": "0.0.0.0:0"}, {"server": "192.0.2.1:50051"}], ids=str)
def test_plain_text_beyond_the_machine_is_refused(option: dict[str, str]):
    with pytest.raises(GatewayError, match="--allow-plaintext"), running_gateway(GatewaySettings(**option)):
        pass


def test_a_server_with_another_certificate_is_not_spoken_to(services: Served, bearer: dict[str, str], tmp_path: Path):
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    settings = GatewaySettings(listen="127.0.0.1:0", server=services.service.portals, server_ca_file=stranger)
    with running_gateway(settings) as gateway:
        assert ask(f"{gateway.url}/v1/foyers/0000002", **bearer).detail("ErrorInfo")["reason"] == "SERVER_UNREACHABLE"


def test_a_port_already_taken_is_said(url: str):
    taken = url.removeprefix("http://")
    with pytest.raises(GatewayError, match="est déjà pris"), running_gateway(GatewaySettings(listen=taken)):
        pass


@pytest.mark.parametrize(
    "given",
    [
        {"listen": "8080"},
        {"server": "localhost:http"},
        {"origins": ("portail.example",)},
        {"tls_key_file": __file__},
        {"server_ca_file": "absent.pem"},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(given: dict[str, Any]):
    with pytest.raises(ValidationError):
        GatewaySettings(**given)


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "SOLIDARITE_GATEWAY_LISTEN": "127.0.0.1:0"}
    return subprocess.Popen(
        [sys.executable, "-m", "solidarite_client", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def envoys_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if Path(f"/proc/{child}/comm").read_text().strip() == "envoy"]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_the_command_leaves_no_envoy_behind(number: signal.Signals):
    with start("gateway", "--listen", "127.0.0.1:0", "--server", "127.0.0.1:1") as process:
        line = process.stdout.readline()
        assert line.startswith("Passerelle prête sur http://127.0.0.1:"), line
        (envoy,) = envoys_of(process.pid)
        process.send_signal(number)
        assert process.wait(20) == (0 if number is not signal.SIGKILL else -signal.SIGKILL)
    until = time.monotonic() + 10
    while alive(envoy) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(envoy)


# effect: gateway_listen
def test_serve_with_gateway_starts_both(tmp_path: Path):
    store = f"sqlite:///{tmp_path / 's.db'}"
    with start("serve", "--listen", "127.0.0.1:0", "--store", store, "--with-gateway") as process:
        line = next(line for line in process.stdout if line.startswith("Passerelle prête"))
        gateway = line.split(" sur ")[1].strip().removesuffix(".")
        assert ask(f"{gateway}/v1/foyers/0000002").detail("ErrorInfo")["reason"] == "FOYER_UNKNOWN"
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gateway", "--listen", "8080"), "--listen : attendu : hôte:port"),
        (("serve", "--with-gateway", "--workers", "2"), "avec un seul processus"),
    ],
    ids=["gateway", "serve"],
)
def test_what_cannot_work_is_said_and_nothing_starts(arguments: tuple[str, ...], said: str):
    with start(*arguments) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said in errors
    assert output == ""


@pytest.mark.skipif(not page_files(), reason="the page is not built")
def test_the_page_is_served_under_a_strict_policy(url: str):
    answer = ask(f"{url}/")
    policy = answer.headers["content-security-policy"]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
