"""The plugin's choice between squeue and sacct, with stand-ins for both; the real SLURM is in tests/slurm."""

from __future__ import annotations

import importlib

import pytest

from workflow import slurm


@pytest.fixture
def plugin(monkeypatch):
    """The plugin as it is installed, put back after."""
    module = importlib.import_module(slurm.PLUGIN)
    monkeypatch.setattr(module, "is_query_tool_available", module.is_query_tool_available)
    slurm.has_accounting.cache_clear()
    yield module
    slurm.has_accounting.cache_clear()


@pytest.mark.parametrize("status", [0, 1])
def test_sacct_counts_as_there_only_if_it_answers(plugin, tmp_path, monkeypatch, status):
    for name, code in (("squeue", 0), ("sacct", status)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert plugin.is_query_tool_available("sacct"), "the plugin itself is content with an installed program"
    slurm.ask_sacct_only_where_it_answers()
    assert plugin.is_query_tool_available("sacct") is (status == 0)
    assert plugin.is_query_tool_available("squeue") is True
    changed = plugin.is_query_tool_available
    slurm.ask_sacct_only_where_it_answers()
    assert plugin.is_query_tool_available is changed


def test_without_sacct_there_is_no_accounting(plugin, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.has_accounting() is False
