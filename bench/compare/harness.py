"""What every comparison shares: interleaved rounds, medians, the table, and the JSON object that is kept.

A comparison is a list of cases; a case has one callable a side that runs the same work once and returns seconds. Rounds
alternate between the sides, so that a noisy neighbour hits both.
"""

import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "bench" / "results"
WORK = ROOT / "build" / "compare"


def inside_environment():
    """Re-executes this script with the pinned environment of the peers."""
    python = ROOT / "build" / "venv-compare" / "bin" / "python"
    if not python.exists():
        sys.exit("the peers' environment is missing: run `make compare NAME=...` or `tools/setup.sh build compare`")
    if pathlib.Path(sys.prefix).resolve() != python.parent.parent.resolve():
        os.execv(python, [str(python), *sys.argv])


def machine():
    name, flags = "unknown", ""
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
        if line.startswith("flags"):
            flags = line
            break
    isa = "avx512" if "avx512_vnni" in flags else "avx2"
    return f"{name}, {os.cpu_count()} cores, {isa}"


def commit():
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or platform.node()


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def interleave(sides, rounds):
    """Runs {name: callable returning seconds} in turns; returns {name: median seconds}."""
    times = {name: [] for name in sides}
    for name, run in sides.items():
        run()
    for _ in range(rounds):
        for name, run in sides.items():
            times[name].append(run())
    return {name: median(values) for name, values in times.items()}


def row(case, peer, ours, theirs, unit, smaller_is_better=True, roof_percent=None, goal=None):
    """`ratio` above 1 means that we are better; `goal` is the least ratio."""
    ratio = theirs / ours if smaller_is_better else ours / theirs
    return {"case": case, "peer": peer, "ours": ours, "theirs": theirs, "unit": unit, "ratio": round(ratio, 3),
            "roof_percent": None if roof_percent is None else round(roof_percent, 1), "goal": goal,
            "met": None if goal is None else bool(ratio >= goal)}


def finish(name, rows):
    """Prints the table, then the object as the last line, and keeps it in bench/results/."""
    head = ("case", "peer", "ours", "theirs", "unit", "ratio", "roof %", "goal", "")
    lines = [head]
    for r in rows:
        mark = "" if r["met"] is None else ("met" if r["met"] else "MISSED")
        roof = "" if r["roof_percent"] is None else f"{r['roof_percent']:.1f}"
        goal = "" if r["goal"] is None else f"{r['goal']:g}"
        lines.append((r["case"], r["peer"], f"{r['ours']:.4g}", f"{r['theirs']:.4g}", r["unit"], f"{r['ratio']:.2f}",
                      roof, goal, mark))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for index, line in enumerate(lines):
        cells = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))]
        print("  ".join(cells).rstrip())
        if index == 0:
            print("  ".join("-" * w for w in widths))
    result = {"name": name, "machine": machine(), "date": datetime.date.today().isoformat(), "commit": commit(),
              "rows": rows}
    RESULTS.mkdir(parents=True, exist_ok=True)
    isa = "avx512" if "avx512" in result["machine"] else "avx2"
    (RESULTS / f"{name}-{isa}-{result['date']}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))
