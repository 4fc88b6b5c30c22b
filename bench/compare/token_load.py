"""Clients that send token ids to a server of OpenAI's API, over connections that stay open; nothing but the standard library."""

import asyncio
import json
import random
import time


def random_tokens(generator, count):
    return [generator.randint(1000, 4000) for _ in range(count)]


class Connection:
    """One kept HTTP/1.1 connection."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def ask(self, path, body):
        """The parsed answer; raises when it is no success."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        data = json.dumps(body).encode()
        self.writer.write(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                          f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
        status = (await self.reader.readline()).decode()
        size, chunked = 0, False
        while (line := (await self.reader.readline()).decode().strip().lower()) != "":
            if line.startswith("content-length:"):
                size = int(line.split(":")[1])
            chunked = chunked or line == "transfer-encoding: chunked"
        answer = b""
        if chunked:
            while (length := int((await self.reader.readline()).split(b";")[0], 16)) != 0:
                answer += (await self.reader.readexactly(length + 2))[:-2]
            await self.reader.readline()
        else:
            answer = await self.reader.readexactly(size)
        if " 200 " not in status:
            raise RuntimeError(f"{path}: {status.strip()}: {answer[:300].decode(errors='replace')}")
        return json.loads(answer)

    def close(self):
        if self.writer is not None:
            self.writer.close()


def run(port, requests, clients):
    """Sends [(path, body)] from so many clients; (seconds, answers in the order of the requests)."""

    async def all_of_them():
        waiting = list(enumerate(requests))[::-1]
        answers = [None] * len(requests)

        async def client():
            connection = Connection(port)
            while waiting:
                at, (path, body) = waiting.pop()
                answers[at] = await connection.ask(path, body)
            connection.close()

        start = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(min(clients, len(requests)))))
        return time.perf_counter() - start, answers

    return asyncio.run(all_of_them())


def completion(model, prompt, count):
    """A greedy completion of exactly `count` tokens."""
    return "/v1/completions", {"model": model, "prompt": prompt, "max_tokens": count, "temperature": 0,
                               "ignore_eos": True, "cache_prompt": True}


class Cases:
    """What is measured of one model behind one port; every call draws tokens that no call drew before it."""

    def __init__(self, port, model, seed):
        self.port, self.model, self.generator = port, model, random.Random(seed)

    def _seconds(self, prompt, count):
        seconds, answers = run(self.port, [completion(self.model, prompt, count)], 1)
        written = answers[0]["usage"]["completion_tokens"]
        if written != count:
            raise RuntimeError(f"{self.model}: {written} tokens instead of {count}")
        return seconds

    def first(self):
        """Seconds of one token behind three."""
        return self._seconds(random_tokens(self.generator, 3), 1)

    def decode(self, count=64):
        """Seconds a token of one stream behind a prompt of 32: two answers' difference."""
        prompt = random_tokens(self.generator, 32)
        first = self._seconds(prompt, 1)
        return (self._seconds(prompt, count + 1) - first) / count

    def prefill(self, length=512):
        """Seconds from a prompt to its first token."""
        return self._seconds(random_tokens(self.generator, length), 1)

    def shared_prefix(self, requests=48, clients=16):
        """Seconds an output token: a shared prefix of 500, 30 tokens of its own, 64 out."""
        prefix = random_tokens(self.generator, 500)
        self._seconds(prefix + random_tokens(self.generator, 3), 1)
        each = [completion(self.model, prefix + random_tokens(self.generator, 30), 64) for _ in range(requests)]
        return run(self.port, each, clients)[0] / (64 * requests)

    def prefix_items_asked_apart(self, items=100, clients=16):
        """Seconds for one cached prefix of 200 and so many requests of 20 tokens, one token out with its alternatives."""
        prefix = random_tokens(self.generator, 200)
        self._seconds(prefix, 1)
        each = [completion(self.model, prefix + random_tokens(self.generator, 20), 1) for _ in range(items)]
        for _, body in each:
            body["logprobs"] = 2
        return run(self.port, each, clients)[0]

    def prefix_items(self, items=100):
        """Seconds for the same in one request that scores the items: two labels' log-probabilities of each."""
        prefix = random_tokens(self.generator, 200)
        self._seconds(prefix, 1)
        ids = [token for _ in range(items) for token in random_tokens(self.generator, 20)]
        inputs = [{"name": name, "shape": [len(data)], "datatype": kind, "data": data}
                  for name, kind, data in (("input_ids", "INT64", prefix), ("item_ids", "INT64", ids),
                                           ("item_lengths", "INT64", [20] * items), ("label_ids", "INT64", [7, 8]))]
        seconds, answers = run(self.port, [(f"/v2/models/{self.model}/infer",
                                            {"parameters": {"task": "score"}, "inputs": inputs})], 1)
        scores = next(o for o in answers[0]["outputs"] if o["name"] == "scores")
        if scores["shape"] != [items, 2]:
            raise RuntimeError(f"scores of shape {scores['shape']}")
        return seconds
