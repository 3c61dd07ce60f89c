"""docs/frontaux/erreurs.md says of every reason of the contract what it means, what to show and what to do."""

import re
from pathlib import Path

from solidarite.v1 import error_reason_pb2

PAGE = Path(__file__).parents[2] / "docs" / "frontaux" / "erreurs.md"


def test_every_reason_is_in_the_catalogue_and_nothing_else():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith("| `")
    ]
    names = [value.name for value in error_reason_pb2.ErrorReason.DESCRIPTOR.values]
    reasons = {name.removeprefix("ERROR_REASON_") for name in names} - {"UNSPECIFIED"}
    assert {row[0].strip("`") for row in rows} == reasons
    assert len(rows) == len(reasons)
    assert all(len(row) == 5 and all(row) for row in rows)


def test_the_statuses_are_those_of_the_contract():
    contract = Path(__file__).parents[2] / "proto" / "solidarite" / "v1" / "error_reason.proto"
    said = dict(
        re.findall(r"// ERROR_REASON_(\w+): .*?Status (\w+)[.,]", contract.read_text("utf-8").replace("\n  //", ""))
    )
    text = PAGE.read_text("utf-8")
    for reason, status in said.items():
        assert f"| `{reason}` | {status}, " in text, reason
