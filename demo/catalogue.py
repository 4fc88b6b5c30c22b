"""Finds package descriptions on the machine that the demo runs on."""

import random
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python"))

import package_catalogue  # noqa: E402  needs the standard library only
from package_catalogue import Package  # noqa: E402

ENOUGH = 2000
WRITER_HELD_OUT_ONE_IN = 32  # as python/train_writer.py has it
PROGRAMS = {"admin", "comm", "database", "editors", "education", "games", "graphics", "mail", "net",
            "news", "science", "shells", "sound", "text", "utils", "vcs", "video", "web"}


def read_catalogue(folder: Path) -> tuple[list[Package], str]:
    """Packages with long descriptions, and a phrase that says where they come from.

    In this order: the machine's apt lists; lists fetched beside them into `folder` (16 MB, no root
    needed); the descriptions of the installed packages.
    """
    own, fetched = folder / "own", folder / "fetched"
    try:
        if package_catalogue.copy_lists(own):
            packages = package_catalogue.read_packages(own)
            if len(packages) >= ENOUGH:
                return packages, "this machine's apt lists"
        package_catalogue.fetch_lists(fetched)
        packages = package_catalogue.read_packages(fetched)
        if len(packages) >= ENOUGH:
            return packages, "apt lists fetched for the demo"
    except (OSError, subprocess.CalledProcessError):
        pass
    return read_installed(), "the packages installed on this machine"


def read_installed() -> list[Package]:
    """The installed packages, from dpkg's status."""
    form = "Package: ${Package}\\nSource: ${source:Package}\\nSection: ${Section}\\n" \
           "Description: ${Description}\\n\\n"
    done = subprocess.run(["dpkg-query", "-W", "-f", form], check=True, capture_output=True)
    stanzas = done.stdout.decode("utf-8", "replace").split("\n\n")
    packages = (package_catalogue.parse_stanza(stanza) for stanza in stanzas)
    return [package for package in packages if package is not None]


def choose_documents(packages: list[Package], held_out: set[str], count: int, seed: int
                     ) -> list[Package]:
    """Up to `count` packages with distinct long descriptions.

    A quarter of the places may go to held-out packages, which the encoder was not trained on; the
    others go to programs before libraries and the like, drawn by `seed`.
    """
    packages = package_catalogue.distinct_by_long(packages)
    generator = random.Random(seed)
    generator.shuffle(packages)
    new = [package for package in packages if package.name in held_out][:count // 4]
    rest = [package for package in packages if package.name not in held_out]
    rest.sort(key=lambda package: package.section not in PROGRAMS)
    return new + rest[:count - len(new)]


def choose_described(packages: list[Package], count: int, seed: int) -> list[Package]:
    """Up to `count` packages whose descriptions the writer takes, held-out ones first.

    It was trained on texts of up to 224 tokens, which 700 characters seldom exceed.
    """
    packages = [package for package in package_catalogue.distinct_by_long(packages)
                if 80 <= len(package.long) <= 700]
    random.Random(seed).shuffle(packages)
    packages.sort(key=lambda package: not package_catalogue.is_held_out(
        package.source, WRITER_HELD_OUT_ONE_IN))
    return packages[:count]
