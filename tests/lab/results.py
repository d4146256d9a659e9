# SPDX-License-Identifier: Apache-2.0
"""Where runs of clients put what they found; compatibility-page makes tables of it."""

import json
import os
import platform
import re
import time
from pathlib import Path

from conftest import BIN, REPO

RESULTS = REPO / "build/lab/results" / BIN.parent.name


def host_facts():
    """What machine and what build a result is of."""
    cpus = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
    return {"date": time.strftime("%Y-%m-%d", time.gmtime()),
            "kernel": ".".join(platform.release().split(".")[:2]), "machine": platform.machine(),
            "processor": cpus[0] if cpus else "unknown", "cores": os.cpu_count(),
            "memory_gib": round(memory / (1 << 20)), "build": BIN.parent.name}


def write(client, version, mode, features):
    RESULTS.mkdir(parents=True, exist_ok=True)
    result = {"client": client, "version": version, "mode": mode, "host": host_facts(),
              "features": features}
    (RESULTS / f"{client}-{version}-{mode}.json").write_text(json.dumps(result, indent=1))
