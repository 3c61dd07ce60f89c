"""A NIR in a free text is seen however people write it."""

import pytest
from solidarite_server.domain.nir import holds_nir


@pytest.mark.parametrize(
    "text",
    ["2550814168025", "n° 255081416802538.", "2 55 08 14 168 025", "2 55 08 14 168 025 38", "2.55.08.2A.168.025",
     "2-55-08-14-168-025", "2\u00a055\u00a008\u00a014\u00a0168\u00a0025",
     "2\u202f55\u202f08\u202f2b\u202f168\u202f025"],
)  # fmt: skip
def test_a_nir_is_seen_in_one_piece_and_in_groups(text: str):
    assert holds_nir(text)


@pytest.mark.parametrize(
    "text",
    ["", "BULLETIN-2026-08", "2 550 814 168 025 €", "12 55 08 14 168 025", "2 55 13 14 168 025", "81234567800013",
     "123 456 789 00013", "01 42 55 08 14", "2026-11-25 10:20:30", "8d1f2a34-1255-4814-9680-251234567890"],
)  # fmt: skip
def test_other_numbers_are_not_taken_for_one(text: str):
    assert not holds_nir(text)
