"""Raw inference in a process of its own: `python -m tests.benchmarks.inference BODIES`, then lines of seconds.

Answers with a line of JSON in the form of `traffic.wrk`: tokeniser and graph on one text after another, nothing else.
"""

import json
import sys
import time

import numpy as np

from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.encoder import OnnxEncoder
from pointsman.classifier.request import read_digest
from pointsman.classifier.text import build_text


def main():
    encoder = OnnxEncoder.load(load_bundle())
    with open(sys.argv[1]) as lines:
        texts = [build_text(read_digest(json.loads(line))) for line in lines]
    number = 0
    for line in sys.stdin:
        times, ends = [], time.perf_counter() + float(line)
        began = now = time.perf_counter()
        used = time.process_time()
        while now < ends:
            encoder.encode([texts[number % len(texts)]])
            number += 1
            before, now = now, time.perf_counter()
            times.append((now - before) * 1e3)
        shares = dict(zip(("p50", "p99", "p99.9"), np.percentile(times, (50, 99, 99.9)), strict=True))
        used = time.process_time() - used
        print(json.dumps({"n": len(times), "seconds": now - began, "processor_s": used, **shares}), flush=True)


if __name__ == "__main__":
    main()
