"""Reads the Open Bandit log that the PyPI package `obp` ships and turns it into features.

The CSV files are read from site-packages without importing obp. Campaigns *all* and *men*, both
logging policies: 40,000 impressions with 195 clicks. The log is by ZOZO, Inc., CC BY 4.0 (Saito,
Aihara, Matsutani, Narita 2020, arXiv 2008.07146).
"""

import csv
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

POLICIES = ("random", "bts")
CAMPAIGNS = ("all", "men")
FIELDS = ("campaign", "item", "position", "user_feature_0", "user_feature_1", "user_feature_2",
          "user_feature_3", "item_feature_1", "item_feature_2", "item_feature_3")
DENSE = ("item_feature_0", "affinity_item", "affinity_total")
UNKNOWN = 0


@dataclass(frozen=True)
class Impression:
    """One logged impression: a value for each of FIELDS and DENSE, and whether it was clicked."""

    policy: str
    timestamp: str
    fields: tuple[str, ...]
    dense: tuple[float, ...]
    click: int


def log_folder() -> Path:
    """The folder of the log inside the installed package."""
    found = importlib.util.find_spec("obp")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the package obp is not installed: pip install --no-deps obp")
    return Path(found.submodule_search_locations[0]) / "dataset" / "obd"


def read_log(folder: Path) -> list[Impression]:
    """All impressions, in the order of policies, campaigns and the files' rows."""
    impressions = []
    for policy in POLICIES:
        for campaign in CAMPAIGNS:
            place = folder / policy / campaign
            with open(place / "item_context.csv", newline="", encoding="utf-8") as file:
                items = {row["item_id"]: row for row in csv.DictReader(file)}
            with open(place / f"{campaign}.csv", newline="", encoding="utf-8") as file:
                impressions += [read_row(row, items[row["item_id"]], policy, campaign)
                                for row in csv.DictReader(file)]
    return impressions


def read_row(row: dict[str, str], item: dict[str, str], policy: str, campaign: str) -> Impression:
    """One row of the log joined with its item's features."""
    affinities = [float(value) for name, value in row.items()
                  if name.startswith("user-item_affinity_")]
    users = tuple(row[f"user_feature_{at}"] for at in range(4))
    kinds = tuple(item[f"item_feature_{at}"] for at in (1, 2, 3))
    fields = (campaign, f"{campaign}/{row['item_id']}", row["position"], *users, *kinds)
    dense = (float(item["item_feature_0"]),
             float(row[f"user-item_affinity_{row['item_id']}"]), sum(affinities))
    return Impression(policy, row["timestamp"], fields, dense, int(row["click"]))


def build_vocabulary(impressions: list[Impression]) -> dict[str, dict[str, int]]:
    """Field -> value -> id; ids start at 1, 0 stands for a value that was never seen."""
    return {field: {value: number for number, value in
                    enumerate(sorted({row.fields[at] for row in impressions}), UNKNOWN + 1)}
            for at, field in enumerate(FIELDS)}


def to_arrays(impressions: list[Impression], vocabulary: dict[str, dict[str, int]]
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ids [N, fields] int64, dense [N, 3] f32, clicks [N] f64)."""
    ids = np.array([[vocabulary[field].get(value, UNKNOWN)
                     for field, value in zip(FIELDS, row.fields)] for row in impressions],
                   dtype=np.int64)
    dense = np.array([row.dense for row in impressions], dtype=np.float32)
    return ids, dense, np.array([row.click for row in impressions], dtype=np.float64)


def folds_by_click(clicks: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A fold for each row, [N]; each fold has the same share of clicks, give or take one."""
    generator = np.random.default_rng(seed)
    folds = np.empty(len(clicks), dtype=np.int64)
    for value in (0, 1):
        rows = generator.permutation(np.flatnonzero(clicks == value))
        folds[rows] = np.arange(len(rows)) % count
    return folds
