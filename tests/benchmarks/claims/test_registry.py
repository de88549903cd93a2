"""The claims of the papers load and name what exists; whatever is wrong in such a file is reported with a remedy."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.claims.evaluate import COLUMNS, evaluate
from benchmarks.claims.judgement import CAUSES
from benchmarks.claims.registry import CLAIMS_FILE, KINDS, load_claims
from benchmarks.errors import InputError
from benchmarks.formats import SCORE_COLUMNS
from benchmarks.metrics.registry import METRICS
from models.registry import names

CONFIG = Path(CLAIMS_FILE).parent


@pytest.fixture(scope="module")
def claims():
    variants = yaml.safe_load((CONFIG / "models.yaml").read_text(encoding="utf-8"))
    return load_claims(metrics=METRICS, model_names=[*names(), *variants])


def test_all_four_papers_have_claims(claims):
    counts = pd.Series([claim.paper for claim in claims]).value_counts()
    assert len(counts) == 4 and counts.min() >= 5
    assert len(claims) >= 40


def test_every_claim_says_where_it_stands_and_what_it_says(claims):
    for claim in claims:
        assert claim.says.endswith(".") and len(claim.says) > 20
        assert any(word in claim.place for word in ("Figure", "Section", "Additional file"))


def test_thresholds_of_ours_are_marked(claims):
    """A margin is never the paper's: that it is ours has to be said (or, where it is the paper's, stated)."""
    for claim in claims:
        if "margin" in claim.test:
            assert "(ours)" in claim.reading or claim.stated, claim.id


def simulated_labels():
    """What the shipped studies call simulated data."""
    registry = yaml.safe_load((CONFIG / "datasets.yaml").read_text(encoding="utf-8"))
    labels = {name for name, entry in registry.items() if entry["format"] == "simulated"}
    for path in (CONFIG / "studies").glob("*.yaml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["datasets"]:
            if isinstance(entry, dict) and entry["name"] in labels:
                labels.add(entry.get("label", entry["name"]))
    return labels


def test_simulated_cells_that_count_are_named_and_decide_nothing_about_tissue(claims):
    """Where simulated cells decide a claim, the reader need not know which patterns fit them; none fits all data."""
    labels = simulated_labels()
    assert {"simulated_cite", "complete", "simulated_sources_uncorrected"} <= labels
    for claim in claims:
        if claim.kind == "outside":
            continue
        patterns = [*claim.datasets, *(name for pair in claim.test.get("pairs", ()) for name in pair)] or ["*"]
        fit = any(fnmatchcase(name, pattern) for name in labels for pattern in patterns)
        assert not fit or "imulated" in claim.reading, claim.id
        assert not (fit and any(word in claim.says for word in ("tissue", "cortex", "cell lines"))), claim.id


def test_claims_about_cell_lines_and_cortex_are_tested_on_those_alone(claims):
    """Simulated cells or hours of treatment of one line must not decide what the paper says of its own data."""
    by_id = {claim.id: claim for claim in claims}
    for name in ("ten-dimensions-best", "joint-beats-single-channel", "joint-beats-rna-cortex"):
        assert by_id[name].datasets, name
        for label in (*simulated_labels(), "scicar_a549"):
            assert not any(fnmatchcase(label, pattern) for pattern in by_id[name].datasets), (name, label)


def test_figure_2_of_multidgd_is_read_at_the_largest_size(claims):
    """The paper's models are trained on all training cells; our studies have fewer of them as well."""
    by_id = {claim.id: claim for claim in claims}
    for name in ("reconstruct-rna", "reconstruct-atac", "ari-multidgd-best", "batch-multidgd-better"):
        assert by_id[name].sizes == "largest" and "largest" in by_id[name].reading, name


def test_models_that_a_statement_is_about_are_all_tested(claims):
    by_id = {claim.id: claim for claim in claims}
    multiome, cite = (set(by_id[f"label-asw-level-{name}"].test["models"]) for name in ("multiome", "cite"))
    assert multiome == {"Portal", "Cobolt", "scMM", "scMVP", "DAVAE", "MultiVI"}
    assert cite == {"Cobolt", "scMM", "totalVI", "SCALEX"}
    assert by_id["joint-beats-rna-cortex"].test["than"] == ("scVI", "Monocle 3, RNA")
    for name in ("multiome", "cite"):
        claim = by_id[f"nmi-cobolt-flat-{name}"]
        assert (claim.kind, claim.test["models"], claim.datasets[0]) == ("flat", ("Cobolt",), f"*{name}*")


