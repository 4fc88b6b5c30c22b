"""Writes held-out packages as one text, as the writer was trained on them: for `sluice eval`.

    python held_out_text.py --work DIR --out FILE
"""

import argparse
from pathlib import Path

import package_catalogue
from writer_tokenizer import ASSISTANT, END, USER

HELD_OUT_ONE_IN = 32  # as in train_writer.py
PACKAGES = 300


def main() -> None:
    """Takes packages by number and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="the folder of train_writer.py")
    parser.add_argument("--out", type=Path, required=True, help="the text's file")
    options = parser.parse_args()
    packages = package_catalogue.read_packages(options.work)
    _, held_out = package_catalogue.split_by_hash(packages, HELD_OUT_ONE_IN)
    drawn = held_out[::max(1, len(held_out) // PACKAGES)][:PACKAGES]
    options.out.write_text("".join(f"{USER}{package.long}{ASSISTANT}{package.short}{END}"
                                   for package in drawn))


if __name__ == "__main__":
    main()
