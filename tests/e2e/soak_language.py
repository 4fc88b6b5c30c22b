"""Holds language models under mixed load and checks that nothing grows: blocks of keys and values, memory, descriptors.

A server with two tiny decoders, an encoder and a reranker is asked by many clients at once: chats and completions whole
and streamed, several answers, logprobs, echoes, scores, embeddings, rankings, tokens; behind shared and unique beginnings
and salts so that the cache gives blocks up; with deadlines that cannot be met, broken bodies, clients that leave in the
middle and streams of gRPC that are cancelled, while an operator loads and unloads. Every few seconds all of them pause.
At that quiet point checked: nothing is in flight, no sequence holds a block, a prompt that needs every block of the
cache is answered, connections, descriptors and threads are what they were. Some questions have known answers, which must
come back to the bit all the time. At the end: memory must not have grown over the last two thirds of the time.

usage: soak_language.py --binary build/release/sluice [--seconds 1200] [--clients 6] [--seed 1]
"""

import argparse
import http.client
import json
import multiprocessing
import pathlib
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from soak import ROOT, Broken, free_ports, ready
from soak_requests import KNOWN, Asker, KNOWN_ANSWERS, known_questions, whole_answer

DECODERS = ROOT / "tests" / "conformance" / "decoders"
ENCODERS = ROOT / "tests" / "conformance" / "sentence_encoders"
CONTEXT = 1 << 16
CACHE_BYTES = 1 << 20
QUIET_SECONDS_MAX = 30.0
DAY_SECONDS = 24 * 3600
GUESTS = ("guest", "minilm")  # unloaded now and then; clients may find them gone
RUN, PAUSE, STOP = range(3)


