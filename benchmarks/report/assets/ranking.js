/* Composite scores with intervals, and rank ranges. */
MosaicBench.section("ranking", (root, data) => {
  const { shared, element, format } = MosaicBench;
  const rows = data.rows;
  const heads = { bio_conservation: "Biology", pairing: "Pairing", mixing: "Mixing", batch_removal: "Batch" };

  function bar(i, floor) {
    const WIDTH = 400, x = (value) => 4 + 392 * Math.max(0, Math.min(1, value));
    const svg = element("svg", { viewBox: `0 0 ${WIDTH} 28`, preserveAspectRatio: "none", role: "img", "aria-label": `overall ${format(rows.overall[i])}` });
    svg.append(element("line", { x1: 4, x2: 396, y1: 14, y2: 14, stroke: "#dfe3e8" }));
    if (floor !== null) svg.append(element("line", { x1: x(floor), x2: x(floor), y1: 2, y2: 26, stroke: "#7d8791", "stroke-dasharray": "2 3", "vector-effect": "non-scaling-stroke" }, element("title", {}, `random control: ${format(floor)}`)));
    if (rows.overall[i] === null) return svg;
    const control = shared.variants[rows.variant[i]].control;
    svg.append(element("rect", { x: 4, y: 9, width: x(rows.overall[i]) - 4, height: 10, fill: control ? "#c3cad1" : "#56a0d3" }));
    if (rows.overall_low[i] !== null) {
      const [low, high] = [x(rows.overall_low[i]), x(rows.overall_high[i])];
      svg.append(element("path", { d: `M${low} 14H${high}M${low} 5V23M${high} 5V23`, stroke: "#1a1d21", "stroke-width": 1.5, "vector-effect": "non-scaling-stroke", fill: "none" }));
    }
    return svg;
  }

  return function draw() {
    MosaicBench.replaceControls(root, ...MosaicBench.conditionSelectors(["dataset", "cells", "fraction"]));
    const condition = MosaicBench.condition(), view = root.querySelector("[data-view]");
    const own = rows.condition.map((value, i) => (value === condition ? i : -1)).filter((i) => i >= 0);
    if (!own.length) { view.replaceChildren(element("p", { class: "empty" }, "Nothing can be ranked in this condition.")); return; }
    const ranked = own.filter((i) => rows.position[i] !== null);
    const floor = own.map((i) => (shared.variants[rows.variant[i]].model === "random" ? rows.overall[i] : null)).find((value) => value !== null) ?? null;
    const groups = data.groups.filter((group) => own.some((i) => rows[group][i] !== null));
    const words = (i) => {
      if (rows.position[i] === null) return element("span", { class: "why" }, rows.reason[i] === "control" ? "control" : "not ranked");
      const [low, high] = [rows.rank_low[i], rows.rank_high[i]];
      return element("span", { class: "position" }, low === high ? `${low}` : `${low} – ${high}`);
    };
    const table = element("table", { class: "plain rank" },
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Rank"), element("th", { scope: "col" }, "Model"), element("th", { scope: "col", class: "r" }, "Overall"), element("th", { scope: "col" }, "0 to 1, with 95 % interval"),
        ...groups.map((group) => element("th", { scope: "col", class: "r", title: shared.groups[group] }, heads[group])), element("th", { scope: "col", class: "r" }, "Coverage"), element("th", { scope: "col", class: "r" }, "Replicates"))),
      element("tbody", {}, ...own.map((i) => element("tr", {}, element("td", {}, words(i)), element("th", { scope: "row" }, shared.variants[rows.variant[i]].label, rows.flagged[i] ? element("span", { class: "badge" }, "flagged") : null),
        element("td", { class: "r" }, format(rows.overall[i])), element("td", { class: "bar" }, rows.position[i] === null && rows.reason[i] !== "control" ? element("span", { class: "why" }, rows.reason[i]) : bar(i, floor)), ...groups.map((group) => element("td", { class: "r" }, format(rows[group][i]))),
        element("td", { class: "r" }, rows.coverage[i] === null ? "–" : `${Math.round(100 * rows.coverage[i])} %`), element("td", { class: "r" }, `${rows.n_replicates[i]} of ${rows.n_planned[i]}`)))));
    const first = own[0];
    const names = (text) => text.split(", ").filter(Boolean).map((name) => shared.metrics.find((metric) => metric.name === name)?.title || name).join(", ");
    const notes = [element("p", { class: "muted" }, `Metrics averaged: ${names(rows.used[first]) || "none"}.` + (rows.left_out[first] ? ` Left out, because they do not apply to every model or cannot be scaled here: ${names(rows.left_out[first])}.` : ""))];
    const resolved = ranked.some((i) => rows.rank_low[i] > 1 || rows.rank_high[i] < ranked.length);
    if (ranked.length > 1 && !resolved) {
      const best = Math.min(...ranked.map((i) => rows.smallest_p[i])), pairs = (ranked.length * (ranked.length - 1)) / 2;
      notes.unshift(element("p", { class: "note" }, best * pairs > data.alpha
        ? `No rank is claimed: with so few replicates the test cannot fall below p = ${format(best)}, and ${pairs} pair${pairs > 1 ? "s need" : " needs"} p ≤ ${format(data.alpha / pairs)}. More replicates would tell.`
        : "No rank is claimed: the replicates do not resolve any gap between these models."));
    }
    view.replaceChildren(element("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "Ranking" }, table), ...notes);
  };
});
