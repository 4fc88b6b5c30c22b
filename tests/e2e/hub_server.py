"""A server that speaks as much of Hugging Face's hub as a download needs, with faults on demand.

A hub answers the API and small files itself; large files (kept as LFS there) lie on a second server, its content network,
to which it redirects.
"""

import hashlib
import http.server
import json
import threading
import urllib.parse


def git_checksum(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub:
    """`files` {path: bytes} of one model at one commit; those named in `large` are kept elsewhere.

    `faults` {path: [fault, …]} are used up one a GET of the file's bytes: a number is a status, ("cut", n) ends the
    connection after n bytes, ("wrong",) sends other bytes of the same length, ("stall", n) sends n bytes and then none.
    """

    def __init__(self, repo, files, large=(), revision="main", token=None, tls=None):
        self.repo, self.files, self.large = repo, dict(files), set(large)
        self.revision, self.token = revision, token
        self.commit = hashlib.sha1(json.dumps(sorted(self.files)).encode()).hexdigest()
        self.faults, self.listing_faults = {}, []
        self.seen = []  # (server, method, path, headers)
        self.loop = False
        self.ranges = True
        self.moved = False  # what it has lies under other paths, as for models that were renamed
        self.chunked = False  # answers come in chunks, without their length
        self.extra_names = []
        self.released = threading.Event()
        self.content = self._serve("content")
        self.hub = self._serve("hub", tls)
        self.endpoint = f"{'https' if tls else 'http'}://localhost:{self.hub.server_address[1]}"

    def stop(self):
        self.released.set()
        for server in (self.hub, self.content):
            server.shutdown()
            server.server_close()

    def requests(self, server=None, method=None):
        return [path for s, m, path, _ in self.seen if server in (None, s) and method in (None, m)]

    def _serve(self, kind, tls=None):
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                hub.seen.append((kind, self.command, self.path, dict(self.headers)))
                hub._answer(kind, self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def _answer(self, kind, to):
        if kind == "content":
            assert "Authorization" not in to.headers, "the token went to another server"
            return self._send(to, urllib.parse.unquote(to.path[1:]))
        if self.token and to.headers.get("Authorization") != f"Bearer {self.token}":
            return self._refuse(to, 401, "GatedRepo", "Access to this model is restricted.")
        if self.loop:
            return self._redirect(to, to.path)
        path = urllib.parse.urlsplit(to.path).path
        if self.moved and not path.startswith("/moved/"):
            return self._redirect(to, f"/moved{to.path}")
        path = path.removeprefix("/moved")
        listing = f"/api/models/{self.repo}/revision/"
        if path.startswith(listing):
            if self.listing_faults:
                return self._refuse(to, self.listing_faults.pop(0), "", "", {"Retry-After": "0"})
            if urllib.parse.unquote(path[len(listing):]) not in (self.revision, self.commit):
                return self._refuse(to, 404, "RevisionNotFound", "Invalid rev id")
            names = sorted(self.files) + self.extra_names
            body = json.dumps({"id": self.repo, "sha": self.commit,
                               "siblings": [{"rfilename": name} for name in names]}).encode()
            return self._reply(to, 200, body, {"Content-Type": "application/json"})
        resolve = f"/{self.repo}/resolve/{self.commit}/"
        name = urllib.parse.unquote(path[len(resolve):])
        if not path.startswith(resolve):
            return self._refuse(to, 404, "RepoNotFound", "Repository not found")
        if name not in self.files:
            return self._refuse(to, 404, "EntryNotFound", "Entry not found")
        if name in self.large:
            port = self.content.server_address[1]
            data = self.files[name]
            return self._redirect(to, f"http://127.0.0.1:{port}/{urllib.parse.quote(name)}", {
                "X-Repo-Commit": self.commit, "X-Linked-Size": str(len(data)),
                "X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"'})
        return self._send(to, name)

    def _send(self, to, name):
        data = self.files[name]
        headers = {"ETag": f'"{git_checksum(data)}"', "X-Repo-Commit": self.commit}
        fault = None
        if to.command == "GET" and self.faults.get(name):
            fault = self.faults[name].pop(0)
        if isinstance(fault, int):
            return self._refuse(to, fault, "", "try later", {"Retry-After": "0"})
        status, begin = 200, 0
        wanted = to.headers.get("Range")
        if wanted and self.ranges:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
            status = 206
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        body = data[begin:]
        if fault == ("wrong",):
            body = bytes(byte ^ 1 for byte in body)
        if fault and fault[0] in ("cut", "stall"):
            return self._reply(to, status, body, headers, fault[1], fault[0] == "stall")
        return self._reply(to, status, body, headers)

    def _reply(self, to, status, body, headers, sent=None, stall=False):
        to.send_response(status)
        for name, value in headers.items():
            to.send_header(name, value)
        if self.chunked and to.command == "GET" and status == 200:
            return self._reply_in_chunks(to, body)
        to.send_header("Content-Length", str(len(body)))
        to.end_headers()
        if to.command == "GET":
            to.wfile.write(body if sent is None else body[:sent])
        if sent is not None:
            to.wfile.flush()
            if stall:
                self.released.wait(60)
            to.close_connection = True

    def _reply_in_chunks(self, to, body):
        to.send_header("Transfer-Encoding", "chunked")
        to.end_headers()
        for begin in range(0, len(body), 1000):
            piece = body[begin:begin + 1000]
            to.wfile.write(b"%x;name=value\r\n%s\r\n" % (len(piece), piece))
        to.wfile.write(b"0\r\nX-Trailer: 1\r\n\r\n")

    def _redirect(self, to, location, headers=None):
        self._reply(to, 302, b"", {"Location": location, **(headers or {})})

    def _refuse(self, to, status, code, message, headers=None):
        self._reply(to, status, b"refused", {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})})
