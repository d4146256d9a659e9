# SPDX-License-Identifier: Apache-2.0
"""The newest JavaScript SDK: js/*.test.mjs, run by node's own test runner."""

import subprocess

import pytest

from support import JS, NODE, client_env


FILES = [
    pytest.param(p.name, marks=[pytest.mark.heavy] if p.name == "heavy.test.mjs" else [])
    for p in sorted(JS.glob("*.test.mjs"))
]


@pytest.mark.parametrize("name", FILES)
def test_javascript(broker, tmp_path, name):
    run = subprocess.run(
        # the SDK's timers outlive what they were for by a minute
        [str(NODE), "--test", "--test-force-exit", "--test-reporter=spec", "--test-timeout=120000",
         name],
        cwd=JS, env=client_env(tmp_path), capture_output=True, text=True, timeout=220,
    )
    print(run.stdout[-6000:])
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-3000:]
    assert "ℹ fail 0" in run.stdout and "ℹ pass 0" not in run.stdout
