"""Asks a running server real questions: finds packages by meaning, predicts clicks, writes lines.

Needs numpy, tritonclient and openai. `make demo` builds and starts the server and then runs this.

    python demo/demo.py --url 127.0.0.1:8000
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tritonclient.http as oip

import catalogue
from served_models import (ClickModel, PackageEncoder, PackageWriter, read_impressions,
                           time_calls)

HERE = Path(__file__).resolve().parent
WIDTH = 100
QUERIES = ["play music from the terminal", "edit photos", "back up files to another machine",
           "strategy game with historical armies", "measure network bandwidth",
           "learn to type faster", "convert video to another format", "manage passwords securely"]


def say(phase: str, text: str) -> None:
    """One progress line."""
    print(f"{phase:<10} {text}", flush=True)


def rule(title: str) -> None:
    """A heading as wide as the table."""
    print(f"\n── {title} " + "─" * max(0, WIDTH - len(title) - 4))


def shorten(text: str, width: int) -> str:
    """At most `width` characters."""
    return text if len(text) <= width else text[:width - 1] + "…"


def milliseconds(seconds: np.ndarray) -> str:
    """p50 and p99."""
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1e3
    return f"p50 {p50:8.2f} ms    p99 {p99:8.2f} ms    ({len(seconds)} requests, one at a time)"


def read_packages(options: argparse.Namespace) -> tuple[list[catalogue.Package], str]:
    """Packages, and a phrase that says where they come from."""
    say("catalogue", "reading package descriptions")
    if options.installed:
        return catalogue.read_installed(), "the packages installed on this machine"
    return catalogue.read_catalogue(options.work / "catalogue")


def find_packages(encoder: PackageEncoder, packages: list[catalogue.Package], origin: str,
                  options: argparse.Namespace) -> dict:
    """Embeds packages of this machine's catalogue and answers the queries."""
    held_out = set((HERE / "models/package_encoder/held_out.txt").read_text().split())
    documents = catalogue.choose_documents(packages, held_out, options.packages, seed=1)
    say("catalogue", f"{len(documents):,} of {len(packages):,} packages from {origin}")
    begun, shown = time.perf_counter(), [0]

    def progress(done: int) -> None:
        if done * 4 // len(documents) > shown[0]:
            shown[0] = done * 4 // len(documents)
            say("embed", f"{done:,} of {len(documents):,} long descriptions")

    vectors = encoder.embed_many([package.long for package in documents], 32, 4, progress)
    seconds = time.perf_counter() - begun
    say("embed", f"{len(documents) / seconds:,.0f} documents a second, as text; the server "
        "tokenises")
    scores = encoder.embed(QUERIES) @ vectors.T
    answers = [[(float(row[at]), documents[at]) for at in np.argsort(-row)[:options.top]]
               for row in scores]
    new = [at for at, package in enumerate(documents) if package.name in held_out]
    asked = encoder.embed_many([documents[at].short for at in new], 32, 4, lambda done: None) \
        if new else np.zeros((0, vectors.shape[1]), dtype=np.float32)
    found = asked @ vectors.T
    own = found[np.arange(len(new)), new]
    recall = float(((found > own[:, None]).sum(1) < 10).mean()) if new else float("nan")
    say("queries", f"{len(QUERIES)} typical queries, {len(new):,} held-out short descriptions")
    latency = time_calls((lambda text=QUERIES[at % len(QUERIES)]: encoder.embed([text]))
                         for at in range(options.requests))
    return {"answers": answers, "documents": len(documents), "origin": origin, "new": len(new),
            "recall": recall, "rate": len(documents) / seconds, "latency": latency}


def cross_check(graph: PackageEncoder, checkpoint: PackageEncoder, packages: list[catalogue.Package]
                ) -> str:
    """The encoder run by the graph engine from ONNX and by the language engine from a checkpoint."""
    texts = QUERIES + [package.long for package in packages[:256]]
    vectors = [encoder.embed_many(texts, 32, 4, lambda done: None)
               for encoder in (graph, checkpoint)]
    worst = float(np.abs(vectors[0] - vectors[1]).max())
    return f"{len(texts)} vectors from its checkpoint differ by at most {worst:.1e}"


def predict_clicks(model: ClickModel, options: argparse.Namespace) -> dict:
    """Scores the logged impressions."""
    rows = read_impressions(HERE / "impressions.csv")
    ids, dense = model.arrays(rows)
    predicted = model.predict(ids, dense)
    latency = time_calls((lambda at=at % len(ids): model.predict(ids[at:at + 1], dense[at:at + 1]))
                         for at in range(options.requests))
    say("clicks", f"{len(rows)} logged impressions scored")
    return {"predicted": predicted, "clicked": np.array([int(row["click"]) for row in rows]),
            "weight": np.array([float(row["weight"]) for row in rows]), "rows": rows,
            "latency": latency}


def write_lines(writer: PackageWriter, packages: list[catalogue.Package],
                options: argparse.Namespace) -> dict:
    """Streams lines, first for packages that the writer never saw; then asks for many at once."""
    packages = catalogue.choose_described(packages, 64, seed=2)
    rule("one line for a long description, as it comes (the maintainer's own below)")
    first, whole = [], []
    for package in packages[:options.lines]:
        print(f"{shorten(package.name, 26):<26} ", end="", flush=True)
        begun, came = time.perf_counter(), 0.0
        for piece in writer.stream(package.long):
            came = came or time.perf_counter() - begun
            print(piece, end="", flush=True)
        whole.append(time.perf_counter() - begun)
        first.append(came or whole[-1])
        print(f"\n{'':<26} ({shorten(package.short, 70)})")
    begun = time.perf_counter()
    with ThreadPoolExecutor(16) as pool:
        tokens = sum(count for _, count in
                     pool.map(lambda package: writer.write(package.long), packages))
    seconds = time.perf_counter() - begun
    return {"first": np.array(first), "whole": np.array(whole), "lines": len(packages) / seconds,
            "tokens": tokens / seconds}


