"""SLURM without accounting: what its executor plugin has to be told so that it survives an absent controller."""

from __future__ import annotations

import importlib
import subprocess
from functools import cache

PLUGIN = "snakemake_executor_plugin_slurm"


@cache
def has_accounting() -> bool:
    """Whether ``sacct`` answers; where there is no accounting database it is installed and refuses, at once."""
    command = ["sacct", "--noheader", "--allocations", "--starttime=now", "--format=JobID"]
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def ask_sacct_only_where_it_answers() -> None:
    """Have the plugin take ``sacct`` for missing where it never answers.

    Version 2.8.0 asks ``sacct`` for the states of jobs, though told to ask ``squeue``, whenever it cannot read
    ``MinJobAge``, that is whenever the controller is away, if a program of that name is installed. Without accounting all
    of its queries fail, the plugin then forgets the jobs that it waits for, and Snakemake never ends. With this, it
    goes on asking ``squeue`` until the controller is back (``slurm-status-attempts`` in the profile).
    """
    try:
        plugin = importlib.import_module(PLUGIN)
    except ImportError:
        return
    installed = getattr(plugin, "is_query_tool_available", None)
    if installed is None or getattr(installed, "asks_accounting", False):
        return

    def answers(tool: str) -> bool:
        return installed(tool) and (tool != "sacct" or has_accounting())

    answers.asks_accounting = True
    plugin.is_query_tool_available = answers
