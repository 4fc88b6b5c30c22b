"""Several models under one load: clicks and encodes with tight deadlines beside chats, and chats beyond capacity.

The generator is build/release/bench/guest_load: one process, Poisson arrivals, on the same cores as the server.
"""

import itertools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import harness

BINARY = harness.ROOT / "build" / "release" / "sluice"
GENERATOR = harness.ROOT / "build" / "release" / "bench" / "guest_load"
CLICK = "infer:deepfm,rate=1000,deadline_ms=5,connections=8,integer_max=1000"
ENCODE = "infer:minilm,rate=20,deadline_ms=50,connections=4,length=32"
CHAT = "chat:qwen,connections=16,prompt=120,tokens=64"
ANSWER = {"prompt": 60, "tokens": 16}


def repository(folder, names):
    """A repository of those of deepfm, minilm (f32) and qwen (int8) that are named."""
    import checkpoints
    import models
    for name in names:
        version = folder / name / "1"
        version.mkdir(parents=True, exist_ok=True)
        if name == "qwen":
            for file in checkpoints.write(harness.WORK / "qwen2.5-0.5b").iterdir():
                if not (version / file.name).exists():
                    os.link(file, version / file.name)
            (folder / name / "config.pbtxt").write_text(
                'parameters { key: "weights" value { string_value: "int8" } }\n'
                'parameters { key: "max_model_len" value { string_value: "2048" } }\n', encoding="utf-8")
        elif not (version / "model.onnx").exists():
            shutil.copy(models.write(name, harness.WORK), version / "model.onnx")
    return folder


class Server:
    def __init__(self, models):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"127.0.0.1:{port}"
        self.log = models / "server.log"
        command = [BINARY, "serve", "--models", models, "--http-port", port, "--grpc-port", 0, "--metrics-port", 0]
        self.process = subprocess.Popen(list(map(str, command)), stdout=open(self.log, "w"),
                                        stderr=subprocess.STDOUT)
        for _ in range(1200):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server exited: {self.log.read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(f"http://{self.url}/v2/health/ready", timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("the server never became ready")

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


def load(servers, guests, seconds, seed):
    """{"model": result} of the guests, each a (server, text), at once; "cpu" is the share of all cores in use."""
    before, start = sum(s.cpu_seconds() for s in servers), time.monotonic()
    running = []
    for server in servers:
        own = [text for at, text in guests if at is server]
        if own:
            command = [GENERATOR, "--url", server.url, "--seconds", seconds, "--seed", seed, *own]
            running.append(subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True))
    told = []
    for process in running:
        text, _ = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"the generator failed: {process.args}")
        told.append(json.loads(text))
    took = time.monotonic() - start
    used = sum(s.cpu_seconds() for s in servers) - before + sum(t["cpu_seconds"] for t in told)
    results = {"cpu": used / took / os.cpu_count()}
    for guest in (guest for t in told for guest in t["guests"]):
        key = guest["guest"].split(":")[1]
        results.setdefault(key, []).append(guest)
    return results


def in_time(results):
    return 100 * sum(r["in_time"] for r in results) / max(1, sum(r["sent"] for r in results))


def tokens(results):
    return sum(r["tokens_per_second"] for r in results)


def three_guests(seconds, rounds, separate):
    """Rows: clicks and encodes in time, and the chats' share, one process for all or one for each."""
    names = ("deepfm", "minilm", "qwen")
    folders = [(name,) for name in names] if separate else [names]
    servers = [Server(repository(harness.WORK / "guests" / "-".join(part), part)) for part in folders]
    at = {name: servers[i] for i, part in enumerate(folders) for name in part}
    fast = [(at["deepfm"], CLICK), (at["minilm"], ENCODE)]
    chat = [(at["qwen"], CHAT)]
    taken = {"click": [], "encode": [], "share": [], "alone": [], "beside": []}
    seeds = itertools.count(1)  # a prompt that came before would be found in the cache
    try:
        load(servers, fast + chat, 2, next(seeds))
        for _ in range(rounds):
            alone = load(servers, chat, seconds, next(seeds))
            others = load(servers, fast, seconds, next(seeds))
            both = load(servers, fast + chat, seconds, next(seeds))
            for name in ("deepfm", "minilm"):
                print(f"{name}: {both[name][0]}", flush=True)
            taken["click"].append(in_time(both["deepfm"]))
            taken["encode"].append(in_time(both["minilm"]))
            left = 1 - others["cpu"]
            taken["share"].append(100 * tokens(both["qwen"]) / (tokens(alone["qwen"]) * left))
            taken["alone"].append(tokens(alone["qwen"]))
            taken["beside"].append(tokens(both["qwen"]))
            print(f"chat alone {tokens(alone['qwen']):.1f} tokens/s, the others leave {100 * left:.0f} % of the cores,"
                  f" beside them {tokens(both['qwen']):.1f}", flush=True)
    finally:
        for server in servers:
            server.stop()
    middle = {key: harness.median(values) for key, values in taken.items()}
    peer = "goal"
    which = ", a process each" if separate else ""
    goals = {"click": 99.5, "encode": 99.0, "share": 85.0}
    titles = {"click": "click in time", "encode": "encode in time", "share": "chat of what is left"}
    return [harness.row(titles[key] + which, peer, middle[key], goals[key], "%", smaller_is_better=False,
                        goal=None if separate else 1.0) for key in ("click", "encode", "share")]


def falls(values):
    """Whether the last two are below the greatest."""
    return len(values) > 2 and max(values[-2:]) < max(values)


def overload(seconds, rounds):
    """Row: tokens in time when twice the requests come that the server answers in time at its best, as a share of then."""
    server = Server(repository(harness.WORK / "guests" / "qwen", ("qwen",)))

    seeds = itertools.count(10, 10)  # a prompt that came before would be found in the cache

    def answers(rate):
        guests = []
        for part, deadline in enumerate((1500, 3000, 8000)):
            keys = {"rate": rate / 3, "connections": 48, "deadline_ms": deadline, **ANSWER}
            guests.append((server, "chat:qwen," + ",".join(f"{k}={v}" for k, v in keys.items())))
        results = load([server], guests, seconds, next(seeds))["qwen"]
        sent = sum(r["sent"] for r in results)
        good = sum(r["in_time"] for r in results) * ANSWER["tokens"] / seconds
        print(f"{rate:6.1f} requests/s: {sent} sent, {sum(r['in_time'] for r in results)} in time, "
              f"{sum(r['refused'] for r in results)} refused, {good:.1f} tokens/s in time", flush=True)
        return good

    try:
        closed = load([server], [(server, "chat:qwen,connections=16," +
                                  ",".join(f"{k}={v}" for k, v in ANSWER.items()))], seconds, 1)["qwen"]
        capacity = tokens(closed) / ANSWER["tokens"]
        print(f"closed loop of 16: {capacity:.1f} requests/s", flush=True)
        ratios = []
        for _ in range(rounds):
            # Up to the rate behind which two more give less: batches grow with the load, so the peak lies high.
            goods, rate = {}, 0.8 * capacity
            while len(goods) < 12 and not falls(list(goods.values())):
                goods[rate] = answers(rate)
                rate *= 1.25
            peak = max(goods.values())
            ratios.append((answers(2 * peak / ANSWER["tokens"]), peak))
    finally:
        server.stop()
    ours, peak = sorted(ratios, key=lambda r: r[0] / r[1])[len(ratios) // 2]
    return [harness.row("overload goodput", "peak", ours, peak, "tokens/s", smaller_is_better=False, goal=0.9)]
