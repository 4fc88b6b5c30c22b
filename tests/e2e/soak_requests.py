"""What the clients of soak_language.py ask: random requests of every kind, and which answers to them are right."""

import http.client
import json
import random
import socket
import struct

from soak import Broken, read_answer

ANSWERED, REFUSED, LEFT = range(3)
WORDS = [f"w{i}" for i in range(3, 96)]
PLAIN = "the a of to reads writes tables graphs data library fast small for and with".split()
# Questions whose answers are taken before the load begins and must stay the same to the bit.
KNOWN = {
    "greedy": ("/v1/completions", {"model": "words", "prompt": "w5 w6 w7 w8 w9", "max_tokens": 24, "temperature": 0,
                                   "ignore_eos": True, "logprobs": 2}),
    "drawn": ("/v1/completions", {"model": "words", "prompt": " ".join(WORDS), "max_tokens": 24, "seed": 7,
                                  "temperature": 1, "ignore_eos": True, "n": 3}),
    "echo": ("/v1/completions", {"model": "words", "prompt": " ".join(WORDS[::2]), "max_tokens": 0, "echo": True,
                                 "logprobs": 1}),
    "labels": ("/v1/score", {"model": "words", "prefix": " ".join(WORDS[:70]), "items": ["w3 w4", "w5", "w6 w7 w8"],
                             "labels": ["w10", "w11"]}),
    "likelihood": ("/v1/score", {"model": "words", "prefix": "w3 w4 w5", "items": ["w3 w4", "w5", "w6 w7 w8"]}),
    "ranking": ("/v1/rerank", {"model": "bert_reranker", "query": "reads tables",
                               "documents": ["fast tables", "draws graphs", "a library for data"]}),
}
KNOWN_ANSWERS = {}  # by name; set before clients are started


def whole_answer(address, path, body):
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text else None


def said(document):
    """An answer without what differs between two of the same question."""
    return {key: value for key, value in document.items() if key not in ("id", "created", "usage")}


def known_questions(address, name):
    path, body = KNOWN[name]
    status, document = whole_answer(address, path, body)
    if status != 200:
        raise Broken(f"known question {name}: {status} {document}")
    return said(document)


