"""How many passes Snakemake's scheduler makes over the waiting jobs, with its rate limit and without.

Run as ``python tests/performance/scale/scheduler.py --jobs 20 60 --seconds 2``. The workflow is one of so many jobs that
sleep, two at a time. `workflow.scheduling.stop_rate_limit` is what the Snakefile calls.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from planning import ROOT, measured

SNAKEFILE = """
import sys
sys.path.insert(0, {root!r})
from workflow.scheduling import stop_rate_limit
onstart:
    if {lift}:
        stop_rate_limit(workflow)
rule all:
    input: expand("{{number}}.txt", number=range({jobs}))
rule one:
    output: "{{number}}.txt"
    shell: "sleep {seconds}; touch {{output}}"
"""

COUNTED = """
import sys
from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler
passes, considered, select = 0, 0, JobScheduler.job_selector
def counted(self, jobs):
    global passes, considered
    passes, considered = passes + 1, considered + len(jobs)
    return select(self, jobs)
JobScheduler.job_selector = counted
try:
    main(sys.argv[1:])
finally:
    print("passes", passes, considered, file=sys.stderr)
"""
"""Snakemake, which says at its end how many passes its scheduler made, and how many waiting jobs it looked at."""


def passes_of(text: str) -> tuple[int, int]:
    """The two numbers that `COUNTED` prints."""
    return tuple(map(int, re.search(r"^passes (\d+) (\d+)", text, flags=re.M).groups()))


def run(jobs: int, seconds: float, lift: bool, cores: int = 2) -> tuple[float, float, int, int]:
    """Wall seconds, CPU seconds, passes of the scheduler and jobs it looked at in a workflow of sleeping jobs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = SNAKEFILE.format(root=str(ROOT), lift=lift, jobs=jobs, seconds=seconds)
        (folder / "Snakefile").write_text(text, encoding="utf-8")
        command = [sys.executable, "-c", COUNTED, "--cores", str(cores), "--quiet", "all", "--scheduler", "greedy"]
        wall, cpu, _, output = measured(command, folder)
        made = len(list(folder.glob("*.txt")))
        if made != jobs:
            raise SystemExit(f"{made} of {jobs} jobs ran:\n{output[-3000:]}")
        return wall, cpu, *passes_of(output)


def main() -> None:
    """Print one row a number of jobs, with and without the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[20, 60])
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    print(
        "| jobs | rate limit | wall s | CPU s | passes | passes a job | jobs looked at |\n|---|---|---|---|---|---|---|"
    )
    for jobs in options.jobs:
        for lift in (False, True):
            wall, cpu, passes, seen = run(jobs, options.seconds, lift)
            row = f"{wall:.0f} | {cpu:.1f} | {passes} | {passes / jobs:.1f} | {seen}"
            print(f"| {jobs} | {'lifted' if lift else 'as it is'} | {row} |", flush=True)


if __name__ == "__main__":
    main()