def repository(folder):
    import tokenizers
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({f"w{i}": i for i in range(96)}, unk_token="w0"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    for name, family in (("words", "llama"), ("guest", "qwen3")):
        version = folder / name / "1"
        version.mkdir(parents=True)
        shutil.copy(DECODERS / family / "model.safetensors", version)
        config = json.loads((DECODERS / family / "config.json").read_text())
        (version / "config.json").write_text(json.dumps({**config, "max_position_embeddings": CONTEXT}))
        words.save(str(version / "tokenizer.json"))
        (version / "chat_template.jinja").write_text(
            "{% for message in messages %}{{ message.content }} {% endfor %}{% if tools %}w7{% endif %}")
        (folder / name / "config.pbtxt").write_text(
            f'parameters {{ key: "kv_cache_bytes" value {{ string_value: "{CACHE_BYTES}" }} }}\n')
    for name in ("minilm", "bert_reranker"):
        shutil.copytree(ENCODERS / name, folder / name / "1", ignore=shutil.ignore_patterns("expected.*"))


class Shared:
    """What clients and the watcher see of each other: the wanted state, who is busy, what was counted."""

    def __init__(self, clients):
        self.state = multiprocessing.Value("i", RUN, lock=False)
        self.busy = multiprocessing.Array("i", clients, lock=False)
        self.counts = [multiprocessing.Array("q", 3 * len(Asker.OPERATIONS), lock=False) for _ in range(clients)]
        self.broken = multiprocessing.Queue()

    def rows(self):
        """{operation: (answered, refused, left)} of all clients."""
        total = [sum(column) for column in zip(*(list(each) for each in self.counts))]
        return {name: tuple(total[3 * i:3 * i + 3]) for i, name in enumerate(Asker.OPERATIONS)}


def client(shared, number, address, seed):
    """One client's process: asks until it is told to stop; leaves its connection where it is told to pause."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asker = Asker(address, random.Random(seed), GUESTS)
    counts = shared.counts[number]
    try:
        while shared.state.value != STOP:
            if shared.state.value == PAUSE:
                asker.leave()
                shared.busy[number] = 0
                time.sleep(0.01)
                continue
            shared.busy[number] = 1
            operation, outcome = asker.one()
            counts[3 * operation + outcome] += 1
    except Exception as error:  # the watcher tells it and ends the run
        shared.broken.put(f"client {number}: {type(error).__name__}: {error}")
    asker.leave()
    shared.busy[number] = 0


def grpc_client(shared, number, address, seed):
    """As `client`, by streams of gRPC of which some are cancelled; a channel for every few of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import numpy
    import tritonclient.grpc
    rng = random.Random(seed)
    counts = shared.counts[number]
    operation = Asker.OPERATIONS.index("grpc")

    def stream(channel):
        replies = queue.Queue()
        channel.start_stream(lambda result, error: replies.put((result, error)))
        ids = tritonclient.grpc.InferInput("input_ids", [20], "INT64")
        ids.set_data_from_numpy(numpy.array([rng.randrange(3, 96) for _ in range(20)]))
        channel.async_stream_infer("words", [ids], parameters={
            "max_tokens": 40, "ignore_eos": True, "stream": True, "seed": rng.randrange(1 << 20)})
        leaves = rng.random() < 0.5
        for index in range(60):
            result, error = replies.get(timeout=60)
            if error is not None:
                raise Broken(f"a stream of gRPC: {error}")
            if result.get_response().parameters["triton_final_response"].bool_param:
                channel.stop_stream()
                return 0
            if leaves and index >= 2:
                break
        channel.stop_stream(cancel_requests=True)
        return 2

    channel = None
    try:
        while shared.state.value != STOP:
            if shared.state.value == PAUSE:
                if channel is not None:
                    channel.close()
                channel = None
                shared.busy[number] = 0
                time.sleep(0.01)
                continue
            shared.busy[number] = 1
            if channel is None or rng.random() < 0.05:
                if channel is not None:
                    channel.close()
                channel = tritonclient.grpc.InferenceServerClient(address)
            counts[3 * operation + stream(channel)] += 1
    except Exception as error:
        shared.broken.put(f"gRPC client: {type(error).__name__}: {error}")
    shared.busy[number] = 0


def operator(shared, number, address, seed):
    """Unloads and loads guests, and loads what everybody uses anew under load."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rng = random.Random(seed)
    counts = shared.counts[number]
    operation = Asker.OPERATIONS.index("load")
    try:
        while shared.state.value != STOP:
            if shared.state.value == PAUSE:
                shared.busy[number] = 0
                time.sleep(0.01)
                continue
            shared.busy[number] = 1
            name, verb = rng.choice([("guest", "load"), ("guest", "unload"), ("minilm", "load"), ("minilm", "unload"),
                                     ("words", "load"), ("bert_reranker", "load")])
            connection = http.client.HTTPConnection(address, timeout=60)
            connection.request("POST", f"/v2/repository/models/{name}/{verb}", b"{}")
            answer = connection.getresponse()
            text = answer.read()
            connection.close()
            if answer.status != 200:
                raise Broken(f"{verb} of {name}: {answer.status} {text[:300]!r}")
            counts[3 * operation] += 1
            time.sleep(rng.random())
    except Exception as error:
        shared.broken.put(f"operator: {type(error).__name__}: {error}")
    shared.busy[number] = 0


class Watcher:
    """Looks at the server from outside: its metrics page and /proc."""

    def __init__(self, pid, http_address, metrics_address):
        self.process, self.http, self.metrics = pathlib.Path(f"/proc/{pid}"), http_address, metrics_address

    def page(self):
        connection = http.client.HTTPConnection(self.metrics, timeout=60)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line and line[0] != "#"}

    def quiet(self):
        """The metrics page once nothing is in flight; Broken where that never comes."""
        until = time.monotonic() + QUIET_SECONDS_MAX
        while True:
            page = self.page()
            held = {name: value for name, value in page.items() if value and name.startswith((
                "sluice_http_in_flight", "sluice_http_connections", "sluice_http_streams", "sluice_grpc_in_flight",
                "sluice_prep_bytes", "sluice_lm_running", "sluice_lm_waiting", "sluice_lm_kv_blocks_used",
                "nv_inference_pending_request_count")) and not name.startswith((
                    "sluice_http_connections_refused", "sluice_http_streams_stalled"))}
            if not held:
                return page
            if time.monotonic() > until:
                raise Broken(f"{QUIET_SECONDS_MAX} s after the last request: {held}")
            time.sleep(0.02)

    def fill(self, page):
        """A prompt that takes every block of the cache but the one that is kept for a copy: what leaked is missing."""
        blocks = page['sluice_lm_kv_blocks{model="words",version="1"}']
        if blocks < 100:
            raise Broken(f"the cache has {blocks} blocks")
        prompt = [random.randrange(3, 96) for _ in range((int(blocks) - 1) * 32 - 1)]
        body = {"model": "words", "prompt": prompt, "max_tokens": 1, "ignore_eos": True}
        status, answer = whole_answer(self.http, "/v1/completions", body)
        if status != 200 or answer["usage"]["prompt_tokens"] != len(prompt):
            raise Broken(f"a prompt of all {blocks} blocks: {status} {answer}")

    def settle(self):
        """Loads the guests, so that every sample has the same models."""
        for name in GUESTS:
            status, answer = whole_answer(self.http, f"/v2/repository/models/{name}/load", {})
            if status != 200:
                raise Broken(f"load of {name}: {status} {answer}")

    def sample(self):
        status = dict(line.split(":", 1) for line in (self.process / "status").read_text().splitlines())
        return {"rss": int(status["VmRSS"].split()[0]) / 1024, "threads": int(status["Threads"]),
                "descriptors": len(list((self.process / "fd").iterdir())), **self.memory()}

    def memory(self):
        """MiB of `heap`, what is resident of all private memory but arenas, and of `arenas`: those are reserved whole
        when models are loaded, in huge pages, and become resident as larger steps come."""
        heap = arenas = size = private = 0
        for line in (self.process / "smaps").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "Size":
                size = int(value.split()[0])
            elif name == "Anonymous":
                private = int(value.split()[0])
            elif name == "VmFlags":
                if "hg" in value.split():
                    arenas += size
                else:
                    heap += private
        return {"heap": heap / 1024, "arenas": arenas / 1024}


def growth(times, values):
    """What a straight line through the values, least squares, rises by from the first time to the last."""
    mean_time, mean_value = sum(times) / len(times), sum(values) / len(values)
    spread = sum((t - mean_time) ** 2 for t in times)
    slope = sum((t - mean_time) * (v - mean_value) for t, v in zip(times, values)) / spread if spread else 0.0
    return slope * (times[-1] - times[0])


def judge(samples, growth_mib_max):
    """Broken where what was sampled at quiet points did not stay as it was."""
    settled = samples[len(samples) // 3:]
    times = [each["time"] for each in settled]
    for what in ("heap", "arenas"):
        risen = growth(times, [each[what] for each in settled])
        print(f"{what} over the last {times[-1] - times[0]:.0f} s: {risen:+.2f} MiB by the trend, allowed {growth_mib_max}")
        if len(settled) > 2 and risen > growth_mib_max:
            raise Broken(f"memory grows: {what} by {risen:.2f} MiB in {times[-1] - times[0]:.0f} s")
    for what in ("descriptors", "threads"):
        least, last = min(each[what] for each in samples), samples[-1][what]
        if last > least + 4:
            raise Broken(f"{what} do not come back: {least} and {last} at quiet points")


def watch(shared, watcher, processes, seconds, period):
    """Runs the load in periods with a quiet point behind each; the samples taken there."""
    while not all(shared.busy) and shared.broken.empty():
        time.sleep(0.01)
    samples, start, answered = [], time.monotonic(), 0
    print(f"{'s':>6} {'requests':>10} {'per s':>7} {'heap MiB':>9} {'arenas':>7} {'rss MiB':>8} {'blocks kept':>12} "
          f"{'descriptors':>11} {'threads':>7}", flush=True)
    while time.monotonic() - start < seconds:
        began = time.monotonic()
        until = began + min(period, max(0.5, seconds - (began - start)))
        while time.monotonic() < until:
            if not shared.broken.empty():
                raise Broken(shared.broken.get())
            if watcher.process_ended():
                raise Broken("the server ended")
            time.sleep(0.05)
        loaded = time.monotonic() - began
        shared.state.value = PAUSE
        waited = time.monotonic() + 2 * QUIET_SECONDS_MAX
        while any(shared.busy):
            if not shared.broken.empty():
                raise Broken(shared.broken.get())
            if time.monotonic() > waited:
                raise Broken(f"clients {[i for i, b in enumerate(shared.busy) if b]} wait for ever")
            time.sleep(0.005)
        watcher.fill(watcher.quiet())
        watcher.settle()
        page = watcher.quiet()
        total = sum(sum(counts) for counts in shared.rows().values())
        sample = {"time": time.monotonic() - start, "requests": total, **watcher.sample()}
        samples.append(sample)
        kept = page['sluice_lm_kv_blocks_kept{model="words",version="1"}']
        print(f"{sample['time']:6.0f} {total:10d} {(total - answered) / loaded:7.0f} {sample['heap']:9.2f} "
              f"{sample['arenas']:7.0f} {sample['rss']:8.2f} {kept:12.0f} {sample['descriptors']:11d} {sample['threads']:7d}", flush=True)
        answered = total
        shared.state.value = RUN
    return samples


def tell(shared, samples):
    print(f"\n{'operation':<12} {'answered':>10} {'refused':>9} {'left':>8}")
    for name, counts in shared.rows().items():
        print(f"{name:<12} {counts[0]:10d} {counts[1]:9d} {counts[2]:8d}")
    total = samples[-1]["requests"]
    print(f"\n{total} requests in {samples[-1]['time']:.0f} s: those of 24 hours at {total / DAY_SECONDS:.1f} a second")


def run(arguments, folder):
    ports = free_ports(3)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    command = [arguments.binary, "serve", "--models", folder, "--http-port", ports[0], "--grpc-port", ports[1],
               "--metrics-port", ports[2], "--model-control-mode", "explicit", "--load-model", "*"]
    log = open(folder.parent / "server.log", "wb")
    server = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)
    processes, shared = [], Shared(arguments.clients + 2)
    try:
        ready(ports[0], server)
        KNOWN_ANSWERS.update((name, known_questions(addresses[0], name)) for name in KNOWN)
        roles = [(client, addresses[0])] * arguments.clients + [(grpc_client, addresses[1]), (operator, addresses[0])]
        for number, (role, address) in enumerate(roles):
            seed = arguments.seed * 1000 + number
            processes.append(multiprocessing.Process(target=role, args=(shared, number, address, seed), daemon=True))
            processes[-1].start()
        watcher = Watcher(server.pid, addresses[0], addresses[2])
        watcher.process_ended = lambda: server.poll() is not None
        period = arguments.period or min(10.0, arguments.seconds / 6)
        samples = watch(shared, watcher, processes, arguments.seconds, period)
        shared.state.value = STOP
        tell(shared, samples)
        judge(samples, arguments.growth_mib_max)
        unasked = [name for name, counts in shared.rows().items() if not counts[0] + counts[1] + counts[2]]
        if unasked:
            raise Broken(f"never asked: {unasked}")
        server.send_signal(signal.SIGTERM)
        if server.wait(60) != 0:
            raise Broken(f"exit code {server.returncode} after SIGTERM")
    finally:
        shared.state.value = STOP
        for process in processes:
            process.join(10)
            if process.is_alive():
                process.terminate()
        if server.poll() is None:
            server.kill()
            server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--period", type=float, default=0, help="seconds between quiet points; 0: by the whole time")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--growth-mib-max", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    multiprocessing.set_start_method("fork")
    work = pathlib.Path(tempfile.mkdtemp(prefix="sluice-soak-"))
    repository(work / "models")
    try:
        run(arguments, work / "models")
    except Broken as what:
        print(f"BROKEN: {what}\nthe server's log: {work / 'server.log'}")
        return 1
    shutil.rmtree(work)
    print("soak: blocks, memory, descriptors and threads stayed, known answers came back to the bit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
