# SPDX-License-Identifier: Apache-2.0
"""A sandbox that serves files: serve_page.py PORT GUEST_SERVER FILE... Prints the server's host name.

Ends, with the sandbox, when its standard input does.
"""

import sys
from pathlib import Path

from e2b import Sandbox


def main():
    port, files = int(sys.argv[1]), [Path(p) for p in sys.argv[2:]]
    with Sandbox.create(timeout=300) as sandbox:
        for path in files:
            sandbox.files.write(path.name, path.read_bytes())
        server = sandbox.commands.run(f"exec python3 {files[0].name} 127.0.0.1 {port}",
                                      background=True, timeout=0)
        assert next(iter(server))[0] == "ready\n"
        print(sandbox.get_host(port), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
