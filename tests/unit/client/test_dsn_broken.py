"""A broken DSN file says line, rubric and what is expected, never the value, and yields nothing at all."""

import io
import random

import pytest
from solidarite_client.dsn import Item, read_dsn
from solidarite_client.errors import DsnError
from solidarite_client.models import DocumentSeal

from tests.unit.client.dsn_builder import NIR, declaration, dsn, encode, header, lines, net, payment, person

SECRET = "SECRET-9182"


def good_lines() -> list[str]:
    return lines(header(), declaration(person(payment(net()))))


def refusal(content: bytes) -> DsnError:
    """The error of a broken file; nothing may have come out before it."""
    with pytest.raises(DsnError) as caught:
        next(read_dsn(io.BytesIO(content)))
    return caught.value


def replaced(code: str, value: str | None, occurrence: int = 0) -> tuple[bytes, int]:
    """The good file with one rubric changed (or dropped, its total adapted), and the line where it stands."""
    text = good_lines()
    place = [n for n, line in enumerate(text) if line.startswith(code)][occurrence]
    if value is None:
        del text[place]
        text = [f"S90.G00.90.001,'{len(text)}'" if line.startswith("S90.G00.90.001") else line for line in text]
    else:
        text[place] = f"{code},'{value}'"
    return encode(text), place + 1


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("S10.G00.00.006", "P23V01"),
        ("S10.G00.00.006", "P27V01"),
        ("S10.G00.00.006", SECRET),
        ("S10.G00.01.001", "81234567"),
        ("S20.G00.05.001", "02"),
        ("S20.G00.05.002", "06"),
        ("S20.G00.05.002", ""),
        ("S20.G00.05.003", "1"),
        ("S20.G00.05.003", "21"),
        ("S20.G00.05.004", "0"),
        ("S20.G00.05.004", "-1"),
        ("S20.G00.05.004", "4294967296"),
        ("S20.G00.05.005", "15082026"),
        ("S20.G00.05.005", "082026"),
        ("S20.G00.05.005", "01132026"),
        ("S21.G00.06.001", "81234567A"),
        ("S21.G00.11.001", "13"),
        ("S21.G00.30.001", "284057599910"),
        ("S21.G00.30.001", "284057599910138"),
        ("S21.G00.30.001", "284052C999101"),
        ("S21.G00.30.001", "9840575999101"),
        ("S21.G00.30.001", SECRET),
        ("S21.G00.40.009", "C" * 21),
        ("S21.G00.40.009", "CONTRAT-É"),
        ("S21.G00.50.001", "31022026"),
        ("S21.G00.50.001", "2026-08-31"),
        ("S21.G00.50.001", "31081926"),
        ("S21.G00.50.001", "²1082026"),
        ("S21.G00.51.001", "00082026"),
        ("S21.G00.51.002", ""),
        ("S21.G00.51.010", "C" * 21),
        ("S21.G00.58.004", "1000"),
        ("S21.G00.58.004", "1000.1"),
        ("S21.G00.58.004", "1000,10"),
        ("S21.G00.58.004", "+1000.10"),
        ("S21.G00.58.004", "1e5"),
        ("S21.G00.58.004", "1 000.10"),
        ("S21.G00.58.004", "-"),
        ("S21.G00.58.004", "999999999999.99"),
        ("S21.G00.58.004", SECRET),
        ("S90.G00.90.001", "3"),
        ("S90.G00.90.001", "x"),
        ("S90.G00.90.002", "2"),
        ("S90.G00.90.002", "0"),
    ],
)
def test_a_bad_value_is_refused_at_its_line_and_rubric_without_being_repeated(code, value):
    content, line = replaced(code, value)
    error = refusal(content)
    assert (error.line, error.rubric) == (line, code)
    assert error.expected
    assert f"ligne {line}, rubrique {code} : " in str(error)
    if len(value) > 3:
        assert value not in str(error)


