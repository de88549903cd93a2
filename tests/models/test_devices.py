"""Devices: counted without PyTorch, shared out evenly, given back by any end of a process; kernels chosen."""

from __future__ import annotations

import subprocess
import sys

import pytest

from models import devices


@pytest.mark.parametrize(
    ("variable", "installed", "seen"),
    [
        (None, 0, []),
        (None, 2, ["0", "1"]),
        ("", 2, []),
        ("-1", 2, []),
        ("1", 2, ["1"]),
        ("1,-1,0", 2, ["1"]),
        ("GPU-a, GPU-b", 2, ["GPU-a", "GPU-b"]),
        ("0", 0, []),
    ],
)
def test_visible(monkeypatch, variable, installed, seen):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    monkeypatch.setattr(devices, "_installed", lambda: installed)
    assert devices.visible() == seen


def test_the_count_agrees_with_pytorch():
    import torch

    assert len(devices.visible()) == torch.cuda.device_count()


def test_claims_go_to_the_device_with_the_fewest(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "visible", lambda: ["0", "1"])

    def claim():
        return devices.claim("auto", tmp_path / "claims")

    with claim() as first, claim() as second, claim() as third:
        assert [item["CUDA_VISIBLE_DEVICES"] for item in (first, second, third)] == ["0", "1", "0"]
        with claim() as fourth:
            assert fourth["CUDA_VISIBLE_DEVICES"] == "1"
        with claim() as again:
            assert again["CUDA_VISIBLE_DEVICES"] == "1"
    with claim() as free:
        assert free["CUDA_VISIBLE_DEVICES"] == "0"


@pytest.mark.parametrize(("device", "seen"), [("cpu", ["0", "1"]), ("auto", []), ("auto", ["0"])])
def test_nothing_to_choose(monkeypatch, tmp_path, device, seen):
    monkeypatch.setattr(devices, "visible", lambda: seen)
    with devices.claim(device, tmp_path / "claims") as variables:
        assert variables == {}
    assert not (tmp_path / "claims").exists()


def test_a_killed_process_gives_its_device_back(monkeypatch, tmp_path, root):
    monkeypatch.setattr(devices, "visible", lambda: ["0", "1"])
    code = (
        "import sys; from models import devices; devices.visible = lambda: ['0', '1']\n"
        f"with devices.claim('auto', {str(tmp_path)!r}) as found: print(found, flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert b"'0'" in holder.stdout.readline()
        with devices.claim("auto", tmp_path) as found:
            assert found["CUDA_VISIBLE_DEVICES"] == "1"
    finally:
        holder.kill()
        holder.wait()
    with devices.claim("auto", tmp_path) as found:
        assert found["CUDA_VISIBLE_DEVICES"] == "0"


def test_kernels():
    import torch

    try:
        devices.choose_kernels(True)
        assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
        devices.choose_kernels(False)
        assert not torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = False
