"""Whatever declarations are filed, in whatever order and however often, the newest of each document counts."""

import io
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st
from solidarite_client.dsn import read_dsn

from tests.unit.client.dsn_builder import declaration, dsn, net, payment, person
from tests.unit.client.test_dsn_truth import Ledger

PEOPLE = ("2840575999101", "1901175999102", "181032A999104")
DAYS = {"31072026": "2026-07", "05082026": "2026-08", "31082026": "2026-08", "30092026": "2026-09"}

amounts = st.integers(-500_000, 500_000)
payments = st.tuples(
    st.sampled_from(PEOPLE), st.sampled_from(sorted(DAYS)), st.sampled_from(["C1", "C2"]), amounts, st.none() | amounts
)
"""Person, day of payment, contract, cents, and the cents of a correction of the payment of 15 June, if any."""
filings = st.dictionaries(
    st.tuples(st.sampled_from(["00013", "00021"]), st.sampled_from(["01072026", "01082026"]), st.integers(1, 3)),
    st.tuples(st.sampled_from(["01", "03", "04"]), st.lists(payments, max_size=4)),
    max_size=6,
)
"""(establishment, month, order number) → (kind, payments): a document version has one content."""


def euros(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def file_of(nic: str, month: str, order: int, kind: str, paid: list) -> bytes:
    people = []
    for nir, day, contract, cents, correction in paid:
        nets = [net(euros(cents))]
        if correction is not None:
            nets.append(net(euros(correction), dates=("15062026", "15062026")))
        people.append(person(payment(*nets, paid=day, contract=contract), nir=nir, contracts=[contract]))
    return dsn(declaration(*people, kind=kind, order=str(order), month=month, nic=nic))


def expected(found: dict) -> dict[str, dict[str, int]]:
    newest: dict[tuple[str, str], int] = {}
    for nic, month, order in found:
        newest[nic, month] = max(order, newest.get((nic, month), 0))
    totals: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for (nic, month), order in newest.items():
        kind, paid = found[nic, month, order]
        for nir, day, _, cents, correction in paid if kind != "04" else []:
            totals[nir][DAYS[day]] += cents
            if correction is not None:
                totals[nir]["2026-06"] += correction
    return totals


@given(filings, st.data())
def test_the_months_depend_on_the_set_of_files_only(found, data):
    files = [file_of(*key, *content) for key, content in found.items()]
    ledger = Ledger()
    for file in data.draw(
        st.permutations(files + data.draw(st.lists(st.sampled_from(files), max_size=3)) if files else [])
    ):
        ledger.receive(read_dsn(io.BytesIO(file)))
    totals = expected(found)
    for nir in PEOPLE:
        assert ledger.months(nir) == totals[nir]
