"""Files of cases and of rights by their suffix, and the processes that compute them."""

from __future__ import annotations

import gzip
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from solidarite_client._os_errors import os_error_text

from solidarite_server.cases.batch import Block, Results, as_json, blocks_of, computed
from solidarite_server.engine import warm_up
from solidarite_server.legislation import LegislationOptions

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNAR = (".arrow", ".parquet")
_CHUNK_BYTES = 1 << 20
_CONVERTED_BYTES = 64 << 20
"""Larger blocks: a table is read faster in batches of tens of thousands of rows."""
_POOL_FROM_BYTES = 8 << 20
_ROWS = 65_536


class FileError(Exception):
    """A file that cannot be read or written at all; the text, in French, says what to do."""


@dataclass(frozen=True, slots=True)
class Done:
    """A block computed: what to write, how many cases were refused, and what to tell of them."""

    payload: str | Results
    refused: int
    messages: list[str]


def compute_block(options: str, explain: bool, text: bool, block: Block) -> Done:
    """Compute a block of lines, in this process or another."""
    return _done(computed(block, LegislationOptions.read(options), explain=explain), text)


def compute_file(
    source: Path, target: Path, options: str, workers: int, tell: Callable[[str], None], *, explain: bool = False
) -> int:
    """Compute the cases of a file into another, in order; returns how many were refused, each told in a line."""
    if target.exists() and source.exists() and target.samefile(source):
        raise FileError(f"{target} est le fichier des cas : donnez un autre nom à la sortie")
    text = target.suffix not in COLUMNAR
    if explain and (source.suffix in COLUMNAR or not text):
        raise FileError("--explain lit et écrit du JSON Lines : choisissez des fichiers .jsonl")
    work = partial(compute_block, options, explain, text)
    refused = 0
    with ExitStack() as stack:
        done = _computed_batches(source, options, text) if source.suffix in COLUMNAR else None
        if done is None:
            done = stack.enter_context(_in_order(work, blocks_of(chunks(source)), _workers(source, workers)))
        first = next(done, None)
        write = stack.enter_context(_writer(target))
        for block in _chain(first, done):
            write(block.payload)
            refused += block.refused
            for message in block.messages:
                tell(message)
    return refused


def convert_file(source: Path, target: Path, tell: Callable[[str], None]) -> int:
    """Rewrite a file of JSON cases as a table; returns how many cases were refused, each told in a line."""
    table = _table()
    from solidarite_server.cases.batch import facts_of

    if target.suffix not in COLUMNAR or source.suffix in COLUMNAR:
        raise FileError("la conversion lit un fichier .jsonl[.gz] et écrit un fichier .arrow ou .parquet")
    refused = 0
    with _batches_to(target, table.CASES) as write:
        for block in blocks_of(chunks(source, _CONVERTED_BYTES)):
            facts, ids, messages = facts_of(block)
            write(table.cases_of(facts, ids))
            refused += len(messages)
            for message in messages:
                tell(message)
    return refused


def chunks(source: Path, size: int = _CHUNK_BYTES) -> Iterator[bytes]:
    """The bytes of a file, decompressed when its name ends with .gz."""
    opener: Any = gzip.open if source.suffix == ".gz" else open
    try:
        with opener(source, "rb") as file:
            while chunk := file.read(size):
                yield chunk
    except (OSError, EOFError) as error:
        raise FileError(f"{source} ne se lit pas : {_reason(error)}") from error


def _reason(error: Exception) -> str:
    # What does not come from the system comes from the content.
    if isinstance(error, OSError) and error.errno:
        return os_error_text(error)
    return "le fichier est abîmé ou incomplet"


def _chain(first: Done | None, others: Iterator[Done]) -> Iterator[Done]:
    if first is not None:
        yield first
    yield from others


def _done(results: Results, text: bool) -> Done:
    return Done(as_json(results) if text else results, len(results.errors), results.messages())


def _workers(source: Path, asked: int) -> int:
    """Starting a process costs more than computing a small file."""
    try:
        small = source.stat().st_size * (10 if source.suffix == ".gz" else 1) < _POOL_FROM_BYTES
    except OSError:
        small = True
    return 1 if small else asked


@contextmanager
def _in_order(work: Callable[[Block], Done], blocks: Iterator[Block], workers: int) -> Iterator[Iterator[Done]]:
    if workers <= 1:
        yield map(work, blocks)
        return
    # The first process compiles what the others read from the cache.
    warm_up()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=warm_up) as pool:
        yield _waiting(pool, work, blocks, 3 * workers)


def _waiting(
    pool: ProcessPoolExecutor, work: Callable[[Block], Done], blocks: Iterator[Block], ahead: int
) -> Iterator[Done]:
    """Results in the order of the blocks, with a bounded number of them under way."""
    under_way: deque[Future[Done]] = deque()
    for block in blocks:
        under_way.append(pool.submit(work, block))
        if len(under_way) == ahead:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


def _table() -> Any:
    try:
        from solidarite_server.cases import table
    except ImportError:
        raise FileError(
            "les fichiers .arrow et .parquet demandent pyarrow : pip install 'solidarite-source[columnar]'"
        ) from None
    return table


def _computed_batches(source: Path, options: str, text: bool) -> Iterator[Done]:
    table, chosen = _table(), LegislationOptions.read(options)
    row = 1
    for batch in _batches_from(source, table):
        yield _done(table.computed(batch, chosen, row), text)
        row += len(batch)


def _batches_from(source: Path, table: Any) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if source.suffix == ".parquet":
            with pq.ParquetFile(source) as file:
                table.check_schema(file.schema_arrow)
                yield from file.iter_batches(batch_size=_ROWS)
        else:
            with pa.memory_map(str(source)) as mapped, pa.ipc.open_file(mapped) as file:
                table.check_schema(file.schema)
                for place in range(file.num_record_batches):
                    batch = file.get_batch(place)
                    batch.validate(full=True)
                    yield from (batch.slice(start, _ROWS) for start in range(0, len(batch), _ROWS))
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
    if target.suffix in COLUMNAR:
        table = _table()
        with _batches_to(target, table.RIGHTS) as write:
            yield lambda results: write(table.rights_of(results))
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
    import pyarrow.parquet as pq

    try:
        if target.suffix == ".parquet":
            # Without Arrow's own schema, texts come back as texts: it cannot read dictionaries inside lists (26.0).
            with pq.ParquetWriter(target, schema, store_schema=False) as writer:
                yield writer.write_batch
        else:
            with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                yield writer.write_batch
    except (OSError, pa.ArrowException) as error:
        raise FileError(f"{target} ne s'écrit pas : {_reason(error)}") from error
