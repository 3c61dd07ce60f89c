"""Without numba the rules run as they are written, to the same cents."""

import json
import os
import subprocess
import sys

from solidarite_server import engine
from solidarite_server.engine import api
from solidarite_server.legislation import LegislationOptions

from tests.reference.generate import case

COUNT = 60
PROGRAM = f"""
import json
from solidarite_server import engine
from solidarite_server.engine import compiled
from solidarite_server.legislation import LegislationOptions
from tests.reference.generate import case
assert not compiled.COMPILED
cases = [case(seed) for seed in range({COUNT})]
found = [
    [due.rsa_cents, due.ppa_cents, due.rsa_code, due.ppa_code]
    for options in (LegislationOptions.law(), LegislationOptions.openfisca())
    for due in engine.compute_many(cases, options=options)
]
print(json.dumps(found))
"""


def test_the_interpreted_rules_give_the_same_cents_as_the_compiled_ones():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    told = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    cases = [case(seed) for seed in range(COUNT)]
    expected = [
        [due.rsa_cents, due.ppa_cents, due.rsa_code, due.ppa_code]
        for options in (LegislationOptions.law(), LegislationOptions.openfisca())
        for due in engine.compute_many(cases, options=options)
    ]
    assert json.loads(told.stdout) == expected


def test_rules_once_compiled_are_found_in_the_cache_of_numba():
    # What `warm_up` looks for before it has another process compile: the name of the sources in numba's own index.
    engine.warm_up()
    assert api.cached()
