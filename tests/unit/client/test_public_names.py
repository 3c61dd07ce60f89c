"""The public surface is small, pinned, the same for both clients, and light to import."""

import inspect
import subprocess
import sys

import pytest
import solidarite_client
from solidarite_client import AsyncSolidariteClient, SolidariteClient

EVERYTHING = "from solidarite_client import SolidariteClient, AsyncSolidariteClient, read_file, Spool"


def test_the_exported_names_are_these():
    assert solidarite_client.__all__ == [
        "AsyncSolidariteClient", "CallError", "ClientSettings", "DocumentRef", "DocumentSeal", "FileError",
        "FluxSource", "IngestSummary", "Mode", "Month", "NatureRessource", "Refusal", "ReplacementIncome",
        "ResourceRecord", "SolidariteClient", "SolidariteError", "Spool", "Tls", "accept", "add", "check_dsn",
        "confirm", "read_dsn", "read_file", "rectify", "reject", "remove", "retain",
    ]  # fmt: skip


def test_every_exported_name_exists_and_is_documented():
    for name in solidarite_client.__all__:
        assert inspect.getdoc(getattr(solidarite_client, name)), name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        _ = solidarite_client.nothing


def public(kind: type) -> dict[str, inspect.Signature]:
    members = inspect.getmembers(kind, inspect.isfunction)
    return {name: inspect.signature(member) for name, member in members if not name.startswith("_")}


def shape(signature: inspect.Signature) -> list:
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


def test_both_clients_have_the_same_methods_with_the_same_parameters():
    ordinary, asynchronous = public(SolidariteClient), public(AsyncSolidariteClient)
    assert set(ordinary) == set(asynchronous)
    for name in ordinary:
        shapes = [
            [(p.name, p.kind, p.default) for p in client[name].parameters.values()]
            for client in (ordinary, asynchronous)
        ]
        assert shapes[0] == shapes[1], name


def test_every_call_of_the_contract_has_a_method():
    from solidarite.v1 import (
        campaign_pb2,
        declaration_pb2,
        entitlement_pb2,
        foyer_pb2,
        resource_record_pb2,
        simulation_pb2,
    )

    modules = (resource_record_pb2, foyer_pb2, declaration_pb2, entitlement_pb2, campaign_pb2, simulation_pb2)
    calls = {
        method.name
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    methods = {"".join(part.capitalize() for part in name.split("_")) for name in public(SolidariteClient)}
    assert calls - methods == {"StreamResourceRecords"}, "which is `ingest`"


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("from solidarite_client import SolidariteClient, AsyncSolidariteClient, read_file, Spool", "numpy"),
        (
            "from solidarite_client import SolidariteClient, AsyncSolidariteClient, read_file, Spool",
            "solidarite_server",
        ),
        ("from solidarite_client import SolidariteClient", "typer"),
        ("import solidarite_client.cli_app", "grpc"),
    ],
)
def test_importing_the_client_does_not_bring(statement, unwanted):
    program = f"import sys; {statement}; sys.exit({unwanted!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_examples_of_the_documentation_strings_run():
    import doctest
    from importlib import import_module

    for module in ("models", "plain", "spool", "_settings", "cli_common"):
        assert doctest.testmod(import_module(f"solidarite_client.{module}")).failed == 0, module