class Asker:
    """One client with one connection at a time."""

    OPERATIONS = ["known", "completion", "stream", "left", "chat", "echo", "score", "embed", "rerank", "tokenize",
                  "deadline", "broken", "half", "reset", "oip", "guest", "grpc", "load"]
    WEIGHTS = [12, 14, 8, 8, 10, 5, 8, 10, 6, 8, 5, 5, 2, 2, 5, 8]

    def __init__(self, address, rng, guests):
        host, port = address.split(":")
        self.address, self.random, self.guests = (host, int(port)), rng, guests
        self.socket = self.stream = None
        shared = random.Random(4)  # the same beginnings for all clients
        self.beginnings = [" ".join(shared.choice(WORDS) for _ in range(shared.randrange(20, 400))) for _ in range(8)]

    def leave(self, reset=False):
        if self.socket is None:
            return
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.close()
        self.socket.close()
        self.socket = self.stream = None

    def one(self):
        """Asks once: (operation, outcome)."""
        operation = self.random.choices(range(len(self.WEIGHTS)), self.WEIGHTS)[0]
        outcome = getattr(self, "ask_" + self.OPERATIONS[operation])()
        if self.random.random() < 0.02:
            self.leave()
        return operation, outcome

    # What requests are made of.

    def words(self, low, high):
        return " ".join(self.random.choices(WORDS, k=self.random.randrange(low, high)))

    def plain(self):
        return " ".join(self.random.choices(PLAIN, k=self.random.randrange(1, 30)))

    def prompt(self):
        draw = self.random.random()
        if draw < 0.5:
            return self.random.choice(self.beginnings) + " " + self.words(1, 10)
        return self.words(1, 40) if draw < 0.9 else self.words(200, 600)

    def settings(self, body):
        rng = self.random
        body["max_tokens"] = rng.randrange(1, 24)
        if rng.random() < 0.5:
            body.update(temperature=rng.choice([0, 0.7, 1.5]), top_p=rng.choice([1, 0.9]), top_k=rng.choice([-1, 5]))
        if rng.random() < 0.3:
            body.update(presence_penalty=0.5, repetition_penalty=1.1, logit_bias={"5": 3.0, "9": -100})
        if rng.random() < 0.3:
            body["cache_salt"] = f"tenant {rng.randrange(3000)}"
        if rng.random() < 0.2:
            body["n"] = rng.randrange(2, 5)
        if rng.random() < 0.2:
            body["stop"] = rng.choices(WORDS, k=2)
        if rng.random() < 0.1:
            body.update(priority=rng.randrange(1, 5), deadline_ms=60000)
        if rng.random() < 0.1:
            body["user_" + rng.choice("abc")] = 1
        return body

    # How they are sent.

    def send(self, path, data, cut=None):
        if self.socket is None:
            self.socket = socket.create_connection(self.address, timeout=60)
            self.stream = self.socket.makefile("rb")
        head = f"POST {path} HTTP/1.1\r\nHost: sluice\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
        self.socket.sendall((f"{head}\r\n\r\n".encode() + data)[:cut])

    def ask(self, path, body, *allowed):
        """(status, document); Broken where the status is neither 200 nor an allowed one."""
        self.send(path, json.dumps(body).encode())
        answer = read_answer(self.stream)
        if answer is None:
            raise Broken(f"{path}: the connection was closed instead of an answer to {str(body)[:300]}")
        status, text = answer
        if "deadline_ms" in body:
            allowed += (429, 503, 504)
        if status != 200 and status not in allowed:
            raise Broken(f"{path}: {status} {text[:300]!r} to {str(body)[:300]}")
        return status, json.loads(text)

    def outcome(self, path, body, *allowed):
        return ANSWERED if self.ask(path, body, *allowed)[0] == 200 else REFUSED

    # The operations.

    def ask_known(self):
        name = self.random.choice(list(KNOWN))
        path, body = KNOWN[name]
        _, document = self.ask(path, body)
        if said(document) != KNOWN_ANSWERS[name]:
            raise Broken(f"another answer to '{name}': {said(document)} instead of {KNOWN_ANSWERS[name]}")
        return ANSWERED

    def ask_completion(self):
        body = self.settings({"model": "words", "prompt": self.prompt()})
        if self.random.random() < 0.3:
            body["logprobs"] = self.random.randrange(6)
        status, document = self.ask("/v1/completions", body)
        if status != 200:
            return REFUSED
        if len(document["choices"]) != body.get("n", 1):
            raise Broken(f"{len(document['choices'])} choices to {body}")
        return ANSWERED

    def chat_body(self):
        messages = [{"role": "system", "content": self.random.choice(self.beginnings)}]
        for _ in range(self.random.randrange(1, 4)):
            messages.append({"role": "user", "content": self.words(1, 20)})
        return self.settings({"model": "words", "messages": messages})

    def ask_chat(self):
        return self.outcome("/v1/chat/completions", self.chat_body())

    def open_stream(self):
        body = {**self.chat_body(), "stream": True, "stream_options": {"include_usage": True}}
        body.pop("deadline_ms", None)
        self.send("/v1/chat/completions", json.dumps(body).encode())
        status = int(self.stream.readline().split()[1])
        if status != 200:
            raise Broken(f"a stream began with {status}")

    def ask_stream(self):
        self.open_stream()
        last = b""
        while True:  # to the end of the chunks
            line = self.stream.readline()
            if not line:
                raise Broken("a stream was cut off")
            if line == b"0\r\n":
                self.stream.readline()
                break
            if line.startswith(b"data: "):
                last = line
        if last.strip() != b"data: [DONE]":
            raise Broken(f"the last event of a stream: {last!r}")
        return ANSWERED

    def ask_left(self):
        self.open_stream()
        for _ in range(self.random.randrange(12)):
            self.stream.readline()
        self.leave(reset=self.random.random() < 0.3)
        return LEFT

    def ask_echo(self):
        body = {"model": "words", "prompt": self.prompt(), "max_tokens": self.random.choice([0, 0, 3]), "echo": True,
                "logprobs": self.random.randrange(4)}
        return self.outcome("/v1/completions", body)

    def ask_score(self):
        items = [self.words(1, 12) for _ in range(self.random.randrange(1, 40))]
        body = {"model": "words", "prefix": self.prompt(), "items": items}
        if self.random.random() < 0.6:
            body.update(labels=["w10", "w11"], over=self.random.choice(["labels", "vocabulary"]))
            if self.random.random() < 0.5:
                body["top_k"] = 3 if len(items) > 3 else 1
        return self.outcome("/v1/score", body)

    def ask_embed(self):
        texts = [self.plain() for _ in range(self.random.randrange(1, 9))]
        if self.random.random() < 0.3:
            body = {"model": "words", "input": [self.words(1, 60) for _ in texts]}
            return self.outcome("/v1/embeddings", body)
        body = {"model": "minilm", "input": texts, "encoding_format": self.random.choice(["float", "base64"])}
        return self.outcome("/v1/embeddings", body, 404, 503)

    def ask_rerank(self):
        body = {"model": "bert_reranker", "query": self.plain(),
                "documents": [self.plain() for _ in range(self.random.randrange(1, 20))]}
        return self.outcome(self.random.choice(["/v1/rerank", "/v2/rerank"]), body)

    def ask_tokenize(self):
        if self.random.random() < 0.5:
            ids = [self.random.randrange(96) for _ in range(self.random.randrange(1, 50))]
            return self.outcome("/detokenize", {"model": "words", "tokens": ids})
        return self.outcome("/tokenize", {"model": "words", "prompt": self.prompt(), "return_token_strs": True})

    def ask_deadline(self):
        """Deadlines that are met, missed at admission, in the queue or in the middle of an answer."""
        body = self.settings({"model": "words", "prompt": self.prompt(), "ignore_eos": True})
        body.update(max_tokens=64, deadline_ms=self.random.choice([0.01, 1, 3, 10, 30]))
        return self.outcome("/v1/completions", body)

    def ask_broken(self):
        path, body = self.random.choice([
            ("/v1/completions", b'{"model": "words", "prompt": '),
            ("/v1/completions", b'{"model": "words", "prompt": "w5", "temperature": -1}'),
            ("/v1/completions", b'{"model": "words", "prompt": "w5", "response_format": {"type": "json_object"}}'),
            ("/v1/completions", b'{"model": "words", "prompt": [5, 6, 1000000]}'),
            ("/v1/completions", b'{"model": "words", "prompt": "w5", "max_tokens": 100000000}'),
            ("/v1/chat/completions", b'{"model": "words", "messages": [{"role": 5}]}'),
            ("/v1/chat/completions", b'{"model": "none", "messages": []}'),
            ("/v1/score", b'{"model": "words", "prefix": "w5", "items": ["w5"], "labels": ["w5 w6"]}'),
            ("/v1/embeddings", b'{"model": "bert_reranker", "input": "a"}'),
            ("/v1/rerank", b'{"model": "bert_reranker", "query": "a", "documents": [5]}'),
            ("/tokenize", b'[' * 200), ("/v1/nothing", b"{}")])
        self.send(path, body)
        answer = read_answer(self.stream)
        if answer is None:
            raise Broken(f"{body} to {path} was not answered")
        if not 400 <= answer[0] < 500 and answer[0] != 501:
            raise Broken(f"{answer[0]} to {body} at {path}")
        json.loads(answer[1])
        return REFUSED

    def ask_half(self):
        data = json.dumps(self.chat_body()).encode()
        self.send("/v1/chat/completions", data, cut=self.random.randrange(10, len(data)))
        self.leave(reset=self.random.random() < 0.3)
        return LEFT

    def ask_reset(self):
        """Whole requests whose askers are gone before they are answered."""
        body = {"model": "words", "prompt": self.prompt(), "max_tokens": 200, "ignore_eos": True, "n": 4}
        self.send("/v1/completions", json.dumps(body).encode())
        self.leave(reset=self.random.random() < 0.5)
        return LEFT

    def ask_oip(self):
        parameters = {"task": "score", "token_logprobs": True}
        inputs = [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [self.prompt()]},
                  {"name": "items", "shape": [2], "datatype": "BYTES", "data": [self.words(1, 9), self.words(1, 9)]}]
        if self.random.random() < 0.5:
            parameters = {"max_tokens": 8, "prompt_logprobs": 2, "token_texts": True}
            del inputs[1]
        return self.outcome("/v2/models/words/infer", {"inputs": inputs, "parameters": parameters})

    def ask_guest(self):
        if "guest" not in self.guests:
            return LEFT
        body = self.settings({"model": "guest", "prompt": self.prompt()})
        return self.outcome("/v1/completions", body, 404, 503)