@pytest.mark.parametrize(
    "code",
    [
        "S10.G00.00.006", "S10.G00.01.001", "S20.G00.05.001", "S20.G00.05.002", "S20.G00.05.003", "S20.G00.05.004",
        "S20.G00.05.005", "S21.G00.06.001", "S21.G00.11.001", "S21.G00.30.001", "S21.G00.50.001", "S21.G00.58.003",
        "S21.G00.58.004", "S90.G00.90.002",
    ],
)  # fmt: skip
def test_a_missing_mandatory_rubric_is_named(code):
    content, _ = replaced(code, None)
    assert refusal(content).rubric == code


@pytest.mark.parametrize(
    "code",
    [
        "S10.G00.00.006", "S10.G00.01.001", "S20.G00.05.002", "S20.G00.05.004", "S21.G00.06.001", "S21.G00.11.001",
        "S21.G00.30.001", "S21.G00.40.009", "S21.G00.50.001", "S21.G00.51.010", "S21.G00.58.003", "S21.G00.58.004",
        "S90.G00.90.001",
    ],
)  # fmt: skip
def test_a_rubric_twice_in_a_row_is_refused_at_the_second(code):
    text = good_lines()
    place = next(n for n, line in enumerate(text) if line.startswith(code))
    text.insert(place, text[place])
    text[-2] = f"S90.G00.90.001,'{len(text)}'"
    error = refusal(encode(text))
    assert (error.line, error.rubric) == (place + 2, code)
    assert "double" in error.expected


@pytest.mark.parametrize("code", ["S10.G00.00.006", "S20.G00.05.003", "S21.G00.06.001", "S21.G00.11.001"])
def test_a_single_rubric_repeated_further_down_its_bloc_is_refused(code):
    text = good_lines()
    places = [n for n, line in enumerate(text) if line.startswith(code[:10])]
    text.insert(places[-1] + 1, next(line for line in text if line.startswith(code)))
    text[-2] = f"S90.G00.90.001,'{len(text)}'"
    assert refusal(encode(text)).rubric[:10] == code[:10]


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (1, "n'importe quoi"),
        (5, "S10.G00.00.006 'P26V01'"),
        (9, "S20.G00.05.002,'01"),
        (9, "S20.G00.05.002,01"),
        (9, "S20.G00.05.002,'"),
        (9, "S20.G00.5.002,'01'"),
        (9, "s20.g00.05.002,'01'"),
        (9, " S20.G00.05.002,'01'"),
        (9, "S20.G00.05.002,'01' "),
        (9, "S20.G00.05.002;'01'"),
        (9, ""),
        (9, "S21.G00.30.002,'A\tB'"),
        (9, "S21.G00.30.002,'A\x00B'"),
        (9, "S21.G00.30.002,'A\rB'"),
    ],
)
def test_a_line_that_is_not_a_rubric_is_refused_at_its_number(number, line):
    text = good_lines()
    text[number - 1] = line
    error = refusal(encode(text))
    assert error.line == number
    assert error.rubric in ("", line[:14])


