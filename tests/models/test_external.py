"""Models that are programs: what they find in their folder, and every way in which they can fail."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from scipy.io import mmread

from models.base import Declaration, NotAvailableError
from models.external import ExternalModel, read_embedding, write_design


class Program(ExternalModel):
    """A Python program given as text."""

    declaration = Declaration(
        name="program", title="P", summary="Test.", kind="wrapped", modality_sets=(("rna", "atac"),), unpaired=True,
        defaults={"code": "", "rate": 0.5}, origins={"code": "test", "rate": "test"},
    )  # fmt: skip

    def command(self):
        return [sys.executable, "-c", self.hyperparameters["code"]]


GOOD = """
import csv
cells = [row["cell"] for row in csv.DictReader(open("obs.tsv"), delimiter="\\t")]
settings = {row["name"]: row["value"] for row in csv.DictReader(open("settings.tsv"), delimiter="\\t")}
print("epoch 1/1")
open("notes.txt", "w").write("rate " + settings["rate"] + "\\n\\n")
with open("embedding.csv", "w") as file:
    print("cell,a,b", file=file)
    for number, cell in reversed(list(enumerate(cells))):
        print(f"{cell},{number},{settings['seed']}", file=file)
"""


def test_rows_come_back_in_the_order_of_the_design(make, capfd):
    design, _ = make(("rna", "atac"), 0.5, 40)
    model = Program(code=GOOD)
    model.fit(design, 7, "cpu")
    values = model.embed()
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.column_stack([np.arange(60), np.full(60, 7)]))
    assert model.warnings == ["rate 0.5"]
    assert "epoch 1/1" in capfd.readouterr().err


def test_files_hold_the_design(make, tmp_path):
    design, _ = make(("rna", "atac"), 0.5, 40)
    design.var["atac"] = design.var["atac"].assign(chrom="chr1", start=np.arange(80), end=np.arange(80) + 5)
    write_design(tmp_path, design, {"none": None, "text": "x"})
    for modality in design.modalities:
        counts = mmread(tmp_path / f"{modality}.mtx").tocsr()
        assert (design.counts[modality] != counts.T).nnz == 0 and counts.dtype.kind == "i"
        cells = pd.read_csv(tmp_path / f"{modality}_cells.tsv", sep="\t")["cell"]
        assert cells.tolist() == design.obs.index[design.rows[modality]].tolist()
        features = pd.read_csv(tmp_path / f"{modality}_features.tsv", sep="\t")
        assert features["feature"].tolist() == design.var[modality].index.tolist()
    assert features.columns.tolist() == ["feature", "chrom", "start", "end"]
    obs = pd.read_csv(tmp_path / "obs.tsv", sep="\t")
    assert obs.columns.tolist() == ["cell", "batch", "group"] and obs["cell"].tolist() == design.obs.index.tolist()
    assert (tmp_path / "settings.tsv").read_text() == "name\tvalue\nnone\t\ntext\tx\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('no licence'); raise SystemExit(3)", "ended with status 3: no licence"),
        ("pass", "left no embedding.csv"),
        ("open('embedding.csv', 'w').write('cell,a\\nx,1\\n')", "has 1 rows; wanted each of the 60 cells"),
        (GOOD.replace("{number}", "word"), "no number"),
    ],
)
def test_failures(make, code, message):
    design, _ = make(("rna", "atac"), 0.5, 40)
    with pytest.raises(RuntimeError, match=message):
        Program(code=code).fit(design, 0, "cpu")


def test_a_missing_program_is_not_available(make, monkeypatch):
    design, _ = make(("rna", "atac"), 0.5, 40)
    monkeypatch.setattr(Program, "command", lambda self: ["no-such-program"])
    with pytest.raises(NotAvailableError, match="no-such-program is not on this machine"):
        Program().fit(design, 0, "cpu")


def test_cells_that_look_like_numbers(tmp_path):
    (tmp_path / "embedding.csv").write_text("cell,a\n10,1.5\n9,2.5\n")
    np.testing.assert_array_equal(read_embedding(tmp_path / "embedding.csv", pd.Index(["9", "10"])), [[2.5], [1.5]])
