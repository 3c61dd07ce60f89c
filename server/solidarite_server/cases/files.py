"""Files of cases and of rights by their suffix, and the processes that compute them."""

from __future__ import annotations

import gzip
import multiprocessing
import sys
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from solidarite_client._os_errors import os_error_text

from solidarite_server.cases.batch import Results, as_json, computed, warm
from solidarite_server.cases.loading import loading
from solidarite_server.legislation import LegislationOptions

if TYPE_CHECKING:
    import pyarrow as pa

TEXT, COLUMNAR, CSV = (".jsonl", ".ndjson"), (".arrow", ".parquet"), ".csv"
"""Suffixes; those of a text may be followed by .gz, and CSV is written only."""
_BLOCK_BYTES = 1 << 20
_CONVERTED_BYTES = 64 << 20
"""Larger blocks: a table is read faster in batches of tens of thousands of rows."""
_POOL_FROM_BYTES = 8 << 20
_TABLE_POOL_FROM_BYTES = 64 << 20
"""Starting processes costs more than computing a smaller file."""
_ROWS = 65_536

_Item = TypeVar("_Item")


class FileError(Exception):
    """A file that cannot be read or written at all; the text, in French, says what to do."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The lines of a file that begin at these bytes of it: what a process reads by itself."""

    source: Path
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a batch of an Arrow file: what a process reads by itself."""

    source: Path
    batch: int
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Done:
    """Cases computed: what to write, how many lines they took, and the refused ones by their line among these."""

    payload: str | Results | bytes
    """Lines of JSON; results; results as Arrow sends them from one process to another."""
    lines: int
    refusals: list[tuple[int, str]]


def compute_lines(options: str, explain: bool, text: bool, given: bytes | Piece) -> Done:
    """Compute whole lines of a file, in this process or another."""
    lines = given if isinstance(given, bytes) else read_piece(given)
    return _done(computed(lines, LegislationOptions.read(options), explain=explain), text)


def compute_file(
    source: Path, target: Path, options: str, workers: int, tell: Callable[[str], None], *, explain: bool = False
) -> int:
    """Compute the cases of a file into another, in order; returns how many were refused, each told in a line."""
    if target.exists() and source.exists() and target.samefile(source):
        raise FileError(f"{target} est le fichier des cas : donnez un autre nom à la sortie")
    columnar = _form(source, COLUMNAR) in COLUMNAR
    text = _form(target, (*COLUMNAR, CSV)) in TEXT
    if explain and (columnar or not text):
        raise FileError("--explain lit et écrit du JSON Lines : choisissez des fichiers .jsonl")
    refused, before = 0, 0
    with ExitStack() as stack:
        if columnar:
            done = stack.enter_context(_tables_computed(source, options, text, workers))
        else:
            done = stack.enter_context(_lines_computed(source, options, explain, text, workers))
        with loading():
            first = next(done, None)
        write = stack.enter_context(_writer(target))
        for part in () if first is None else chain((first,), done):
            write(part.payload)
            refused += len(part.refusals)
            for line, message in part.refusals:
                tell(f"Ligne {before + line} : {message}")
            before += part.lines
    return refused


def convert_file(source: Path, target: Path, tell: Callable[[str], None]) -> int:
    """Rewrite a file of JSON cases as a table; returns how many cases were refused, each told in a line."""
    table = _table()
    from solidarite_server.cases.batch import facts_of

    if _form(source, COLUMNAR) in COLUMNAR or _form(target, COLUMNAR) not in COLUMNAR:
        raise FileError("la conversion lit un fichier .jsonl[.gz] et écrit un fichier .arrow ou .parquet")
    refused, before = 0, 0
    with _batches_to(target, table.CASES) as write:
        for lines in whole_lines(source, _CONVERTED_BYTES):
            facts, ids, refusals = facts_of(lines)
            write(table.cases_of(facts, ids))
            refused += len(refusals)
            for line, message in refusals:
                tell(f"Ligne {before + line} : {message}")
            before += lines.count(b"\n")
    return refused


def _form(path: Path, accepted: tuple[str, ...]) -> str:
    """The format that the name of a file says; a pipe or a terminal holds JSON Lines."""
    if path.exists() and not path.is_file():
        return TEXT[0]
    bare = path.with_suffix("") if path.suffix == ".gz" else path
    if bare.suffix in TEXT or (bare.suffix in accepted and bare == path):
        return bare.suffix
    raise FileError(f"{path.name} : la terminaison du nom dit le format : {', '.join((*TEXT, '.jsonl.gz', *accepted))}")


def whole_lines(source: Path, size: int) -> Iterator[bytes]:
    """A file cut at the end of a line about every `size` bytes; decompressed when its name ends with .gz."""
    opener: Any = gzip.open if source.suffix == ".gz" else open
    with _readable(source), opener(source, "rb") as file:
        while block := file.read(size):
            yield block if block.endswith(b"\n") else block + file.readline()


def read_piece(piece: Piece) -> bytes:
    """The lines that begin within a piece, the last one whole."""
    with _readable(piece.source), piece.source.open("rb") as file:
        if piece.start:
            file.seek(piece.start - 1)
            file.readline()
        block = file.read(max(0, piece.stop - file.tell()))
        return block if not block or block.endswith(b"\n") else block + file.readline()


@contextmanager
def _readable(source: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{source} ne se lit pas : {_reason(error)}") from error


def _reason(error: Exception) -> str:
    # What does not come from the system comes from the content.
    if isinstance(error, OSError) and error.errno:
        return os_error_text(error)
    return "le fichier est abîmé ou incomplet"


def _done(results: Results, text: bool) -> Done:
    return Done(as_json(results) if text else results, results.lines, results.refusals())


@contextmanager
def _lines_computed(source: Path, options: str, explain: bool, text: bool, workers: int) -> Iterator[Iterator[Done]]:
    work = partial(compute_lines, options, explain, text)
    size, compressed = _size(source), source.suffix == ".gz"
    if workers == 1 or size * (10 if compressed else 1) < _POOL_FROM_BYTES:
        yield map(work, whole_lines(source, _BLOCK_BYTES))
        return
    given: Iterable[bytes | Piece] = whole_lines(source, _BLOCK_BYTES)
    if not compressed:
        given = (Piece(source, start, start + _BLOCK_BYTES) for start in range(0, size, _BLOCK_BYTES))
    with _pool(options, workers) as pool:
        yield _waiting(pool, work, given, 3 * workers)


@contextmanager
def _tables_computed(source: Path, options: str, text: bool, workers: int) -> Iterator[Iterator[Done]]:
    table, chosen = _table(), LegislationOptions.read(options)
    if workers == 1 or source.suffix != ".arrow" or _size(source) < _TABLE_POOL_FROM_BYTES:
        yield (_done(table.computed(batch, chosen), text) for batch in _batches_from(source, table))
        return
    with _readable_table(source, table), _opened_arrow(source) as file:
        table.check_schema(file.schema)
        lengths = [len(file.get_batch(place)) for place in range(file.num_record_batches)]
    given = (Rows(source, place, start, _ROWS) for place, rows in enumerate(lengths) for start in range(0, rows, _ROWS))
    with _pool(options, workers) as pool:
        yield _waiting(pool, partial(compute_rows, options, text), given, 3 * workers)


def compute_rows(options: str, text: bool, rows: Rows) -> Done:
    """Compute some rows of an Arrow file, in another process."""
    table = _table()
    with _readable_table(rows.source, table), _opened_arrow(rows.source) as file:
        batch = file.get_batch(rows.batch).slice(rows.start, rows.count)
        batch.validate(full=True)
        results = table.computed(batch, LegislationOptions.read(options))
        done = _done(results, text)
        return done if text else replace(done, payload=table.rights_of(results).serialize().to_pybytes())


@contextmanager
def _pool(options: str, workers: int) -> Iterator[ProcessPoolExecutor]:
    # This process compiles, or loads, what the others inherit; where they cannot they load it themselves. Threads in
    # place of processes wait for each other: no gain on 1,000,000 rows by two.
    ready = partial(warm, LegislationOptions.read(options))
    with loading():
        ready()
    alone = sys.platform == "linux" and threading.active_count() == 1
    context = multiprocessing.get_context("fork" if alone else "spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=None if alone else ready) as pool:
        yield pool


def _size(source: Path) -> int:
    return source.stat().st_size if source.is_file() else 0


def _waiting(
    pool: ProcessPoolExecutor, work: Callable[[_Item], Done], given: Iterable[_Item], ahead: int
) -> Iterator[Done]:
    """Results in the order of what is given, with a bounded number of them under way."""
    under_way: deque[Future[Done]] = deque()
    for item in given:
        under_way.append(pool.submit(work, item))
        if len(under_way) == ahead:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


def _table() -> Any:
    try:
        from solidarite_server.cases import table
    except ImportError:
        raise FileError(
            "les fichiers .arrow, .parquet et .csv demandent pyarrow : pip install 'solidarite-source[columnar]'"
        ) from None
    return table


def _batches_from(source: Path, table: Any) -> Iterator[pa.RecordBatch]:
    with _readable_table(source, table):
        if source.suffix == ".parquet":
            import pyarrow.parquet as pq

            with pq.ParquetFile(source) as file:
                table.check_schema(file.schema_arrow)
                yield from file.iter_batches(batch_size=_ROWS)
        else:
            with _opened_arrow(source) as file:
                table.check_schema(file.schema)
                for place in range(file.num_record_batches):
                    batch = file.get_batch(place)
                    batch.validate(full=True)
                    yield from (batch.slice(start, _ROWS) for start in range(0, len(batch), _ROWS))


@contextmanager
def _opened_arrow(source: Path) -> Iterator[pa.ipc.RecordBatchFileReader]:
    import pyarrow as pa

    with pa.memory_map(str(source)) as mapped, pa.ipc.open_file(mapped) as file:
        yield file


@contextmanager
def _readable_table(source: Path, table: Any) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except pa.ArrowNotImplementedError as error:
        raise FileError(
            f"{source} : écrivez les textes de « personnes » et de « montants » sans dictionnaire (store_schema=False)"
        ) from error
    except (OSError, pa.ArrowException) as error:
        raise FileError(f"{source} ne se lit pas comme une table Arrow ou Parquet : {_reason(error)}") from error
    except table.TableError as error:
        raise FileError(f"{source} : {error} (schéma : docs/moteur.md)") from error


@contextmanager
def _writer(target: Path) -> Iterator[Callable[[Any], object]]:
    if target.suffix in (*COLUMNAR, CSV):
        table = _table()
        with _batches_to(target, table.RIGHTS) as write:
            yield lambda results: write(table.rights_from(results))
        return
    try:
        with _text_to(target) as out:
            yield out.write
    except OSError as error:
        raise FileError(f"{target} ne s'écrit pas : {_reason(error)}") from error


def _text_to(target: Path) -> IO[str]:
    if target.suffix == ".gz":
        return gzip.open(target, "wt", compresslevel=6, encoding="utf-8")
    return target.open("w", encoding="utf-8")


@contextmanager
def _batches_to(target: Path, schema: pa.Schema) -> Iterator[Callable[[Any], object]]:
    import pyarrow as pa

    try:
        if target.suffix == ".parquet":
            import pyarrow.parquet as pq

            # Without Arrow's own schema, texts come back as texts: it cannot read dictionaries inside lists (26.0).
            with pq.ParquetWriter(target, schema, store_schema=False) as writer:
                yield writer.write_batch
        elif target.suffix == CSV:
            from pyarrow import csv

            with csv.CSVWriter(target, schema) as writer:
                yield writer.write_batch
        else:
            with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                yield writer.write_batch
    except (OSError, pa.ArrowException) as error:
        raise FileError(f"{target} ne s'écrit pas : {_reason(error)}") from error