@pytest.mark.parametrize("percent", range(1, 100, 7))
def test_a_file_cut_anywhere_is_refused(percent):
    content = dsn(declaration(person(payment(net()))), declaration(person(payment(net())), nic="00021"))
    assert refusal(content[: len(content) * percent // 100])


def test_a_file_cut_between_two_lines_says_that_it_is_incomplete():
    error = refusal(encode(good_lines()[:-2]))
    assert error.rubric == "S90.G00.90.001"
    assert "incomplet" in error.expected


def test_an_empty_file_is_refused():
    assert refusal(b"").line == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(encoding):
    error = refusal(encode(good_lines()).decode("latin-1").encode(encoding))
    assert (error.line, "UTF-16" in error.expected) == (1, True)


def test_a_utf_8_mark_is_named():
    error = refusal(b"\xef\xbb\xbf" + encode(good_lines()))
    assert (error.line, "UTF-8" in error.expected) == (1, True)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_refused_and_never_read_to_the_end_for_a_line(seed):
    noise = random.Random(seed)
    content = noise.randbytes(noise.choice([1, 100, 1_000_000]))
    assert refusal(content).line >= 1
    assert refusal(content.replace(b"\n", b"") or b"x").line == 1


def outcome(content: bytes) -> list[Item] | DsnError:
    try:
        return list(read_dsn(io.BytesIO(content)))
    except DsnError as error:
        return error


@pytest.mark.parametrize("seed", range(200))
def test_one_damaged_byte_gives_a_refusal_or_a_whole_reading(seed):
    noise = random.Random(seed)
    content = bytearray(dsn(declaration(person(payment(net())))))
    content[noise.randrange(len(content))] = noise.randrange(256)
    found = outcome(bytes(content))
    if isinstance(found, DsnError):
        assert NIR not in str(found)
    else:
        assert isinstance(found[-1], DocumentSeal)


def test_a_declaration_before_the_sending_is_refused():
    body = declaration(person(payment(net())))
    assert refusal(encode(lines(body, header()))).rubric == "S20.G00.05.001"


def test_a_declaration_without_its_sender_is_refused():
    assert refusal(encode(lines(header()[:3], declaration()))).rubric == "S20.G00.05.001"


@pytest.mark.parametrize(
    ("missing", "named"),
    [("S21.G00.06", "S21.G00.11.001"), ("S21.G00.30", "S21.G00.40.001"), ("S21.G00.50", "S21.G00.51.001")],
)
def test_a_bloc_without_its_parent_is_refused(missing, named):
    body = [rubric for rubric in declaration(person(payment(net()))) if not rubric[0].startswith(missing)]
    assert refusal(encode(lines(header(), body))).rubric == named


def test_an_amount_right_after_another_person_does_not_fall_to_the_one_before():
    body = declaration(person(payment(net())), person(net(), nir="1901175999102", contracts=[]))
    assert refusal(encode(lines(header(), body))).rubric == "S21.G00.58.003"


def test_a_declaration_without_establishment_is_refused():
    body = [rubric for rubric in declaration() if not rubric[0].startswith("S21.G00.11")]
    assert refusal(encode(lines(header(), body))).rubric == "S20.G00.05.001"


def test_the_same_declaration_twice_in_a_file_is_refused():
    assert "déjà présente" in refusal(dsn(declaration(), declaration())).expected


def test_another_order_of_the_same_declaration_may_stand_in_the_same_file():
    assert len(list(read_dsn(io.BytesIO(dsn(declaration(), declaration(kind="05", order="2")))))) == 2


def test_an_amount_in_a_declaration_neant_is_refused():
    assert refusal(dsn(declaration(person(payment(net())), kind="02"))).rubric == "S21.G00.58.003"


@pytest.mark.parametrize(
    "dates", [("31082026", "01082026"), ("30092026", "30092026"), ("01082026", "31022026")], ids=str
)
def test_dates_of_an_amount_that_cannot_be_understood_are_refused(dates):
    assert refusal(dsn(declaration(person(payment(net(dates=dates)))))).rubric.startswith("S21.G00.58.00")


def test_one_date_of_an_amount_without_the_other_is_refused():
    half = [("S21.G00.58.001", "31082026"), *net()]
    assert refusal(dsn(declaration(person(payment(half))))).rubric == "S21.G00.58.002"


def test_anything_after_the_totals_is_refused():
    text = [*good_lines(), "S21.G00.30.001,'" + NIR + "'"]
    assert refusal(encode(text)).line == len(text)


def test_a_file_without_any_declaration_is_refused():
    assert refusal(encode(lines(header()))).rubric == "S90.G00.90.001"


def test_the_control_without_a_first_reading_lets_records_out_before_the_error():
    content, _ = replaced("S90.G00.90.001", "3")
    stream = read_dsn(io.BytesIO(content), check_first=False)
    assert next(stream)
