# SPDX-License-Identifier: Apache-2.0
"""The servers of internet.py: each answers with the address that it was asked at.

internet_server.py ADDRESS IPV6 DEAD_IPV6 CERTIFICATE FOLDER; the web servers show the folder.
"""

import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from websockets.sync.server import serve as serve_websocket

from guest_network import check_blocks, send_blocks
from internet_names import Names, asked

BIG = 32 << 20
GIT_DAEMON, GIT_BACKEND = (f"/usr/lib/git-core/git-{name}" for name in ("daemon", "http-backend"))


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args):
        super().__init__(*args, directory=FOLDER)

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        here = self.connection.getsockname()[0].removeprefix("::ffff:").encode()
        if self.path == "/secret":
            self.answer(self.headers.get("X-Secret", "none").encode())
        elif self.path.startswith("/asked/"):
            self.answer(str(asked[self.path.removeprefix("/asked/")]).encode())
        elif self.path == "/big":
            self.send_response(200)
            self.send_header("Content-Length", str(BIG))
            self.end_headers()
            for _ in range(BIG >> 16):
                self.wfile.write(b"x" * (1 << 16))
        elif self.path.startswith("/git/"):
            self.git()
        elif self.path == "/":
            self.answer(here)
        else:
            super().do_GET()

    def do_POST(self):
        if self.path.startswith("/git/"):
            self.git()
        else:
            self.answer(str(len(self.body())).encode())

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def git(self):
        """git's own program answers, over CGI."""
        path, _, query = self.path.partition("?")
        env = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": FOLDER, "GIT_HTTP_EXPORT_ALL": "1",
               "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query,
               "CONTENT_TYPE": self.headers.get("Content-Type", ""),
               "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
               "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
        head, _, body = subprocess.run([GIT_BACKEND], env=env, input=self.body(), check=True,
                                       capture_output=True).stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6  # and IPv4 with it
    request_queue_size = 1024


def listen(port, serve):
    """A thread for each connection to a port; it is closed when its server returns."""
    def one(conn):
        with conn:
            serve(conn)

    def accept():
        while True:
            threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    listener = socket.create_server(("", port), backlog=1024)
    threading.Thread(target=accept, daemon=True).start()


def echo(conn):
    """Port 7: bytes back until the end, which is answered by one."""
    while data := conn.recv(65536):
        conn.sendall(data)
    conn.sendall(b"END")


def daytime(conn):
    """Port 13: who listens speaks first."""
    conn.sendall(b"a fine day\n")


def bulk(conn):
    """Port 9: blocks both ways at once, then how many came whole."""
    count, = struct.unpack(">Q", conn.recv(8, socket.MSG_WAITALL))
    sender = threading.Thread(target=send_blocks, args=(conn, count))
    sender.start()
    whole = check_blocks(conn, count)
    sender.join()
    conn.sendall(struct.pack(">Q", whole))


def serve_forever(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()


def echo_messages(websocket):
    for message in websocket:
        websocket.send(message)


ADDRESS, IPV6, DEAD_IPV6, CERTIFICATE, FOLDER = sys.argv[1:]
print("here", flush=True)
sys.stdin.readline()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE)
secure = Server(("::", 443), Handler)
secure.socket = context.wrap_socket(secure.socket, server_side=True, do_handshake_on_connect=False)
serve_forever(secure)
serve_forever(Server(("::", 80), Handler))
serve_forever(serve_websocket(echo_messages, "", 8080, max_size=None))
serve_forever(serve_websocket(echo_messages, "", 8443, max_size=None, ssl=context))
Names(ADDRESS, IPV6, DEAD_IPV6)
listen(7, echo)
listen(9, bulk)
listen(13, daytime)
git = subprocess.Popen([shutil.which("setpriv"), "--pdeathsig", "TERM", GIT_DAEMON, "--reuseaddr",
                        f"--base-path={FOLDER}/git", "--export-all"])
print("ready", flush=True)
sys.stdin.read()
git.terminate()
git.wait()
