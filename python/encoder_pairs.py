"""Turns packages into batches of (query, document) id arrays for contrastive training."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from package_catalogue import Package


@dataclass(frozen=True)
class PairLimits:
    """Longest query and document in pieces, [CLS] and [SEP] included, and pairs per batch."""

    query: int
    document: int
    batch: int


@dataclass
class Batch:
    """Padded ids and masks, [B, S] int64, and each pair's source package as an integer [B]."""

    query_ids: np.ndarray
    query_mask: np.ndarray
    document_ids: np.ndarray
    document_mask: np.ndarray
    sources: np.ndarray


def pad(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids -> (ids, mask), each [rows, longest row] int64."""
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for at, row in enumerate(rows):
        ids[at, :len(row)] = row
        mask[at, :len(row)] = 1
    return ids, mask


class PairSource:
    """Draws epochs of training pairs from packages; the same seed draws the same batches.

    A pair is a package's short description with its long one, or, for `sentence_share` of the
    pairs, a run of words cut out of the long description with what is left of it. Each epoch takes
    at most two packages of one source. Every second epoch groups batches by archive section, whose
    documents are harder to tell apart.
    """

    def __init__(self, packages: list[Package], tokenizer: Tokenizer, seed: int,
                 sentence_share: float = 0.3):
        self.generator = np.random.default_rng(seed)
        self.sentence_share = sentence_share
        self.start, self.stop = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
        pieces = {token: at for token, at in tokenizer.get_vocab().items()}
        self.continues = np.zeros(len(pieces), dtype=bool)
        for token, at in pieces.items():
            self.continues[at] = token.startswith("##")
        tokenizer.no_truncation()
        self.queries = [encoding.ids[1:-1] for encoding in
                        tokenizer.encode_batch_fast([package.short for package in packages])]
        self.documents = [encoding.ids[1:-1] for encoding in
                          tokenizer.encode_batch_fast([package.long for package in packages])]
        names = {name: at for at, name in enumerate(sorted({p.source for p in packages}))}
        self.sources = np.array([names[package.source] for package in packages])
        sections = {name: at for at, name in enumerate(sorted({p.section for p in packages}))}
        self.sections = np.array([sections[package.section] for package in packages])

    def epoch(self, number: int, limits: PairLimits) -> Iterator[Batch]:
        """The batches of epoch `number`; a rest smaller than a batch is left out."""
        order = self.pick_packages()
        if number % 2:
            rank = self.generator.permutation(self.sections.max() + 1)
            order = order[np.argsort(rank[self.sections[order]], kind="stable")]
        group = limits.batch * 8
        batches = []
        for at in range(0, len(order), group):
            pairs = [self.make_pair(int(package), limits) for package in order[at:at + group]]
            pairs.sort(key=lambda pair: len(pair[1]))
            batches += [pairs[b:b + limits.batch]
                        for b in range(0, len(pairs) - limits.batch + 1, limits.batch)]
        for at in self.generator.permutation(len(batches)):
            query_ids, query_mask = pad([pair[0] for pair in batches[at]])
            document_ids, document_mask = pad([pair[1] for pair in batches[at]])
            yield Batch(query_ids, query_mask, document_ids, document_mask,
                        np.array([pair[2] for pair in batches[at]]))

    def pick_packages(self) -> np.ndarray:
        """Indices of at most two packages of each source, in random order."""
        order = self.generator.permutation(len(self.sources))
        taken: dict[int, int] = {}
        kept = []
        for package in order:
            source = int(self.sources[package])
            if taken.get(source, 0) < 2:
                taken[source] = taken.get(source, 0) + 1
                kept.append(package)
        return np.array(kept)

    def make_pair(self, package: int, limits: PairLimits) -> tuple[list[int], list[int], int]:
        """(query ids, document ids, source) of one package."""
        query, document = self.queries[package], self.documents[package]
        if self.generator.random() < self.sentence_share and len(document) >= 32:
            query, document = self.cut_words(document, limits)
        return (self.frame(query, limits.query), self.frame(document, limits.document),
                int(self.sources[package]))

    def cut_words(self, document: list[int], limits: PairLimits) -> tuple[list[int], list[int]]:
        """A run of 4 to 12 pieces that starts and ends at words, and the document without it.

        One run in ten stays in the document as well.
        """
        length = int(self.generator.integers(4, 13))
        start = int(self.generator.integers(0, min(len(document), limits.document) - length))
        end = start + length
        while start > 0 and self.continues[document[start]]:
            start -= 1
        while end < len(document) and self.continues[document[end]]:
            end += 1
        kept = document if self.generator.random() < 0.1 else document[:start] + document[end:]
        return document[start:end], kept

    def frame(self, ids: list[int], limit: int) -> list[int]:
        """Adds [CLS] and [SEP]; the whole is at most `limit` long."""
        return [self.start, *ids[:limit - 2], self.stop]
