# SPDX-License-Identifier: Apache-2.0
"""Every client version in every mode it has: tests/lab/*_client.*, each feature in its own spelling.

What each run found is written to build/lab/results/, from which `make compatibility` makes the tables
of docs/compatibility.md.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import results
from conftest import REPO
from support import CLI, NODE

LAB = REPO / "tests/lab"

PYTHON = [("1.1.0", ["domain"]), ("1.5.6", ["domain"]), ("2.0.2", ["domain"]),
          ("2.8.1", ["domain", "url"]), ("2.63.0", ["domain", "url", "debug"])]
JAVASCRIPT = [("1.0.7", "e2b-1.0", ["domain"]), ("2.0.3", "e2b-2.0", ["domain"]),
              ("2.8.4", "e2b-2.8", ["domain", "url"]), ("2.51.0", "e2b", ["domain", "url", "debug"])]


def runs():
    for version, modes in PYTHON:
        own = REPO / f"build/lab/py-{version}/bin/python"
        program = own if version != PYTHON[-1][0] else sys.executable
        for mode in modes:
            yield pytest.param("python", version, mode, [program, LAB / "python_client.py"],
                               id=f"python-{version}-{mode}")
    for version, package, modes in JAVASCRIPT:
        for mode in modes:
            yield pytest.param("javascript", version, mode, [NODE, LAB / "js/client.mjs", package],
                               id=f"javascript-{version}-{mode}")
    # Code interpreters that know sandboxes by name alone, each with an SDK of its time.
    yield pytest.param("python-interpreter", "1.0.5", "domain",
                       [REPO / "build/lab/py-1.1.0/bin/python", LAB / "interpreter_client.py"],
                       id="python-interpreter-1.0.5-domain")
    yield pytest.param("javascript-interpreter", "1.0.4", "domain", [NODE, LAB / "js/interpreter.mjs"],
                       id="javascript-interpreter-1.0.4-domain")
    for mode in ("domain", "url", "debug"):
        yield pytest.param("cli", "2.19.0", mode, [sys.executable, LAB / "cli_client.py", NODE, CLI],
                           id=f"cli-2.19.0-{mode}")


@pytest.fixture(scope="module")
def running(lab, request):
    """All runs that were chosen, two at a time, since clients mostly wait; in debug mode all share one
    sandbox, so they follow one another. A future for each test."""
    chosen = [i.callspec.params for i in request.session.items if i.name.startswith("test_a_version_works[")]
    with ThreadPoolExecutor(2) as pool, ThreadPoolExecutor(1) as one:
        yield {(p["client"], p["version"], p["mode"]):
               (one if p["mode"] == "debug" else pool).submit(lab.run, p["command"], p["mode"], timeout=90)
               for p in chosen}


@pytest.mark.heavy
@pytest.mark.parametrize("client, version, mode, command", list(runs()))
def test_a_version_works(running, client, version, mode, command):
    run = running[client, version, mode].result()
    features = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    results.write(client, version, mode, features)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-6000:]
    assert features[-1]["feature"] == "kill" and not [f for f in features if "failed" in f]
