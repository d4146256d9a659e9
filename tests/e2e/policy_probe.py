# SPDX-License-Identifier: Apache-2.0
"""In a sandbox: connects to many targets and says what came of it.

Serves at the socket that its argument names; a line there is answered by a line.

{"dials": [[target, port, [kind, name]], ...]}: each target is looked up first, as programs do; then
each of its addresses is connected to, and the connection names itself. Answered is, of each target,
which addresses were found, and of each dial and address the server's line or the error.

{"open": {label: dial}, "ask": {label: [kind, name]}} is about connections that are kept: what the
server says when they are made, or when something is said on them later.
"""

import asyncio
import errno
import json
import socket
import ssl
import sys

PARALLEL = 48
SECONDS = 30
SAID = {}


def hello(name):
    """A TLS client's first bytes."""
    out = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return out.read()


def first_bytes(kind, name, port):
    if kind == "tls":
        if name not in SAID:
            SAID[name] = hello(name)
        return SAID[name]
    if kind == "raw":
        return b"SSH-2.0-probe\r\n"
    if name is None:
        return b"GET / HTTP/1.0\r\n\r\n"
    host = name + "." if kind == "dotted" else f"{name.upper()}:{port}"
    return f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def word(error):
    return errno.errorcode.get(error.errno, str(error))


async def look_up(target, limit):
    async with limit:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(target, 0,
                                                                 type=socket.SOCK_STREAM)
        except socket.gaierror:
            return []
    return sorted({f[4][0] for f in found})


async def say(s, what):
    """What the server answers, or how the connection ends."""
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(s, what)
        return (await loop.sock_recv(s, 1000)).decode().strip() or "end"
    except OSError as e:
        return word(e)


async def connect(address, port):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(s, (address, port))
    except OSError as e:
        s.close()
        return word(e)
    return s


async def dial(address, port, kind, name):
    s = await connect(address, port)
    if isinstance(s, str):
        return s
    with s:
        return await say(s, first_bytes(kind, name, port))


async def limited(limit, work):
    async with limit:
        try:
            return await asyncio.wait_for(work, SECONDS)
        except TimeoutError:
            return "hangs"


async def probe(dials):
    limit = asyncio.Semaphore(PARALLEL)
    targets = sorted({d[0] for d in dials})
    found = dict(zip(targets, await asyncio.gather(*(look_up(t, limit) for t in targets))))
    outcomes = await asyncio.gather(*(
        asyncio.gather(*(limited(limit, dial(a, port, *said)) for a in found[target]))
        for target, port, said in dials))
    return {"found": found, "dials": outcomes}


# ---- connections that are kept ----

kept = {}


async def keep(label, target, port, said):
    address = (await look_up(target, asyncio.Semaphore(1)))[0]
    s = await connect(address, port)
    if isinstance(s, str):
        return s
    kept[label] = s, port
    return await say(s, first_bytes(*said, port)) if said else "silent"


async def ask(label, said):
    s, port = kept[label]
    return await limited(asyncio.Semaphore(1), say(s, first_bytes(*said, port)))


async def obey(order):
    if "dials" in order:
        return await probe(order["dials"])
    answer = {label: await keep(label, *d) for label, d in order.get("open", {}).items()}
    return answer | {label: await ask(label, said) for label, said in order.get("ask", {}).items()}


async def on_line(reader, writer):
    try:
        answer = await obey(json.loads(await reader.readline()))
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
    finally:
        writer.close()


async def serve(path):
    async with await asyncio.start_unix_server(on_line, path, limit=1 << 20) as server:
        await server.serve_forever()


asyncio.run(serve(sys.argv[1]))
