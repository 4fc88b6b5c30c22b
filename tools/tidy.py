#!/usr/bin/env python3
"""House rules as a test: layers, file sizes, names, first lines, self-contained headers, no leaking weak symbols.

usage: tools/tidy.py [--build DIR] [--headers] [--symbols]
  --headers   also compile every header of src/ alone (uses DIR/compile_commands.json for flags)
  --symbols   also look for weak symbols in the objects that are built for one instruction set (DIR)

Prints one line per offence, "path:line: what", and exits 1 when there are any.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Which rooms a room may include besides itself. Changing this table is an architecture decision.
FLOOR = {
    "base": set(),
    "tensor": {"base"},
    "text": {"base"},
    "store": {"base"},
    "kernels": {"tensor", "base"},
    "graph": {"kernels", "tensor", "base"},
    "report": {"graph", "kernels", "tensor", "base"},
    "kv": {"kernels", "tensor", "base"},
    "engine": {"tensor", "base"},
    "infer": {"engine", "graph", "kernels", "text", "tensor", "base"},
    "lm": {"engine", "kernels", "kv", "text", "tensor", "base"},
    "rank": {"engine", "graph", "kernels", "kv", "store", "tensor", "base"},
    "vector": {"engine", "kernels", "store", "text", "tensor", "base"},
    "pipeline": {"engine", "tensor", "base"},
    "serve": {"engine", "text", "tensor", "base"},
}
FLOOR["bin"] = set(FLOOR) | {"bin"}

# Third-party headers and the only rooms that may include them.
THIRD_PARTY = {
    r"boost/|openssl/|grpc|yaml-cpp/|zlib\.h": {"serve", "bin"},
    r"google/protobuf/": {"serve", "graph"},
    r"onnx/": {"graph"},
    r"hwy/": {"kernels"},
    r"simdjson": {"base"},
    r"unicode/|pcre2": {"text"},
    r"immintrin\.h": {"kernels", "base"},
    r"cuda|cublas|nccl|cudnn": {"kernels", "tensor"},
}

SIZE_WALL = 800
LINE_WALL = 100
BANNED_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|misc|manager|impl|v\d+)(_|\.|$)")
BANNED_WORDS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
SOURCE = {".h", ".cc", ".cu", ".cuh", ".inc"}


def files(*folders, suffixes=SOURCE):
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and path.is_file():
                yield path


def check_includes(path, lines, report):
    room = path.relative_to(ROOT / "src").parts[0]
    for number, line in enumerate(lines, 1):
        match = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
        if not match:
            continue
        kind, name = match.groups()
        target = name.split("/")[0]
        if kind == '"' and "/" in name and target in FLOOR:
            if target != room and target not in FLOOR.get(room, set()):
                report(path, number, f"room {room} may not include room {target}")
        for pattern, rooms in THIRD_PARTY.items():
            if re.match(pattern, name) and room not in rooms and target not in FLOOR:
                report(path, number, f"<{name}> may be included in {', '.join(sorted(rooms))} only")


def check_text(path, lines, report):
    if len(lines) > SIZE_WALL:
        report(path, len(lines), f"{len(lines)} lines: the wall is {SIZE_WALL}")
    if BANNED_NAMES.search(path.name):
        report(path, 1, "a file name that says nothing (utils, helper, common, misc, manager, impl, v2)")
    if not re.fullmatch(r"[a-z0-9_.]+", path.name):
        report(path, 1, "file names are snake_case")
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_WALL:
            report(path, number, f"{len(line)} columns: at most {LINE_WALL}")
        if BANNED_WORDS.search(line):
            report(path, number, "unfinished work is no comment: do it or file it")
        if re.search(r"^\s*using namespace\b", line) and path.suffix == ".h":
            report(path, number, "no using-namespace in headers")
    if path.suffix in {".h", ".cuh"} and "#pragma once" not in "\n".join(lines[:30]):
        report(path, 1, "header without #pragma once near its top")
    if not lines or not lines[0].startswith("//"):
        if path.suffix in {".h", ".cuh"}:
            report(path, 1, "the first line of a header says what it is for")


def compile_header(header, flags, cwd):
    command = flags + ["-fsyntax-only", "-x", "c++", "-"]
    unit = f'#include "{header.relative_to(ROOT / "src")}"\n'
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, input=unit)
    return header, done.returncode, done.stderr


def included_first(header):
    """Whether the source beside a header includes it before anything else: compiling that has proven it already."""
    source = header.with_suffix(".cc")
    if not source.exists():
        return False
    first = re.search(r'^\s*#\s*include\s+(\S+)', source.read_text(encoding="utf-8"), re.MULTILINE)
    return first is not None and first.group(1) == f'"{header.relative_to(ROOT / "src")}"'


def check_headers(build, report):
    commands = json.loads((build / "compile_commands.json").read_text())
    flags_of = {}
    for entry in commands:
        source = pathlib.Path(entry["file"])
        room = source.relative_to(ROOT / "src").parts[0] if source.is_relative_to(ROOT / "src") else ""
        if re.search(rf"sluice_{room}(_avx\w+)?\.dir", entry["command"]):
            words = shlex.split(entry["command"])
            words = [w for w in words if "ccache" not in w]
            keep, skip = [], False
            for word in words:
                if skip:
                    skip = False
                elif word in ("-o", "-c") or word == entry["file"]:
                    skip = word != entry["file"]
                else:
                    keep.append(word)
            # A folder's own flags where a source of it has any (an instruction set), else its room's.
            flags_of.setdefault(source.parent, (keep, entry["directory"]))
            flags_of.setdefault(ROOT / "src" / room, (keep, entry["directory"]))
    jobs = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for header in files("src", suffixes={".h"}):
            room = ROOT / "src" / header.relative_to(ROOT / "src").parts[0]
            found = flags_of.get(header.parent, flags_of.get(room))
            if found is None or included_first(header):
                continue
            flags, cwd = found
            jobs.append(pool.submit(compile_header, header, flags, cwd))
        for job in jobs:
            header, code, text = job.result()
            if code != 0:
                first = next((line for line in text.splitlines() if "error" in line), text[:200])
                report(header, 1, f"does not compile alone: {first}")


def check_symbols(build, report):
    """Weak symbols of an object built for one ISA may win at link time and run on a machine without it."""
    objects = [p for p in build.rglob("*.o") if re.search(r"_(avx2|avx512|vnni|bf16|amx)\.dir", str(p.relative_to(build)))]
    for path in objects:
        text = subprocess.run(["nm", "-C", "--defined-only", str(path)], capture_output=True, text=True).stdout
        for line in text.splitlines():
            parts = line.split(None, 2)
            if len(parts) == 3 and parts[1] in "WVu" and not re.search(r"N_AVX|DW\.ref", parts[2]):
                report(path, 0, f"weak symbol {parts[2]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--headers", action="store_true")
    parser.add_argument("--symbols", action="store_true")
    arguments = parser.parse_args()
    offences = []

    def report(path, line, what):
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        offences.append(f"{shown}:{line}: {what}")

    count = 0
    for path in files("src", "tests", "bench", "python"):
        lines = path.read_text(encoding="utf-8").splitlines()
        count += 1
        check_text(path, lines, report)
        if path.is_relative_to(ROOT / "src"):
            check_includes(path, lines, report)
    for folder in [p for p in (ROOT / "src").rglob("*") if p.is_dir()]:
        room = folder.relative_to(ROOT / "src").parts[0]
        if room not in FLOOR:
            report(folder, 0, f"room '{room}' is not in the table of tools/tidy.py")
    if arguments.headers:
        check_headers(arguments.build, report)
    if arguments.symbols:
        check_symbols(arguments.build, report)
    for offence in offences:
        print(offence)
    print(f"tidy: {count} files, {len(offences)} offences")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
