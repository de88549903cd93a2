"""Folders that are not what they should be: used by two runs, read-only, with spaces, in a locale without UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.formats import read_json
from tests.faults import tiny

NO_UTF8 = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
"""A locale of ASCII alone, without the remedies that Python has against it by itself."""


@pytest.mark.end_to_end
@pytest.mark.slow
def test_results_that_a_run_of_another_folder_is_making_are_refused(tmp_path):
    """Snakemake's own lock is on its working folder; these two have results in common and nothing else."""
    results, folder = tmp_path / "results", tmp_path / "second"
    tiny.write_study(folder, tiny.STUDY, results_dir=str(results))
    code = f"import sys; from workflow.session import claim_results; claim_results({str(results)!r}, create=True); print('taken', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tiny.ROOT)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout.readline().strip() == "taken"
        refused = tiny.run(folder)
        assert refused.returncode != 0 and "Traceback" not in refused.stdout
        assert f"another run (process {holder.pid}, started in {tmp_path})" in refused.stdout
        assert "choose another results_dir" in refused.stdout
        assert [path.name for path in results.iterdir()] == [".session.lock"]
    finally:
        holder.kill()
        holder.wait()
    # The kernel drops a dead process's lock.
    assert "another run" not in tiny.succeed(folder, "--until", "write_plan", target="all")


@pytest.mark.faults
@pytest.mark.timeout(7200)
def test_two_runs_started_at_once_in_one_folder(undisturbed, tmp_path):
    """One of them does the work, the other one is refused; three times, with different distances."""
    for number, distance in enumerate((0.0, 0.5, 3.0)):
        folder = tmp_path / str(number)
        tiny.write_study(folder, tiny.STUDY)
        runs = []
        for _ in range(2):
            runs.append(
                subprocess.Popen(tiny.command(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            )
            time.sleep(distance)
        outputs = [process.communicate(timeout=1500)[0] for process in runs]
        assert sorted(process.returncode == 0 for process in runs) == [False, True], outputs
        refused = outputs[0 if runs[0].returncode else 1]
        assert "at work in this folder" in refused or "cannot be locked" in refused
        assert tiny.digests(folder) == tiny.digests(undisturbed) and not tiny.unfinished(folder)


@pytest.mark.end_to_end
@pytest.mark.slow
def test_a_read_only_results_folder(mount, tmp_path):
    """Root may write anywhere; a file system that is mounted read-only stops it, too."""
    tiny.write_study(tmp_path, tiny.STUDY)
    disk = mount("-t", "tmpfs", "-o", "size=64k,ro", "tmpfs", folder=tmp_path / "results")
    refused = tiny.run(tmp_path)
    assert refused.returncode != 0 and "Traceback" not in refused.stdout
    assert "results_dir" in refused.stdout and "Read-only file system" in refused.stdout
    assert not list(disk.iterdir())


@pytest.mark.faults
@pytest.mark.timeout(7200)
def test_a_results_folder_that_becomes_read_only(mount, undisturbed, tmp_path):
    """As after an error of the disk, in the middle of a run; when it can be written again, the next run goes on."""
    tiny.write_study(tmp_path, tiny.STUDY)
    disk = mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", folder=tmp_path / "results")
    # An error of the disk asks nobody; `mount` refuses while a file is open for writing, which the lock is all the time.
    (disk / ".session.lock").symlink_to(tmp_path / "lock")
    outputs = tiny.moved(tiny.jobs(undisturbed), undisturbed, tmp_path)
    command = tiny.command(tmp_path, cores=1)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    while not any(name.startswith("design") for name in tiny.finished(outputs)):
        assert process.poll() is None
        time.sleep(0.05)
    while subprocess.run(["mount", "-o", "remount,ro", str(disk)], capture_output=True).returncode:
        time.sleep(0.01)
    output = process.communicate(timeout=1500)[0]
    assert process.returncode != 0 and "Read-only file system" in output
    done = tiny.finished(outputs)
    assert "statistics" not in done
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    tiny.succeed(tmp_path)
    assert all(tiny.finished(outputs)[name] == times for name, times in done.items()), "done again"
    assert tiny.digests(tmp_path) == tiny.digests(undisturbed)


def test_commands_in_a_locale_without_utf8(tmp_path):
    """Names that ASCII does not have, in the study, in its path and in what the commands print."""
    folder = tmp_path / "Größe µ 数"
    tiny.write_study(folder, tiny.STUDY, description="Zellen für später – µ 数")
    environment = {**os.environ, **NO_UTF8, "PYTHONPATH": str(tiny.ROOT)}

    def call(*arguments: str) -> bytes:
        done = subprocess.run([sys.executable, "-m", *arguments], env=environment, cwd=folder, capture_output=True)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    call("workflow", "plan", "--configfile", str(folder / "study.yaml"), "--output", str(folder / "plan.json"))
    assert read_json(folder / "plan.json")["description"] == "Zellen für später – µ 数"
    call("models", "list")
    call("models", "declare", "mofa")


@pytest.mark.faults
@pytest.mark.timeout(7200)
def test_a_study_in_a_locale_without_utf8_gives_the_same_bytes(undisturbed, tmp_path):
    folder = tmp_path / "Größe µ 数"
    tiny.write_study(folder, tiny.STUDY, description="Zellen für später – µ 数")
    tiny.succeed(folder, target="all", env={**os.environ, **NO_UTF8})
    expected, found = tiny.digests(undisturbed), tiny.digests(folder)
    # The plan holds the description.
    assert {name: digest for name, digest in found.items() if name != "tiny/plan.json"} == {
        name: digest for name, digest in expected.items() if name != "tiny/plan.json"
    }
    report = (folder / "results" / "tiny" / "report.html").read_text(encoding="utf-8")
    assert "Zellen für später – µ 数" in report


def test_a_path_with_spaces_is_that_of_the_undisturbed_study(undisturbed):
    """So that all that is compared with it has been through such a path."""
    assert " " in undisturbed.name and (undisturbed / tiny.TABLES).is_file()
    assert not Path(str(undisturbed).split(" ")[0]).exists()