def print_answers(found: dict) -> None:
    """Queries with their best documents."""
    rule(f"queries and their best of {found['documents']:,} packages (cosine)")
    for query, answers in zip(QUERIES, found["answers"]):
        print(f"\"{query}\"")
        for score, package in answers:
            print(f"   {score:5.3f}  {shorten(package.name, 26):<26} {shorten(package.short, 62)}")
    if found["new"]:
        print(f"{found['new']:,} of the packages come from sources the encoder never saw: by their "
              f"short description,\n{found['recall']:.1%} are found among the first ten of all "
              f"{found['documents']:,}.")


def print_clicks(clicks: dict) -> None:
    """Predicted against observed, by fifths of the impressions the sample stands for."""
    predicted, clicked, weight = clicks["predicted"], clicks["clicked"], clicks["weight"]
    rule(f"{len(predicted)} logged impressions, which stand for {weight.sum():,.0f} "
         "the model never saw")
    print(f"{'predicted':<22}{'impressions':>12}{'mean predicted':>17}{'clicked':>10}"
          f"{'observed rate':>16}")
    order = np.argsort(predicted, kind="stable")
    fifths = np.minimum((np.cumsum(weight[order]) - 1e-9) / weight.sum() * 5, 4).astype(int)
    for fifth in range(5):
        rows = order[fifths == fifth]
        if len(rows):
            shown, hits = weight[rows].sum(), clicked[rows].sum()
            print(f"{predicted[rows].min():8.4%} to {predicted[rows].max():8.4%}  {shown:>11,.0f}"
                  f"{(predicted[rows] * weight[rows]).sum() / shown:>17.3%}{hits:>10}"
                  f"{hits / shown:>16.3%}")
    mean = [np.average(predicted[clicked == value], weights=weight[clicked == value])
            for value in (1, 0)]
    print(f"mean prediction where it was clicked {mean[0]:.3%}, where it was not {mean[1]:.3%}; "
          f"{clicked.sum()} clicks are few,\nso the rates above scatter widely "
          "(models/click/EVALUATION.md has the figures with intervals).")
    print("highest predictions:")
    for at in order[::-1][:5]:
        row = clicks["rows"][at]
        print(f"   {predicted[at]:7.3%}  item {row['item']:<8} position {row['position']}  "
              f"user's past clicks {float(row['affinity_total']):3.0f}  "
              f"{'clicked' if clicked[at] else 'not clicked'}")


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="127.0.0.1:8000", help="the server's HTTP address")
    parser.add_argument("--work", type=Path, default=HERE.parent / "build" / "demo",
                        help="folder for fetched package lists")
    parser.add_argument("--installed", action="store_true",
                        help="read the installed packages' descriptions only: no network")
    parser.add_argument("--packages", type=int, default=6000, help="documents to embed")
    parser.add_argument("--top", type=int, default=3, help="documents shown a query")
    parser.add_argument("--lines", type=int, default=8, help="descriptions written and shown")
    parser.add_argument("--requests", type=int, default=300, help="single requests timed a model")
    return parser.parse_args()


def main() -> None:
    """All phases, then the table."""
    options = parse_options()
    client = oip.InferenceServerClient(options.url, concurrency=4, connection_timeout=10,
                                       network_timeout=120)
    try:
        if not client.is_server_ready():
            raise SystemExit(f"the server at {options.url} is not ready")
    except OSError as error:
        raise SystemExit(f"no server answers at {options.url}: {error}") from error
    server = client.get_server_metadata()
    say("server", f"{server['name']} {server['version']} at http://{options.url}")
    packages, origin = read_packages(options)
    found = find_packages(PackageEncoder(client, "package_encoder"), packages, origin, options)
    if client.is_model_ready("package_encoder_native"):
        say("encoder", cross_check(PackageEncoder(client, "package_encoder"),
                                   PackageEncoder(client, "package_encoder_native"), packages))
    clicks = predict_clicks(ClickModel(client, "click", HERE / "models/click/vocabulary.json"),
                            options)
    client.close()
    print_answers(found)
    print_clicks(clicks)
    lines = write_lines(PackageWriter(options.url, "package_writer"), packages, options)
    rule("latencies, client included")
    print(f"package_encoder  one query as text   {milliseconds(found['latency'])}")
    print(f"click            one impression      {milliseconds(clicks['latency'])}")
    print(f"package_encoder  long descriptions   {found['rate']:,.0f} documents a second")
    print(f"package_writer   first of a line     {milliseconds(lines['first'])}")
    print(f"package_writer   a line, streamed    {milliseconds(lines['whole'])}")
    print(f"package_writer   16 at a time        {lines['lines']:,.0f} lines, "
          f"{lines['tokens']:,.0f} tokens a second")
    rule("server")
    print(f"http://{options.url} keeps running; make demo STOP=1 stops it.")


if __name__ == "__main__":
    main()
