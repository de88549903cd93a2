"""Every training that has epochs shows epoch, loss and time left in its log, and leaves a loss history."""

from __future__ import annotations

import io
import re

import pytest

from models import registry
from models.base import DivergedError
from models.mofa import _Iterations

SHORT = {"max_epochs": 2, "n_epochs": 2, "epochs": 2, "n_iterations": 30}
LINE = re.compile(r"epoch \d+/\d+  \w+ \S+.*  \d+ s, about \d+ s left")


def trained_by_epochs() -> list[str]:
    """Models of the main environment whose training is counted in epochs or iterations."""
    return [
        name
        for name in registry.names()
        if registry.declaration(name).environment == "main"
        and SHORT.keys() & registry.declaration(name).defaults.keys()
    ]


@pytest.mark.parametrize("name", trained_by_epochs())
def test_the_log_shows_progress(make, capfd, name):
    declared = registry.declaration(name)
    design, _ = make(min(declared.modality_sets, key=len), 0.0, 60)
    model = registry.model_class(name)(**{key: value for key, value in SHORT.items() if key in declared.defaults})
    model.fit(design, 0, "cpu")
    lines = capfd.readouterr().err.splitlines()
    assert any(LINE.fullmatch(line) for line in lines), lines[:10]
    assert model.epochs and any(model.loss_history.values())


def test_iterations_of_mofa_are_read_from_what_it_prints(capsys):
    seen = []
    output = _Iterations(lambda iteration, bound: seen.append((iteration, bound)))
    print("\nStarting\nIteration 1: time=0.00, ELBO=-12.50, deltaELBO=3.000 (0.1%), Factors=10", file=output)
    output.write("Iteration 6: time=0.01, ")
    output.write("ELBO=-11.25, deltaELBO=1.000 (0.1%), Factors=10\nWarning, lower bound")
    output.write(" is decreasing...\n")
    assert seen == [(1, -12.5), (6, -11.25)]
    assert capsys.readouterr().err == "Starting\nWarning, lower bound is decreasing...\n"


def test_a_bound_that_is_not_a_number_stops_mofa():
    def report(iteration, bound):
        if bound != bound:
            raise DivergedError("not finite")

    with pytest.raises(DivergedError):
        print("Iteration 1: time=0.00, ELBO=nan, deltaELBO=nan (nan%), Factors=10", file=_Iterations(report))


def test_the_stream_is_one_that_print_accepts():
    assert isinstance(_Iterations(print), io.TextIOBase) and _Iterations(print).writable()
