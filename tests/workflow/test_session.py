"""Taking over from a killed run, and leaving a live one alone."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from workflow import session


class MainProcess:
    is_main_process = True


class JobProcess:
    is_main_process = False


def leave_behind(folder):
    for name in ("locks", "incomplete"):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.output.lock").write_text("x", encoding="utf-8")


def test_what_a_killed_run_left_is_cleared(tmp_path):
    leave_behind(tmp_path)
    assert session.adopt_interrupted_session(MainProcess(), tmp_path)
    assert not (tmp_path / "locks").exists()
    assert (tmp_path / "incomplete").is_dir() and not list((tmp_path / "incomplete").iterdir())


def test_a_job_touches_nothing(tmp_path):
    leave_behind(tmp_path)
    assert not session.adopt_interrupted_session(JobProcess(), tmp_path)
    assert list((tmp_path / "locks").iterdir()) and list((tmp_path / "incomplete").iterdir())


def test_a_live_run_is_named_and_left_alone(tmp_path, root, capsys):
    code = textwrap.dedent(
        f"""
        import sys
        from workflow import session
        class Main: is_main_process = True
        assert session.adopt_interrupted_session(Main(), {str(tmp_path)!r})
        print("taken", flush=True)
        sys.stdin.read()
        """
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline().strip() == "taken"
        leave_behind(tmp_path)
        assert not session.adopt_interrupted_session(MainProcess(), tmp_path)
        assert f"Another run (process {holder.pid})" in capsys.readouterr().err
        assert list((tmp_path / "locks").iterdir())
    finally:
        holder.kill()
        holder.wait()
    # The kernel drops a dead process's lock: the next run takes over.
    assert session.adopt_interrupted_session(MainProcess(), tmp_path)
    assert not (tmp_path / "locks").exists()


def test_an_unusable_folder_is_no_fault(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert not session.adopt_interrupted_session(MainProcess(), tmp_path / "file" / "x")
