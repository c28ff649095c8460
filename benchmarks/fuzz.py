"""Broken and hostile input, many times: right results, clear errors, failures.

    python benchmarks/fuzz.py [--inputs 10000] [--seed 0] [--only TARGET] [--json F]

Targets and what counts as a failure are those of ``tests/fuzz``. An input is made of the seed, the name of its target
and its number, so that each can be made again. The exit code is 1 if anything failed. Linux only.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "fuzz"))

import files  # noqa: F401  # enters its targets
import values  # noqa: F401
from registry import SECONDS, TARGETS, Outcome, judge

SHOWN = 5  # failures told in full


def main() -> int:
    """Run, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one target")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = [options.only] if options.only else sorted(TARGETS)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    slowest: dict[str, float] = defaultdict(float)
    failures: list[dict[str, Any]] = []
    start = time.perf_counter()
    for number, outcome in outcomes(names, options.inputs, options.seed):
        name = names[number % len(names)]
        counts[name][outcome.verdict] += 1
        slowest[name] = max(slowest[name], outcome.seconds)
        if outcome.verdict == "failed":
            failures.append({"target": name, "number": number, "said": outcome.said})
            if len(failures) <= SHOWN:
                print(f"-- {name}, input {number}\n{outcome.said}", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - start
    print_table(names, counts, slowest)
    print(f"\n{options.inputs} inputs, seed {options.seed}, {seconds:.0f} s, {len(failures)} failures.")
    if options.json:
        table = {name: {**counts[name], "slowest": slowest[name]} for name in names}
        result = {"inputs": options.inputs, "seed": options.seed, "seconds": seconds, "targets": table}
        options.json.write_text(json.dumps({**result, "failures": failures}, indent=1), encoding="utf-8")
    return 1 if failures else 0


def outcomes(names: list[str], inputs: int, seed: int) -> Iterator[tuple[int, Outcome]]:
    """Make every attempt in another process, which is replaced when it crashes or hangs; that is a failure, too."""
    number, fork = 0, multiprocessing.get_context("fork")  # with the targets loaded
    while number < inputs:
        receiver, sender = fork.Pipe(duplex=False)
        process = fork.Process(target=work, args=(names, number, inputs, seed, sender))
        process.start()
        sender.close()
        try:
            while number < inputs:
                if not receiver.poll(3 * SECONDS):
                    process.kill()
                    raise EOFError
                yield number, receiver.recv()
                number += 1
        except EOFError:
            process.join()
            yield number, Outcome("failed", f"the process ended: exit code {process.exitcode}", 0)
            number += 1
        process.join()


def work(names: list[str], start: int, end: int, seed: int, sender: Any) -> None:
    """Make the attempts from one number on, and send how each went."""
    faulthandler.enable()
    for number in range(start, end):
        name = names[number % len(names)]
        with tempfile.TemporaryDirectory(prefix="incontext-fuzz-", ignore_cleanup_errors=True) as folder:
            sender.send(judge(TARGETS[name], Random(f"{seed} {name} {number}"), Path(folder)))


def print_table(names: list[str], counts: dict[str, Counter[str]], slowest: dict[str, float]) -> None:
    """One row a target."""
    print("| input | right results | clear errors | failures | slowest, s |\n|---|---|---|---|---|")
    for name in names:
        count = counts[name]
        print(f"| {name} | {count['right']} | {count['clear']} | {count['failed']} | {slowest[name]:.1f} |")
    right, clear, failed = (sum(c[verdict] for c in counts.values()) for verdict in ("right", "clear", "failed"))
    print(f"| *all* | {right} | {clear} | {failed} | {max(slowest.values()):.1f} |")


if __name__ == "__main__":
    raise SystemExit(main())
