#!/usr/bin/env python3
"""The training losses of one experiment on two devices, side by side: how far apart they are, and how long they took.

    scripts/gpu/losses.py results/nano-text results/gpu/h200-2/train/nano

Needs Python alone. The seconds are those of the steps that both have.
"""

import json
import pathlib
import sys


def steps(path):
    rows = map(json.loads, path.read_text().splitlines())
    return {row["step"]: row for row in rows if "loss" in row}


def main(first, second):
    lines = []
    for path in sorted(pathlib.Path(first).glob("*/metrics.jsonl")):
        other = pathlib.Path(second) / path.parent.name / path.name
        if not other.exists():
            continue
        a, b = steps(path), steps(other)
        both = sorted(set(a) & set(b))
        if not both:
            continue
        difference, step = max((abs(a[s]["loss"] - b[s]["loss"]) / abs(a[s]["loss"]), s) for s in both)
        seconds = [sum(run[s].get("seconds", 0) for s in both) for run in (a, b)]
        lines.append(f"| {path.parent.name} | {both[-1]} | {difference:.1e} | {step} | {seconds[0]:.0f} | {seconds[1]:.0f} |")
    if not lines:
        sys.exit(f"{first}, {second}: no stage with steps of both; expected two runs with STAGE/metrics.jsonl")
    print(f"| stage | last step of both | largest relative difference of the loss | at step | seconds, {first} | seconds, {second} |")
    print("|---|---|---|---|---|---|", *lines, sep="\n")


if len(sys.argv) != 3:
    sys.exit(__doc__)
main(*sys.argv[1:])
