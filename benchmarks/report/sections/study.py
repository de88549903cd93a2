"""What was run."""

from __future__ import annotations

from benchmarks.report.section import Section, render
from benchmarks.report.study import Study

CONTROL_NOTES = {
    "random": "control is an embedding of noise and shows chance level",
    "oracle": "control is built from the truth and shows the best possible",
    "collapsed": (
        "control is one point with tiny noise, which some metrics reward: it shows that the flag for degenerate embeddings "
        "works"
    ),
}
"""What each control shows, for those that a study has."""


def section(study: Study) -> Section:
    """Numbers of data sets, designs, models and runs, and a table of them by data set."""
    runs = study.runs
    datasets = []
    for name, part in runs.groupby("dataset", sort=True):
        datasets.append(
            {
                "name": name,
                "sizes": sorted(part["n_cells"].dropna().astype(int).unique().tolist()),
                "fractions": sorted(part["unpaired_fraction"].dropna().unique().tolist()),
                "replicates": part["replicate"].nunique(),
                "seeds": part["seed"].nunique(),
                "runs": len(part),
                "ok": int((part["status"] == "ok").sum()),
                "not_applicable": int((part["status"] == "not_applicable").sum()),
            }
        )
        datasets[-1]["trouble"] = datasets[-1]["runs"] - datasets[-1]["ok"] - datasets[-1]["not_applicable"]
    contestants = study.variants[~study.variants["control"]]
    facts = [
        (len(datasets), "data set" + "s" * (len(datasets) != 1)),
        (runs[["dataset", "design"]].drop_duplicates().shape[0], "designs"),
        (len(contestants), "model variant" + "s" * (len(contestants) != 1)),
        (int((runs["status"] == "ok").sum()), "successful runs"),
        (sum(item["trouble"] for item in datasets), "runs without a result"),
        (sum(item["not_applicable"] for item in datasets), "not applicable"),
        (study.scores["metric"].nunique(), "metrics"),
    ]
    config = study.provenance.get("config") or {}
    overrides = [
        (name, sorted(values.items())) for name, values in sorted((config.get("hyperparameters") or {}).items())
    ]
    # Designs by groups or by sources take cells apart without a fraction of them.
    designs = [config.get("designs") or {}, *(item for item in config.get("datasets") or [] if isinstance(item, dict))]
    unpaired = bool((runs["unpaired_fraction"] > 0).any()) or any(
        design.get("groups") or design.get("sources") for design in designs
    )
    known = set(study.variants["model"])
    html = render(
        "study.html.j2",
        description=study.provenance.get("description") or "",
        overrides=overrides,
        facts=facts,
        datasets=datasets,
        contestants=contestants["label"].tolist(),
        controls=[label for label in study.variants.loc[study.variants["control"], "label"]],
        devices=sorted({device for device in runs["device"] if device}),
        unpaired=unpaired,
        control_notes=[(model, note) for model, note in CONTROL_NOTES.items() if model in known],
        one_replicate=all(item["replicates"] < 2 for item in datasets),
    )
    return Section("study", "Study", html)