def test_every_kind_is_used(claims):
    assert {claim.kind for claim in claims} == set(KINDS)


def test_every_model_list_is_used(claims):
    content = yaml.safe_load(CLAIMS_FILE.read_text(encoding="utf-8"))
    text = [str(item) for item in content["claims"]]
    for name in content["models"]:
        assert any(f"'{name}'" in item for item in text), name


def test_patterns_fit_data_sets_that_studies_or_the_registry_name(claims):
    known = set(yaml.safe_load((CONFIG / "datasets.yaml").read_text(encoding="utf-8")))
    for path in (CONFIG / "studies").glob("*.yaml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["datasets"]:
            entry = {"name": entry} if isinstance(entry, str) else entry
            known.add(entry.get("label", entry["name"]))
    for claim in claims:
        patterns = [*claim.datasets, *(name for pair in claim.test.get("pairs", ()) for name in pair)]
        for pattern in patterns:
            assert any(fnmatchcase(name, pattern) for name in known), (claim.id, pattern)


def test_an_empty_table_makes_every_claim_not_testable(claims):
    table = evaluate(claims, pd.DataFrame(columns=list(SCORE_COLUMNS)))
    assert list(table.columns) == list(COLUMNS)
    assert list(table["claim"]) == [claim.id for claim in claims]
    assert (table["verdict"] == "not testable here").all()
    assert table["cause"].isin(CAUSES).all() and (table["reason"] != "").all()


VALID = """
papers: {p: A paper}
models: {A: [pca], B: [mofa, wnn]}
claims:
  - id: first
    paper: p
    place: Figure 1
    says: Something is so.
    metrics: [nmi_leiden]
    test: {kind: better_than, models: [A], than: [B]}
"""


def load(tmp_path, text):
    path = tmp_path / "own claims.yaml"
    path.write_text(text, encoding="utf-8")
    return load_claims(path, METRICS, ["pca", "mofa", "wnn"])


def test_a_valid_file_is_read(tmp_path):
    (claim,) = load(tmp_path, VALID)
    assert (claim.paper, claim.models["B"], claim.test["than"]) == ("A paper", ("mofa", "wnn"), ("B",))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[mofa, wnn]", "[mofa, wn]", "models: B: no model or variant 'wn' (did you mean 'wnn'?)"),
        ("than: [B]", "than: [Bee]", "claim first: test: than: unknown model 'Bee'"),
        ("than: [B]", "than: [A]", "claim first: test: 'A' stands under 'models' and 'than'"),
        ("than: [B]", "than: B", "claim first: test: than: 'B' is no list"),
        ("than: [B]", "than: [B, B]", "claim first: test: than: ['B', 'B'] names something twice"),
        ("than: [B]", "tan: [B]", "claim first: test: unknown key 'tan' (did you mean 'than'?)"),
        (", than: [B]", "", "claim first: test: key 'than' is missing; add it"),
        ("nmi_leiden", "nmi_leidn", "claim first: metrics: no metric 'nmi_leidn' (did you mean 'nmi_leiden'?)"),
        ("better_than", "beter_than", "claim first: test: kind: 'beter_than' is no kind of test (did you mean 'better_than'?)"),
        ("paper: p", "paper: q", "claim first: paper: 'q' is not under 'papers'"),
        ("    says: Something is so.\n", "", "claim first: key 'says' is missing"),
        ("metrics: [nmi_leiden]", "metric: nmi_leiden", "claim first: unknown key 'metric' (did you mean 'metrics'?)"),
        ("    metrics: [nmi_leiden]\n", "", "claim first: metrics: needed for kind 'better_than'"),
        ("place:", "designs: {n_cells: {min: 9, max: 3}}\n    place:", "claim first: designs: n_cells: min 9 is above max 3"),
        ("place:", "designs: {n_cells: {least: 9}}\n    place:", "claim first: designs: n_cells: unknown key 'least'"),
        ("place:", "designs: {sizes: biggest}\n    place:", "claim first: designs: sizes: 'biggest' is none of all, largest"),
        ("place:", "designs: {sizes: [largest]}\n    place:", "claim first: designs: sizes: ['largest'] is none of all, largest"),
        ("place:", "designs: {size: largest}\n    place:", "claim first: designs: unknown key 'size' (did you mean 'sizes'?)"),
        ("place:", "over: cells\n    place:", "claim first: over: 'cells' is none of subsamples, seeds"),
        ("place:", "as_ratio: 1\n    place:", "claim first: as_ratio: 1 is neither true nor false"),
        ("id: first\n    paper: p", "id: first", "claim first: key 'paper' is missing"),
        ("id: first", "id: ''", "claim number 1: id: '' is no text"),
        ("claims:", "claims: 3\nrest:", "unknown key 'rest'"),
        ("kind: better_than, models: [A], than: [B]", "kind: level, models: [A]", "claim first: test: has no number; give exactly one of"),
        ("kind: better_than, models: [A], than: [B]", "kind: level, models: [A], about: .nan, margin: 1", "claim first: test: about: nan is no finite number"),
        ("kind: better_than, models: [A], than: [B]", "kind: level, models: [A], about: 1", "'about' and 'margin' go together"),
        ("kind: better_than, models: [A], than: [B]", "kind: fails, models: [A], at_least: 2", "at_least: 2 is not between 0 and 1"),
        ("kind: better_than, models: [A], than: [B]", "kind: flat, models: [A], along: n_cells, margin: 1", "key 'span' is missing"),
        ("kind: better_than, models: [A], than: [B]", "kind: fails, models: [A], at_least: 1, statuses: [timeut]", "statuses: unknown word 'timeut' (did you mean 'timeout'?)"),
        ("kind: better_than, models: [A], than: [B]", "kind: between_datasets, models: [A], pairs: [[x, y]], relation: alike, margin: 1, by: 1", "'by' goes with 'relation: better'"),
        ("kind: better_than, models: [A], than: [B]", "kind: between_datasets, models: [A], pairs: [[x, y]], relation: better, than: [A]", "a model stands under 'models' and 'than'"),
        ("kind: better_than, models: [A], than: [B]", "kind: best_of, best: A, among: [A]", "among: names no rival of 'A'"),
        ("kind: better_than, models: [A], than: [B]", "kind: flat, models: [A], along: n_cells, margin: 0, span: 4", "margin: 0 is not above 0"),
        ("kind: better_than, models: [A], than: [B]", "kind: flat, models: [A], along: cells, margin: 1, span: 4", "along: 'cells' is none of n_cells, unpaired_fraction"),
        ("kind: better_than, models: [A], than: [B]", "kind: between_datasets, models: [A], pairs: [[x]], relation: better", "is no list of pairs"),
        ("kind: better_than, models: [A], than: [B]", "kind: between_datasets, models: [A], pairs: [[x, y]], relation: alike", "'margin' goes with 'relation: alike'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_and_key(tmp_path, old, new, expected):
    assert old in VALID
    with pytest.raises(InputError) as caught:
        load(tmp_path, VALID.replace(old, new))
    message = str(caught.value)
    assert "own claims.yaml" in message and expected in message
    assert "\n" not in message


def test_a_name_given_twice_is_refused(tmp_path):
    item = VALID[VALID.index("  - id") :]
    with pytest.raises(InputError, match="claim first: 'id' is given to two claims"):
        load(tmp_path, VALID + item.lstrip("\n"))


def test_a_factor_for_a_ratio_is_above_one(tmp_path):
    text = VALID.replace("place:", "as_ratio: true\n    place:")
    alike = text.replace("better_than, models: [A], than: [B]", "alike, models: [A], reference: B, margin: 0.1")
    with pytest.raises(InputError, match=r"margin: 0\.1 is no factor; write 1\.1 for 10 %"):
        load(tmp_path, alike)
    (claim,) = load(tmp_path, alike.replace("0.1", "1.1"))
    assert claim.test["margin"] == pytest.approx(0.0953, abs=1e-4)
    with pytest.raises(InputError, match="as_ratio: has no meaning with kind 'level'"):
        load(tmp_path, text.replace("better_than, models: [A], than: [B]", "level, models: [A], at_least: 1"))


@pytest.mark.parametrize(
    "test",
    [
        "kind: trend, models: [A], along: n_cells, direction: improves",
        "kind: stable_down_to, models: [A], cells: 500, largest: 2000, margin: 1",
        "kind: variance_falls, models: [A]",
    ],
)
def test_the_largest_size_alone_is_refused_where_several_are_needed(tmp_path, test):
    text = VALID.replace("place:", "designs: {sizes: largest}\n    place:")
    (claim,) = load(tmp_path, text)
    assert claim.sizes == "largest"
    text = text.replace("kind: better_than, models: [A], than: [B]", test)
    with pytest.raises(InputError, match=r"designs: sizes: 'largest' leaves one size, and kind .* needs several here"):
        load(tmp_path, text)
    (claim,) = load(tmp_path, text.replace("{sizes: largest}", "{sizes: all}"))
    assert claim.sizes == "all"
