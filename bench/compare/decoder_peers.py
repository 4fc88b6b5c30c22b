"""Measures transformers (bf16) or CTranslate2 (int8) on a folder of a decoder: one JSON line a round, as asked on stdin.

    PYTHON decoder_peers.py transformers|ctranslate2 FOLDER

Run by `llm` with a Python that has the peer; each line "decode N" or "prefill N" is answered by seconds.
"""

import os
import pathlib
import random
import subprocess
import sys
import time

THREADS = 2


def tokens(count):
    return [random.randint(1000, 4000) for _ in range(count)]


def transformers_peer(folder):
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(THREADS)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()

    def write(prompt, count):
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=count,
                           max_new_tokens=count, pad_token_id=0)
    return write


def ctranslate2_peer(folder):
    import ctranslate2
    converted = pathlib.Path(folder).with_name("ctranslate2-int8")
    if not converted.exists():
        from ctranslate2.converters import TransformersConverter
        TransformersConverter(folder, low_cpu_mem_usage=True).convert(str(converted), quantization="int8")
    generator = ctranslate2.Generator(str(converted), device="cpu", compute_type="int8_float32", intra_threads=THREADS)

    def write(prompt, count):
        generator.generate_batch([[f"w{token}" for token in prompt]], min_length=count, max_length=count,
                                 include_prompt_in_result=False, end_token="w2", sampling_topk=1)
    return write


def timed(write, prompt, count):
    start = time.perf_counter()
    write(prompt, count)
    return time.perf_counter() - start


def main():
    name, folder = sys.argv[1:]
    # What a peer prints belongs to the log: answers go to the pipe alone.
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    write = {"transformers": transformers_peer, "ctranslate2": ctranslate2_peer}[name](folder)
    write(tokens(8), 2)
    print("ready", file=pipe, flush=True)
    for line in sys.stdin:
        case, count = line.split()
        if case == "decode":
            prompt = tokens(32)
            first = timed(write, prompt, 1)
            seconds = (timed(write, prompt, int(count) + 1) - first) / int(count)
        else:
            seconds = timed(write, tokens(int(count)), 1)
        print(seconds, file=pipe, flush=True)


class Peer:
    """The other end: a process of this file."""

    def __init__(self, python, name, folder, log):
        self.process = subprocess.Popen([python, __file__, name, str(folder)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=open(log, "w"), text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{name} did not start: see {log}")

    def ask(self, case, count):
        self.process.stdin.write(f"{case} {count}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)


if __name__ == "__main__":
    main()
