"""Reads Debian's package catalogue and divides it into training and held-out packages.

The catalogue is the output of `apt-cache search --full .` over lists fetched into a folder of
our own (no root, the machine's lists stay as they are). A document is a package's long
description; the query that should find it is the package's one-line short description.
"""

import hashlib
import os
import random
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """One binary package: `source` groups packages built from one source package."""

    name: str
    source: str
    section: str
    short: str
    long: str


def apt_options(folder: Path) -> list[str]:
    """Options that keep apt inside `folder` and make it read the English descriptions."""
    root = folder.resolve()
    return ["-o", f"Dir::State::Lists={root}/lists", "-o", f"Dir::Cache={root}/cache",
            "-o", "Acquire::Languages=en", "-o", "Acquire::GzipIndexes=false",
            "-o", "APT::Sandbox::User="]


def fetch_lists(folder: Path) -> None:
    """Fetches the catalogue's lists (16 MB) over the network unless `folder` has them."""
    if list(folder.glob("lists/*Translation-en")):
        return
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    (folder / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "-qq", *apt_options(folder), "update"], check=True)


def copy_lists(folder: Path, lists: Path = Path("/var/lib/apt/lists")) -> bool:
    """Copies the machine's own lists into `folder`; false when they have no long descriptions.

    Compressed lists are unpacked on the way: apt-cache takes minutes over them as they are.
    """
    if not list(lists.glob("*Translation-en*")):
        return False
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    (folder / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
    for path in lists.iterdir():
        name = re.sub(r"\.(lz4|gz|xz|zst|bz2)$", "", path.name)
        if name.endswith(("InRelease", "_Packages", "_Translation-en")):
            with open(folder / "lists" / name, "wb") as file:
                subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", str(path)], check=True,
                               stdout=file)
    return True


def checksum(folder: Path) -> str:
    """SHA-256 over the lists' names and contents, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted((folder / "lists").iterdir()):
        if path.name.endswith(("_Packages", "_Translation-en")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def file_checksum(path: Path) -> str:
    """SHA-256 of one file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_packages(folder: Path) -> list[Package]:
    """All packages with a long description, sorted by name; the first version of a name wins."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    text = subprocess.run(["apt-cache", *apt_options(folder), "search", "--full", "."], check=True,
                          capture_output=True, env=environment).stdout.decode("utf-8", "replace")
    packages = {}
    for stanza in text.split("\n\n"):
        package = parse_stanza(stanza)
        if package is not None:
            packages.setdefault(package.name, package)
    return [packages[name] for name in sorted(packages)]


def parse_stanza(stanza: str) -> Package | None:
    """The package that one stanza of `apt-cache search --full` describes, or None."""
    fields, key = {}, None
    for line in stanza.strip("\n").split("\n"):
        if line.startswith(" "):
            if key is not None:
                fields[key].append(line[1:])
        elif ":" in line:
            key, _, value = line.partition(":")
            fields[key] = [value.strip()]
    description = fields.get("Description-en") or fields.get("Description")
    if "Package" not in fields or not description or len(description) < 2:
        return None
    name = fields["Package"][0]
    source = fields.get("Source", [name])[0].split(" ")[0]
    return Package(name, source, fields.get("Section", [""])[0].split("/")[-1], description[0],
                   flow_text(description[1:]))


def flow_text(lines: list[str]) -> str:
    """Joins a description's lines; its paragraph mark, a line with one dot, becomes a space."""
    return re.sub(r"\s+", " ", " ".join("" if line == "." else line for line in lines)).strip()


def distinct_by_long(packages: list[Package]) -> list[Package]:
    """Keeps the first package of each long description."""
    seen = {}
    for package in packages:
        seen.setdefault(package.long, package)
    return list(seen.values())


def split_by_source(packages: list[Package], held_out_sources: int, seed: int
                    ) -> tuple[list[Package], list[Package]]:
    """Training and held-out packages; no source package has packages in both.

    A long description that occurs on both sides is removed from the training side.
    """
    sources = sorted({package.source for package in packages})
    chosen = set(random.Random(seed).sample(sources, held_out_sources))
    held_out = [package for package in packages if package.source in chosen]
    held_texts = {package.long for package in held_out}
    train = [package for package in packages
             if package.source not in chosen and package.long not in held_texts]
    return distinct_by_long(train), distinct_by_long(held_out)


def is_held_out(source: str, one_in: int) -> bool:
    """Whether a source package is held out: by a hash of its name, so on every day's catalogue."""
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big") % one_in == 0


def split_by_hash(packages: list[Package], one_in: int) -> tuple[list[Package], list[Package]]:
    """Training and held-out packages like `split_by_source`, the latter chosen by `is_held_out`."""
    held_out = [package for package in packages if is_held_out(package.source, one_in)]
    held_texts = {package.long for package in held_out}
    train = [package for package in packages
             if not is_held_out(package.source, one_in) and package.long not in held_texts]
    return distinct_by_long(train), distinct_by_long(held_out)
