"""Turns packages into batches of token ids for the writer: description, answer, end."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from package_catalogue import Package
from writer_tokenizer import ASSISTANT, END, USER

PACKAGES_A_SOURCE = 3


@dataclass
class Batch:
    """Ids [B, S] int64 and, for each, the weight of predicting it [B, S] f32 (padding: 0)."""

    ids: np.ndarray
    answer: np.ndarray
    description: np.ndarray


class TextSource:
    """Draws epochs of texts; the same seed draws the same batches.

    Texts of like length share a batch, so that next to nothing is padding and no text sees
    another. Each epoch takes at most three packages of one source, whose texts are much alike.
    """

    def __init__(self, packages: list[Package], tokenizer: Tokenizer, longest: int, seed: int):
        self.generator = np.random.default_rng(seed)
        special = [tokenizer.token_to_id(token) for token in (USER, ASSISTANT, END)]
        user, assistant, end = special
        prompts = tokenizer.encode_batch_fast([package.long for package in packages])
        lines = tokenizer.encode_batch_fast([package.short for package in packages])
        self.texts: list[list[int]] = []
        self.prompts: list[int] = []
        self.packages: list[Package] = []
        for package, prompt, line in zip(packages, prompts, lines):
            ids = [user, *prompt.ids, assistant, *line.ids, end]
            if len(ids) <= longest:
                self.texts.append(ids)
                self.prompts.append(len(prompt.ids) + 2)
                self.packages.append(package)
        self.end = end

    def tokens(self) -> int:
        """Tokens of all texts."""
        return sum(map(len, self.texts))

    def pick(self) -> np.ndarray:
        """Indices of at most three packages of each source, in random order."""
        taken: dict[str, int] = {}
        kept = []
        for at in self.generator.permutation(len(self.texts)):
            source = self.packages[at].source
            if taken.get(source, 0) < PACKAGES_A_SOURCE:
                taken[source] = taken.get(source, 0) + 1
                kept.append(int(at))
        return np.array(kept)

    def epoch(self, tokens: int, longest: int) -> list[list[int]]:
        """Batches of about `tokens` tokens, as lists of indices, in random order."""
        order = np.array([at for at in self.pick() if len(self.texts[at]) <= longest])
        lengths = np.array([len(self.texts[at]) for at in order])
        order = order[np.argsort(lengths, kind="stable")]
        batches, batch = [], []
        for at in order:
            batch.append(int(at))
            if len(batch) * len(self.texts[at]) >= tokens:
                batches.append(batch)
                batch = []
        return [batches[at] for at in self.generator.permutation(len(batches))]

    def batch(self, indices: list[int]) -> Batch:
        """The arrays of one batch."""
        longest = max(len(self.texts[at]) for at in indices)
        ids = np.full((len(indices), longest), self.end, dtype=np.int64)
        answer = np.zeros(ids.shape, dtype=np.float32)
        description = np.zeros(ids.shape, dtype=np.float32)
        for row, at in enumerate(indices):
            text, prompt = self.texts[at], self.prompts[at]
            ids[row, :len(text)] = text
            description[row, 1:prompt - 1] = 1
            answer[row, prompt:len(text)] = 1
        return Batch(ids, answer, description)

    def all_batches(self, tokens: int) -> Iterator[Batch]:
        """Every text once, in order of length."""
        order = np.argsort([len(text) for text in self.texts], kind="stable")
        batch: list[int] = []
        for at in order:
            batch.append(int(at))
            if len(batch) * len(self.texts[at]) >= tokens:
                yield self.batch(batch)
                batch = []
        if batch:
            yield self.batch(batch)
