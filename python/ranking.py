"""Rankings to compare: BM25 over words, their fusion with another ranking, and recall."""

import math
import re

import numpy as np


def words_of(text: str) -> list[str]:
    """Lower-case runs of letters and digits."""
    return re.findall(r"[a-z0-9]+", text.lower())


class Bm25:
    """Okapi BM25 over a corpus, with the idf that cannot be negative (Robertson, Zaragoza 2009)."""

    def __init__(self, corpus: list[str], k1: float = 1.2, b: float = 0.75):
        documents = [words_of(text) for text in corpus]
        mean = sum(map(len, documents)) / len(documents)
        counts: dict[str, dict[int, int]] = {}
        for at, document in enumerate(documents):
            for word in document:
                row = counts.setdefault(word, {})
                row[at] = row.get(at, 0) + 1
        self.size = len(documents)
        self.postings: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for word, row in counts.items():
            at = np.fromiter(row.keys(), dtype=np.int64)
            count = np.fromiter(row.values(), dtype=np.float64)
            length = np.array([len(documents[i]) for i in at])
            idf = math.log(1 + (self.size - len(row) + 0.5) / (len(row) + 0.5))
            weight = idf * count * (k1 + 1) / (count + k1 * (1 - b + b * length / mean))
            self.postings[word] = (at, weight)

    def scores(self, query: str) -> np.ndarray:
        """The score of each document, [corpus] f64."""
        total = np.zeros(self.size)
        for word in words_of(query):
            if word in self.postings:
                at, weight = self.postings[word]
                total[at] += weight
        return total


def ranks(scores: np.ndarray) -> np.ndarray:
    """Rank of each entry in its row, 0 for the greatest; equal scores keep corpus order."""
    order = np.argsort(-scores, axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(scores.shape[1])[None, :], axis=1)
    return places


def fuse(left: np.ndarray, right: np.ndarray, constant: float = 60.0) -> np.ndarray:
    """Reciprocal-rank fusion of two rank arrays (Cormack et al. 2009): greater is better."""
    return 1 / (constant + 1 + left) + 1 / (constant + 1 + right)


def recall(places: np.ndarray, wanted: np.ndarray, at: int) -> np.ndarray:
    """1.0 where row i's document wanted[i] is among the first `at`, else 0.0; [rows] f64."""
    return (places[np.arange(len(wanted)), wanted] < at).astype(np.float64)
