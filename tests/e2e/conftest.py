"""Starts the built binary for tests that drive it with real clients."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = pathlib.Path(os.environ.get("SLUICE_BINARY", ROOT / "build" / "release" / "sluice"))
GRAPHS = ROOT / "tests" / "conformance" / "graphs"
DEMO = ROOT / "demo" / "models"
START_SECONDS = 60


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Server:
    """A running `sluice serve`; `http`, `grpc` and `metrics` are its addresses."""

    def __init__(self, models, *flags, log=None):
        ports = free_ports(3)
        self.http, self.grpc, self.metrics = (f"127.0.0.1:{port}" for port in ports)
        self.log_path = log
        self.log = open(log, "ab") if log else subprocess.DEVNULL
        command = [str(BINARY), "serve", "--models", str(models), "--http-port", str(ports[0]), "--grpc-port",
                   str(ports[1]), "--metrics-port", str(ports[2]), *flags]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT)

    def status(self, path):
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def wait_ready(self):
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server exited with {self.process.returncode}: {self.tail()}")
            if self.status("/v2/health/ready") == 200:
                return self
            time.sleep(0.05)
        raise RuntimeError(f"not ready after {START_SECONDS} s: {self.tail()}")

    def tail(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")[-3000:] if self.log_path else "no log kept"

    def stop(self, seconds=30):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def repository(folder, models):
    """A model repository of {name: onnx file} as folder/name/1/model.onnx."""
    for name, path in models.items():
        version = pathlib.Path(folder) / name / "1"
        version.mkdir(parents=True)
        shutil.copy(path, version / "model.onnx")
        tokenizer = pathlib.Path(path).parent / "tokenizer.json"
        if tokenizer.exists():
            shutil.copy(tokenizer, version / "tokenizer.json")
    return folder


@pytest.fixture(scope="session", autouse=True)
def built():
    if not BINARY.exists():
        sys.exit(f"{BINARY} is not built: run `make build`")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """start(models, *flags) -> a ready Server; all are stopped at the module's end and must exit with 0."""
    servers = []

    def run(models, *flags, ready=True):
        log = tmp_path_factory.mktemp("log") / "server.log"
        server = Server(models, *flags, log=str(log))
        servers.append(server)
        return server.wait_ready() if ready else server

    yield run
    codes = [server.stop() for server in servers]
    assert all(code in (0, -signal.SIGKILL) for code in codes), codes
