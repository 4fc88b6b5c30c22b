"""Compares chat templates with Python's jinja2: real templates over conversations by hand and seeded variations, and
seeded random templates of the whole language.

usage: chat_template_test.py --binary build/release/tests/conformance/chat_template_render [--seed 1]
         [--chats 400] [--snippets 8000] [--templates FOLDER]
       chat_template_test.py --write-expected

Two sides agree when they render the same text, or both raise. What our side refuses by name (integers beyond 64 bits
and parts of the language that docs name) is counted apart. The real templates are those of ../shared/data, where that
folder is; exits 77 (skipped) when jinja2 is absent. --write-expected writes what the unit tests expect, which run without
Python: chat_templates/expected.json.
"""

import argparse
import json
import pathlib
import random
import re
import subprocess
import sys
import warnings

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TEMPLATES = ROOT.parent / "shared" / "data" / "structured" / "chat-templates"
SKIPPED = 77
# What our messages say of things that Python has and we do not.
REFUSED = ("64 bits", "63 bits", "is not supported", "a complex one", "are not supported", "levels of evaluation",
           "within values", "of at most 1048576", "of at most 300")
# Python prints addresses of objects that no template can want to print.
OPAQUE = re.compile(r" at 0x[0-9a-f]+>|<(class|built-in|reversed|generator|function|jinja2|LoopContext|Macro) ", re.IGNORECASE)


class Tally:
    shown = 8  # wrong cases that are printed

    def __init__(self, name):
        self.name, self.count, self.wrong, self.refused, self.raised, self.opaque = name, 0, 0, 0, 0, 0

    def compare(self, want, answer, source, shown):
        self.count += 1
        got = ("text", answer["text"]) if "text" in answer else ("error", answer["error"])
        if want == got or want[0] == got[0] == "error":
            self.raised += want[0] == "error"
            return
        if got[0] == "error" and any(mark in got[1] for mark in REFUSED):
            self.refused += 1
            return
        if want[0] == got[0] == "text" and OPAQUE.search(want[1]):
            self.opaque += 1
            return
        self.wrong += 1
        if self.wrong <= self.shown:
            print(f"{self.name}: {source[:700]!r}\n  with {shown[:700]}\n  want {str(want)[:700]}\n  got  {str(got)[:700]}")

    def report(self):
        print(f"{self.name}: {self.count} cases, {self.wrong} wrong, {self.raised} raise on both sides, "
              f"{self.refused} refused by name, {self.opaque} of Python's addresses not compared", flush=True)
        return self.wrong


def answers_of(binary, cases):
    lines = "\n".join(json.dumps(case) for case in cases) + "\n"
    run = subprocess.run([binary], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(answers) == len(cases), f"{len(answers)} answers to {len(cases)} cases"
    return answers


def plain_tokens(case):
    tokens = {name: token if isinstance(token, str) else token["content"] for name, token in case["tokens"].items() if token}
    return dict(case, tokens=tokens)


def compare_chats(binary, reference, conversations, path, count, seed):
    source = path.read_text(encoding="utf-8")
    known = list(conversations.cases())
    rng = random.Random(f"{seed} {path.name}")
    cases = known + [conversations.random_case(rng, known) for _ in range(count)]
    answers = answers_of(binary, [dict(case, template=source) for case in cases])
    tally = Tally(path.name)
    for case, answer in zip(cases, answers):
        tally.compare(reference.chat(source, plain_tokens(case)), answer, path.name, json.dumps(case))
    return tally.report()


def compare_snippets(binary, reference, snippets, count, seed):
    rng = random.Random(f"{seed} snippets")
    cases = [{"template": template, "context": snippets.CONTEXT} for template in snippets.BY_HAND]
    while len(cases) < count:
        cases.append({"template": snippets.random_template(rng), "context": snippets.random_context(rng)})
    answers = answers_of(binary, cases)
    tally = Tally("random templates")
    for case, answer in zip(cases, answers):
        tally.compare(reference.render(case["template"], case["context"]), answer, case["template"], json.dumps(case["context"]))
    return tally.report()


def write_expected(reference, conversations, snippets):
    """Small templates and conversations with what Python makes of them; null: it raises."""
    expected = {"context": snippets.CONTEXT, "snippets": [], "chats": []}
    for template in snippets.BY_HAND:
        kind, text = reference.render(template, snippets.CONTEXT)
        if not OPAQUE.search(text):
            expected["snippets"].append({"template": template, "text": text if kind == "text" else None})
    source = (HERE / "chat_templates" / "tool_chat.jinja").read_text(encoding="utf-8")
    for case in list(conversations.cases())[::23]:
        case["now"] = 1_763_726_400  # noon: one date in every time zone
        kind, text = reference.chat(source, plain_tokens(case))
        expected["chats"].append({"case": case, "text": text if kind == "text" else None})
    lines = json.dumps(expected, ensure_ascii=True, indent=0)
    (HERE / "chat_templates" / "expected.json").write_text(lines + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary")
    parser.add_argument("--write-expected", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--chats", type=int, default=400, help="seeded variations for each template")
    parser.add_argument("--snippets", type=int, default=8000, help="random templates")
    parser.add_argument("--templates", type=pathlib.Path, default=TEMPLATES, help="a folder of .jinja files")
    arguments = parser.parse_args()
    try:
        import jinja2
    except ImportError:
        print("skipped: the Python package 'jinja2' is not installed")
        return SKIPPED
    sys.path.insert(0, str(HERE / "chat_templates"))
    import conversations
    import reference
    import snippets

    print(f"seed {arguments.seed}, jinja2 {jinja2.__version__}")
    warnings.simplefilter("ignore")  # of what Python's compiler thinks of the code that jinja2 makes
    python = reference.Reference()
    if arguments.write_expected:
        write_expected(python, conversations, snippets)
        return 0
    wrong = compare_snippets(arguments.binary, python, snippets, arguments.snippets, arguments.seed)
    paths = sorted((HERE / "chat_templates").glob("*.jinja"))
    if arguments.templates.exists():
        paths += sorted(arguments.templates.glob("*.jinja"))
    else:
        print(f"skipped: real templates: {arguments.templates} is not there")
    for path in paths:
        wrong += compare_chats(arguments.binary, python, conversations, path, arguments.chats, arguments.seed)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
