"""Advice in sentences: what they say has to be what the tables hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.statistics.advice import (
    advise,
    curve_sentence,
    model_sentence,
    paired_sentence,
    replicates_needed,
    text,
)

CURVE = {
    "axis": "cells", "fixed": 0.5, "status": "fitted", "reason": "", "form": "power law", "form_share": 0.9, "trend": "improves", "smallest": 500.0, "largest": 10000.0,
    "gain": 0.2, "gain_low": 0.1, "gain_high": 0.3, "plateau": 0.8, "plateau_low": 0.75, "plateau_high": np.inf,
    "held_size": np.nan, "held_value": np.nan, "held_fit": np.nan, "held_low": np.nan, "held_high": np.nan,
    "value_largest": 0.78, "chance_smallest": np.nan, "chance_largest": np.nan,
}  # fmt: skip
PLATEAU = {"tolerance": 0.05, "yardstick": "the plateau itself", "answer": "within the measured sizes", "cells": 5621.0, "cells_low": 3000.0, "cells_high": np.inf}  # fmt: skip
EXCHANGE = {
    "status": "fitted", "reason": "", "n_cells": 1000.0, "unpaired_fraction": 0.5, "worth": 0.25, "worth_low": 0.1, "worth_high": 0.4,
    "replacement": 2000.0, "replacement_low": 1250.0, "replacement_high": np.inf, "verdict": "an unpaired cell helps, less than a paired one",
}  # fmt: skip


def test_numbers_in_sentences():
    assert [text(value) for value in (0.12345, 1234.5, -0.5, 99999.0, 0.0, 123.4)] == [
        "0.123",
        "1,230",
        "−0.5",
        "100,000",
        "0",
        "123",
    ]
    assert text(np.nan) == "unknown"


def test_sentences_about_cells():
    sentence = curve_sentence(CURVE, PLATEAU)
    assert sentence.startswith(
        "Improves with cells: 0.2 (0.1 to 0.3) from 500 to 10,000 cells; plateau 0.8 (0.75 to no limit)"
    )
    assert "within 5 % of the plateau itself from 5,620 cells (3,000 to beyond 20,000)" in sentence
    beyond = curve_sentence(CURVE, {**PLATEAU, "answer": "beyond the measured range", "cells": np.inf})
    assert "only beyond 20,000 cells" in beyond and "3,000 cells are not excluded" in beyond
    assert "by extrapolation" in curve_sentence(CURVE, {**PLATEAU, "answer": "extrapolated"})
    straight = {**CURVE, "form": "log-linear"}
    nowhere = {**PLATEAU, "answer": "beyond the measured range", "cells": np.inf}
    assert curve_sentence(straight, nowhere).endswith(
        "no sign of a plateau; 90 % of the bootstrap samples choose this form."
    )
    assert "the metric's bound is reached within 5 % of the plateau itself from 5,620 cells" in curve_sentence(
        straight, PLATEAU
    )
    assert "worse" in curve_sentence({**CURVE, "trend": "worsens"}, PLATEAU)
    assert "do not resolve" in curve_sentence({**CURVE, "trend": "unresolved"}, PLATEAU)
    constant = curve_sentence({**CURVE, "form": "constant"}, PLATEAU)
    assert "No dependence" in constant and "90 % of the bootstrap samples" in constant and "not excluded" in constant
    assert curve_sentence({**CURVE, "status": "not fitted", "reason": "2 sizes"}, None) == "Not fitted: 2 sizes."
    alone = {
        **CURVE,
        "gain_low": np.nan,
        "gain_high": np.nan,
        "plateau_low": np.nan,
        "plateau_high": np.nan,
        "form_share": np.nan,
    }
    assert "(no interval)" in curve_sentence(alone, {**PLATEAU, "cells_low": np.nan, "cells_high": np.nan})


def test_a_size_that_was_not_fitted_is_a_check():
    held = {**CURVE, "held_size": 20000.0, "held_value": 0.63, "held_fit": 0.76, "held_low": 0.7, "held_high": 0.78}
    plain = curve_sentence(CURVE, PLATEAU)
    assert curve_sentence(held, PLATEAU) == (
        f"{plain} The one replicate of 20,000 cells, not in the fit, has 0.63; the curve says 0.76 (0.7 to 0.78)."
    )
    beyond = {**held, "held_fit": np.nan, "held_low": np.nan, "held_high": np.nan}
    assert curve_sentence(beyond, PLATEAU).endswith("not in the fit, has 0.63; the curve is not read so far.")


@pytest.mark.parametrize(
    "first, last, gain, said",
    [
        (0.144, 0.0305, 0.2, " Chance itself, the random control, falls from 0.144 to 0.0305."),
        (0.03, 0.1, -0.2, " Chance itself, the random control, rises from 0.03 to 0.1."),
        (0.12, 0.08, 0.0, " Chance itself, the random control, falls from 0.12 to 0.08."),
        (0.1, 0.08, 0.0, ""),  # less than 5 % of the distance from chance
        (0.12, 0.08, 0.5, ""),  # less than a tenth of what the curve does
        (np.nan, 0.08, 0.2, ""),
    ],
)
def test_what_chance_does_is_said_where_it_matters(first, last, gain, said):
    curve = {**CURVE, "gain": gain, "chance_smallest": first, "chance_largest": last}
    plain = curve_sentence({**CURVE, "gain": gain}, PLATEAU)
    assert curve_sentence(curve, PLATEAU) == plain + said


def test_sentences_about_paired_cells():
    """At a fixed number of cells, of which no more than all can be paired."""
    paired = {**CURVE, "axis": "paired", "fixed": 50000.0}
    sentence = curve_sentence(paired, PLATEAU)
    assert sentence.startswith(
        "At 50,000 cells in all: improves with paired cells: 0.2 (0.1 to 0.3) from 500 to 10,000 paired cells; plateau"
    )
    assert sentence.endswith("from 5,620 paired cells (3,000 to beyond 20,000).")
    nowhere = {**PLATEAU, "answer": "beyond the measured range", "cells": np.inf}
    assert "only beyond 20,000 paired cells, further than is extrapolated" in curve_sentence(paired, nowhere)
    all_paired = {**paired, "fixed": 10000.0}
    assert "(3,000 to more than all)" in curve_sentence(all_paired, PLATEAU)
    assert "not reached within 5 % of the plateau itself with all cells paired" in curve_sentence(all_paired, nowhere)
    constant = curve_sentence({**paired, "form": "constant"}, PLATEAU)
    assert "no dependence on the number of paired cells is found from 500 to 10,000 paired cells" in constant
    assert "gets worse with more paired cells" in curve_sentence({**paired, "trend": "worsens"}, PLATEAU)
    missing = curve_sentence({**paired, "status": "not fitted", "reason": "1 size"}, None)
    assert missing == "Not fitted along paired cells: 1 size."


def test_sentences_about_pairing():
    sentence = paired_sentence(EXCHANGE)
    assert "one unpaired cell is worth 0.25 (0.1 to 0.4) paired ones" in sentence
    assert (
        "500 paired cells and 2,000 (1,250 to more than can be said) unpaired ones score as 1,000 paired ones"
        in sentence
    )
    assert "No measured number" in paired_sentence({**EXCHANGE, "replacement": np.inf})
    assert "nothing can be exchanged" in paired_sentence(
        {**EXCHANGE, "worth": np.nan, "verdict": "more paired cells do not help"}
    )
    assert paired_sentence({"status": "not fitted", "reason": "1 size"}) == "Not fitted: 1 size."


def test_sentences_about_models():
    rows = pd.DataFrame(
        {"probability_best": [0.1, 0.7, 0.2], "may_be_best": [True, True, False], "n_replicates": 5, "source": "curve"}
    )
    assert (
        model_sentence(rows, ["a", "b", "c"])
        == "b is best in 70 % of the bootstrap samples; no difference is resolved to a; 1 is ruled out."
    )
    rows["may_be_best"] = [False, True, False]
    assert model_sentence(rows, ["a", "b", "c"]).endswith("the replicates rule out all others.")
    rows["may_be_best"] = True
    assert "5 replicates cannot, 7 are the fewest that could" in model_sentence(rows, ["a", "b", "c"])
    beyond = model_sentence(rows.assign(source="extrapolated curve"), ["a", "b", "c"])
    assert beyond.startswith("b is best in 70 %") and beyond.endswith("where no test can rule a model out.")
    rows["probability_best"] = np.nan
    assert model_sentence(rows, ["a", "b", "c"]) == "One replicate: no difference can be resolved."
    assert model_sentence(rows.iloc[:1], ["a"]) == "Only a has values."


def test_replicates_needed_by_hand():
    # 2^(1 - R) (m - 1) <= 0.05.
    assert [replicates_needed(m) for m in (2, 3, 10)] == [6, 7, 9]


def grid_scores(make, replicates=6):
    """Two models over three sizes and three fractions."""
    generator = np.random.default_rng(0)
    parts = []
    for n in (500, 1000, 2000):
        for u in (0.0, 0.5, 0.9):
            rows = [
                (
                    model,
                    "nmi_leiden",
                    replicate,
                    level - 8 * (n * (1 - u) + 0.4 * n * u) ** -0.6 + generator.normal(0, 0.002),
                )
                for model, level in (("pca", 0.8), ("wnn", 0.9))
                for replicate in range(replicates)
            ]
            parts.append(make.scores(rows, n_cells=n, unpaired_fraction=u, design=f"n{n}-u{u}"))
    return pd.concat(parts, ignore_index=True)


def test_the_advice_of_a_study(make):
    advice = advise(grid_scores(make), None, make.metrics)
    assert set(advice.tables) == {"learning_curves", "plateaus", "exchange", "best", "advice"}
    sentences = advice.tables["advice"]
    assert sentences["sentence"].str.endswith(".").all()
    assert sentences.groupby("topic").size().to_dict() == {
        "cells": 6,
        "paired cells": 6,
        "model": 3 * 6,
        "paired": 6,
    }
    along = sentences[sentences["topic"] == "paired cells"]
    assert sorted(set(along["n_cells"])) == [500, 1000, 2000] and along["unpaired_fraction"].isna().all()
    assert along["sentence"].str.contains("cells in all: improves with paired cells").all()
    models = sentences[sentences["topic"] == "model"]
    within = models["n_cells"] <= 2000
    first = "wnn is best in 100 % of the bootstrap samples"
    assert (models.loc[within, "sentence"] == f"{first}; the replicates rule out all others.").all()
    assert (
        models.loc[~within, "sentence"]
        == f"{first} of curves beyond the measured sizes, where no test can rule a model out."
    ).all()
    chosen = advise(grid_scores(make), None, make.metrics, names=["asw_batch"])
    assert not chosen.series and chosen.tables["advice"].empty and list(chosen.tables["advice"]) == list(sentences)


def not_fitted(sentences):
    """Who and what each reason is said of, by topic."""
    rows = sentences[sentences["sentence"].str.startswith("Not fitted")]
    said = list(
        rows[["model", "metric", "n_cells", "unpaired_fraction", "sentence"]].itertuples(index=False, name=None)
    )
    return {topic: [own for own, other in zip(said, rows["topic"]) if other == topic] for topic in set(rows["topic"])}


def test_one_reason_is_said_once(make):
    """One size, and three paired numbers of one replicate: none of 12 curves and 4 surfaces can be fitted."""
    scores = grid_scores(make, 1).query("n_cells == 1000")
    scores = pd.concat([scores, scores.assign(metric="asw_batch")], ignore_index=True)
    advice = advise(scores, None, make.metrics)
    assert (advice.tables["learning_curves"]["status"] == "not fitted").all()
    assert len(advice.tables["learning_curves"]) == 12 + 4 and len(advice.tables["exchange"]) == 4
    nan = [pytest.approx(np.nan, nan_ok=True)] * 2
    few = "3 values are too few to choose a form; run more replicates or sizes."
    assert not_fitted(advice.tables["advice"]) == {
        "cells": [("", "", *nan, "Not fitted: 1 size with values; a curve needs 3.")],
        "paired cells": [("", "", *nan, f"Not fitted along paired cells: {few}")],
        "paired": [("", "", *nan, "Not fitted: 1 size with values; an exchange needs 3.")],
    }


def test_a_reason_of_a_part_is_said_of_that_part(make):
    scores = grid_scores(make)
    scores = pd.concat([scores, scores.assign(metric="asw_batch")], ignore_index=True)
    alone = scores["model"].eq("pca") & scores["unpaired_fraction"].gt(0)
    unpaired = scores["metric"].eq("asw_batch") & scores["unpaired_fraction"].eq(0) & scores["n_cells"].eq(500)
    said = not_fitted(advise(scores[~alone & ~unpaired], None, make.metrics).tables["advice"])
    assert [(model, metric, sentence.count("1 size")) for model, metric, *_, sentence in said["paired cells"]] == [
        # All that have this metric at 500 cells, that is wnn alone; then one model at all sizes, by all metrics.
        ("", "asw_batch", 0),
        ("pca", "", 1),
    ]
    assert said["paired cells"][0][2] == 500 and "2 sizes" in said["paired cells"][0][4]
    assert np.isnan(said["paired cells"][1][2])
    assert [(model, metric, sentence.split(" with")[0]) for model, metric, *_, sentence in said["paired"]] == [
        ("pca", "asw_batch", "Not fitted: 2 sizes"),
        ("pca", "nmi_leiden", "Not fitted: 1 unpaired fraction"),
    ]


def test_the_same_scores_give_the_same_advice(make):
    scores = grid_scores(make)
    first, second = (
        advise(table, None, make.metrics).tables for table in (scores, scores.sample(frac=1, random_state=1))
    )
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, second[name])


@pytest.mark.parametrize("replicates", [1, 2, 3])
def test_few_replicates_pass(make, replicates):
    tables = advise(grid_scores(make, replicates), None, make.metrics).tables
    assert tables["advice"]["sentence"].str.len().gt(10).all()
