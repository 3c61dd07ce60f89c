"""Time of the answer for a dossier that is forbidden, and for one that does not exist: they must not tell them apart.

`python -m loadtests.benchmarks.enumeration` prints JSON: quartiles in microseconds, on a real TLS server, the kinds of
calls in turn, and the ratios of the medians. A third kind, a dossier that may be seen, is the control.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from solidarite_client import ClientSettings, SolidariteClient, Tls
from solidarite_client.errors import NotFound
from solidarite_server import authority
from solidarite_server.bootstrap import start_server
from solidarite_server.services import keyring
from solidarite_server.settings import Settings

from loadtests.benchmarks.filled import fill, numero

FOYERS = 20_000


def measured(folder: Path, calls: int) -> dict[str, object]:
    """Fill a store, serve it, ask for dossiers of each kind in turn."""
    store, auth = folder / "enumeration.db", folder / "auth"
    fill(f"sqlite:///{store}", FOYERS, keyring.load_or_create(folder / "enumeration.db.key"))
    authority.create(auth, ["127.0.0.1"], store)
    settings = Settings(
        listen="127.0.0.1:0",
        store=f"sqlite:///{store}",
        tls_certificate_file=auth / "server.pem",
        tls_key_file=auth / "server.key",
        token_keys_file=auth / authority.PUBLIC_KEYS,
        log_calls="none",
    )
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    server = asyncio.run_coroutine_threadsafe(start_server(settings), loop).result(120)
    token = authority.make_token(
        auth, kind="portail", subject="mesure", scopes=["foyers.read"], dossier=numero(0), purpose="", seconds=3_600
    )
    tls = Tls(root_certificates=auth / "authority.pem")
    found: dict[str, list[float]] = {"forbidden": [], "unknown": [], "own": []}
    client_settings = ClientSettings.model_validate({"tls": tls, "token": token, "attempts": 1})
    with SolidariteClient(server.address, client_settings) as client:
        for number in range(calls):
            at = 1 + number * 7_919 % (FOYERS - 1)
            asked = (("forbidden", numero(at)), ("unknown", numero(FOYERS + at)), ("own", numero(0)))
            # Each kind comes first, second and third in turn.
            for name, dossier in asked[number % 3 :] + asked[: number % 3]:
                start = time.perf_counter()
                with suppress(NotFound):
                    client.get_foyer(dossier)
                found[name].append((time.perf_counter() - start) * 1e6)
    asyncio.run_coroutine_threadsafe(server.stop(0.2), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    quartiles = {name: [round(q) for q in statistics.quantiles(values, n=4)] for name, values in found.items()}
    medians = {name: statistics.median(values) for name, values in found.items()}
    return {
        "calls_of_each_kind": calls,
        "quartiles_us": quartiles,
        "forbidden_over_unknown": round(medians["forbidden"] / medians["unknown"], 4),
        "own_over_unknown": round(medians["own"] / medians["unknown"], 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3_000)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(Path(folder), parser.parse_args().calls), indent=2))


if __name__ == "__main__":
    main()
