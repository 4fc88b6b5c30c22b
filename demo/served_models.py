"""The served models as the demo sees them: text to vectors, shown to clicked, long to short."""

import csv
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import openai
import tritonclient.http as oip


class PackageEncoder:
    """Sends text; the server tokenises."""

    def __init__(self, client: oip.InferenceServerClient, name: str):
        self.client, self.name = client, name
        metadata = client.get_model_metadata(name)
        texts = [entry for entry in metadata["inputs"] if entry["datatype"] == "BYTES"]
        texts.sort(key=lambda entry: entry["name"] != "text")
        if not texts:
            raise SystemExit(f"model {name}: expected a BYTES input, found "
                             f"{[entry['name'] for entry in metadata['inputs']]}")
        self.input, self.rank = texts[0]["name"], len(texts[0]["shape"])
        self.output = next(entry["name"] for entry in metadata["outputs"]
                           if entry["name"] == "embedding")

    def request(self, texts: list[str]) -> list[oip.InferInput]:
        """The request's inputs for one batch."""
        rows = np.array([text.encode() for text in texts], dtype=np.object_)
        rows = rows.reshape([len(texts)] + [1] * (self.rank - 1))
        tensor = oip.InferInput(self.input, rows.shape, "BYTES")
        tensor.set_data_from_numpy(rows)
        return [tensor]

    def embed(self, texts: list[str]) -> np.ndarray:
        """One request: texts -> [N, hidden] f32."""
        return self.client.infer(self.name, self.request(texts)).as_numpy(self.output)

    def embed_many(self, texts: list[str], batch: int, ahead: int,
                   progress: Callable[[int], None]) -> np.ndarray:
        """Batches of texts of like length, `ahead` requests in flight -> [N, hidden] f32."""
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]), reverse=True)
        waiting: list[tuple[list[int], oip.InferAsyncRequest]] = []
        vectors: dict[int, np.ndarray] = {}
        for begin in range(0, len(order), batch):
            rows = order[begin:begin + batch]
            waiting.append((rows, self.client.async_infer(
                self.name, self.request([texts[at] for at in rows]))))
            while len(waiting) >= ahead or (waiting and begin + batch >= len(order)):
                rows, answer = waiting.pop(0)
                vectors |= zip(rows, answer.get_result().as_numpy(self.output))
                progress(len(vectors))
        return np.stack([vectors[at] for at in range(len(texts))])


class ClickModel:
    """Sends ids and dense features, built with the vocabulary that lies beside the model."""

    def __init__(self, client: oip.InferenceServerClient, name: str, vocabulary: Path):
        self.client, self.name = client, name
        self.features = json.loads(vocabulary.read_text(encoding="utf-8"))

    def arrays(self, rows: list[dict[str, str]]) -> tuple[np.ndarray, np.ndarray]:
        """(ids [N, fields] int64, dense [N, D] f32)."""
        tables, unknown = self.features["ids"], self.features["unknown"]
        ids = [[tables[field].get(row[field], unknown) for field in self.features["fields"]]
               for row in rows]
        dense = [[float(row[name]) for name in self.features["dense"]] for row in rows]
        return np.array(ids, dtype=np.int64), np.array(dense, dtype=np.float32)

    def predict(self, ids: np.ndarray, dense: np.ndarray) -> np.ndarray:
        """One request: probabilities of a click, [N] f64."""
        inputs = [oip.InferInput("ids", ids.shape, "INT64"),
                  oip.InferInput("dense", dense.shape, "FP32")]
        inputs[0].set_data_from_numpy(ids)
        inputs[1].set_data_from_numpy(dense)
        answer = self.client.infer(self.name, inputs)
        return answer.as_numpy("click_probability")[:, 0].astype(np.float64)


class PackageWriter:
    """Writes one-line descriptions through OpenAI's API, with its own client."""

    def __init__(self, url: str, name: str):
        self.client = openai.OpenAI(base_url=f"http://{url}/v1", api_key="none", max_retries=0)
        self.name = name

    def stream(self, description: str) -> Iterator[str]:
        """The line for a long description, in the pieces in which it comes."""
        chunks = self.client.chat.completions.create(
            model=self.name, messages=[{"role": "user", "content": description}], max_tokens=32,
            temperature=0, stream=True)
        for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    def write(self, description: str) -> tuple[str, int]:
        """The line in one answer, and how many tokens it has."""
        answer = self.client.chat.completions.create(
            model=self.name, messages=[{"role": "user", "content": description}], max_tokens=32,
            temperature=0)
        return answer.choices[0].message.content, answer.usage.completion_tokens


def read_impressions(path: Path) -> list[dict[str, str]]:
    """The sample's rows by column name."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def time_calls(calls: Iterator[Callable[[], object]]) -> np.ndarray:
    """Seconds that each call took, one after the other."""
    taken = []
    for call in calls:
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return np.array(taken)
