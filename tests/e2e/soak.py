"""Kills the server at random points of load, infer, reload and drain, and checks what clients saw.

Each round starts the server on the same repository, lets clients infer and an operator reload, and ends it at a random
moment with SIGKILL or SIGTERM. Checked every round: a request has exactly one whole answer with its own id or a closed
connection; after SIGTERM the exit code is 0 and no answer is a 5xx other than 503; the next start on the same
repository becomes ready; nothing is left behind in the temporary folder.

usage: soak.py --binary build/release/sluice [--kills 2000] [--seed 1]
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GRAPHS = ROOT / "tests" / "conformance" / "graphs"
MODELS = {"tower": GRAPHS / "batch_norm_tower_ts13.onnx", "norms": GRAPHS / "norm_variants_ts17.onnx"}
CLIENTS = 3
LIVE_SECONDS_MAX = 0.25
READY_SECONDS_MAX = 20.0


class Broken(Exception):
    """What must not happen, happened."""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def read_answer(stream):
    """One HTTP answer from a buffered stream: (status, body); None when the connection closed before its first byte
    or within it."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    status = int(line.split()[1])
    length = 0
    while True:
        line = stream.readline()
        if not line.endswith(b"\n"):
            return None
        if line == b"\r\n":
            break
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    body = stream.read(length)
    return (status, body) if len(body) == length else None


def send(sock, method, path, body=b""):
    head = f"{method} {path} HTTP/1.1\r\nHost: sluice\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    sock.sendall(head + body)


class Client(threading.Thread):
    """Sends inferences one after another until the connection closes; counts what came back."""

    def __init__(self, port, number, seed):
        super().__init__(daemon=True)
        self.port, self.number, self.random = port, number, random.Random(seed)
        self.statuses, self.failure, self.stop = collections.Counter(), None, threading.Event()

    def run(self):
        try:
            while not self.stop.is_set():
                self.connection()
        except (ConnectionError, socket.timeout) as error:
            if isinstance(error, socket.timeout):
                self.failure = "a request was neither answered nor was its connection closed within 30 s"
        except Broken as error:
            self.failure = str(error)

    def connection(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as sock:
            stream = sock.makefile("rb")
            for index in range(1000):
                if self.stop.is_set():
                    return
                name = f"{self.number}-{index}-{self.random.randrange(1 << 30)}"
                rows = self.random.randrange(1, 4)
                body = json.dumps({"id": name, "inputs": [{"name": "dense", "shape": [rows, 13], "datatype": "FP32",
                                                           "data": [0.5] * (13 * rows)}]}).encode()
                send(sock, "POST", "/v2/models/tower/infer", body)
                answer = read_answer(stream)
                if answer is None:
                    self.statuses["closed"] += 1
                    raise ConnectionError
                status, text = answer
                self.statuses[status] += 1
                document = json.loads(text)
                if status == 200:
                    if document["id"] != name:
                        raise Broken(f"asked {name}, answered {document['id']}")
                    if len(document["outputs"][0]["data"]) < rows:
                        raise Broken("an answer with too few rows")
                elif status not in (400, 404, 503) or "error" not in document:
                    raise Broken(f"status {status}: {text[:200]!r}")


def operator(port, rng, stop):
    """Unloads and loads the models at random."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            stream = sock.makefile("rb")
            while not stop.is_set():
                name = rng.choice(list(MODELS))
                verb = rng.choice(["load", "load", "unload"])
                send(sock, "POST", f"/v2/repository/models/{name}/{verb}", b"{}")
                if read_answer(stream) is None:
                    return
                time.sleep(rng.random() * 0.02)
    except OSError:
        pass


def ready(port, process):
    until = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Broken(f"the server exited with {process.returncode} while starting")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                send(sock, "GET", "/v2/health/ready")
                answer = read_answer(sock.makefile("rb"))
                if answer is not None and answer[0] == 200:
                    return
        except OSError:
            pass
        time.sleep(0.005)
    raise Broken("never became ready")


def round_of(binary, folder, temporary, seed, totals):
    rng = random.Random(seed)
    ports = free_ports(3)
    environment = dict(os.environ, TMPDIR=str(temporary))
    command = [binary, "serve", "--models", folder, "--http-port", ports[0], "--grpc-port", ports[1], "--metrics-port",
               ports[2], "--model-control-mode", "explicit", "--load-model", "tower", "--load-model", "norms"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=environment)
    gentle = rng.random() < 0.4
    stop = threading.Event()
    clients = []
    try:
        if not gentle and rng.random() < 0.2:  # within loading
            time.sleep(rng.random() * 0.03)
        else:
            ready(ports[0], process)
            clients = [Client(ports[0], n, seed * 10 + n) for n in range(CLIENTS)]
            for client in clients:
                client.start()
            if rng.random() < 0.6:
                reload = (ports[0], random.Random(seed + 1), stop)
                threading.Thread(target=operator, args=reload, daemon=True).start()
            time.sleep(rng.random() * LIVE_SECONDS_MAX)
        process.send_signal(signal.SIGTERM if gentle else signal.SIGKILL)
        if gentle and rng.random() < 0.3:  # within the drain
            time.sleep(rng.random() * 0.02)
            process.send_signal(signal.SIGKILL)
            gentle = False
        stop.set()
        for client in clients:
            client.stop.set()
        code = process.wait(40)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    for client in clients:
        client.join(40)
        if client.is_alive():
            raise Broken("a client hangs after the server is gone")
        if client.failure:
            raise Broken(client.failure)
        totals.update(client.statuses)
    if gentle and code != 0:
        raise Broken(f"exit code {code} after SIGTERM")
    totals["SIGTERM" if gentle else "SIGKILL"] += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="sluice-soak-"))
    folder, temporary = work / "models", work / "tmp"
    temporary.mkdir()
    for name, path in MODELS.items():
        (folder / name / "1").mkdir(parents=True)
        shutil.copy(path, folder / name / "1" / "model.onnx")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    totals, start = collections.Counter(), time.monotonic()
    for index in range(arguments.kills):
        seed = arguments.seed * 1_000_000 + index
        try:
            round_of(arguments.binary, folder, temporary, seed, totals)
            if {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} != before:
                raise Broken("the repository's files changed")
        except Broken as what:
            print(f"BROKEN in round {index} (seed {seed}): {what}")
            return 1
        if (index + 1) % 50 == 0:
            rate = (index + 1) / (time.monotonic() - start)
            print(f"kills {index + 1}/{arguments.kills}, {rate:.1f}/s, seen {dict(totals)}", flush=True)
    leftovers = list(temporary.iterdir())
    if len(leftovers) > 1:
        print(f"BROKEN: {len(leftovers)} temporary entries are left: {leftovers[:5]}")
        return 1
    shutil.rmtree(work)
    print(f"soak: {arguments.kills} kills, every request answered once or its connection closed: {dict(totals)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
