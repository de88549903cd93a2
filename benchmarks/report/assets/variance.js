/* Standard deviations of scores, their parts, and their trend with the number of cells. */
MosaicBench.section("variance", (root, data) => {
  const { shared, element, format } = MosaicBench;
  const own = { metric: 0 };
  const { rows, trends, notes } = data;
  const metrics = data.metrics.map((name) => shared.metrics.find((metric) => !metric.run && metric.name === name));
  const same = (a, b) => (a === null || b === null ? a === b : Math.abs(a - b) < 1e-9);
  const interval = (low, high) => (low === null || high === null ? "" : ` (${format(low)} to ${format(high)})`);
  const label = (variant) => shared.variants[variant].label;
  const said = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

  /* What all rows lack for the same reason is said once, above the table. */
  function common(chosen) {
    const all = [...new Set(chosen)];
    return all.length === 1 && notes[all[0]] ? notes[all[0]] : null;
  }
  function bar(i) {
    const share = rows.share[i], split = 4 + 192 * share;
    const svg = element("svg", { viewBox: "0 0 200 20", preserveAspectRatio: "none", role: "img", "aria-label": `subsample ${Math.round(100 * share)} %, seed ${Math.round(100 * (1 - share))} %` });
    svg.append(element("rect", { x: 4, y: 4, width: split - 4, height: 12, fill: "#0072b2" }), element("rect", { x: split, y: 4, width: 196 - split, height: 12, fill: "#e69f00" }));
    if (rows.share_low[i] !== null) {
      const [low, high] = [rows.share_low[i], rows.share_high[i]].map((value) => 4 + 192 * value);
      svg.append(element("path", { d: `M${low} 10H${high}M${low} 5V15M${high} 5V15`, stroke: "#1a1d21", "stroke-width": 1.5, "vector-effect": "non-scaling-stroke", fill: "none" }));
    }
    return svg;
  }
  function table(name, heads, lines) {
    return element("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": name }, element("table", { class: "plain rank" },
      element("thead", {}, element("tr", {}, ...heads.map(([text, right]) => element("th", { scope: "col", class: right ? "r" : null }, text)))),
      element("tbody", {}, ...lines.map(([first, ...others]) => element("tr", {}, element("th", { scope: "row" }, first), ...others.map((item, i) => (item instanceof Node ? element("td", { class: "bar" }, item) : element("td", { class: heads[i + 1][1] ? "r" : "why" }, item))))))));
  }

  function parts(condition) {
    const chosen = rows.condition.map((_, i) => i).filter((i) => rows.condition[i] === condition && rows.metric[i] === own.metric);
    if (!chosen.length) return [element("p", { class: "empty" }, "No variance is known in this selection.")];
    const note = common(chosen.map((i) => rows.note[i]));
    const remarks = !note && chosen.some((i) => notes[rows.note[i]]);
    const split = chosen.some((i) => rows.seed[i] !== null);
    const heads = [["Model"], ["SD", true], ...(split ? [["Subsample", true], ["Seed", true], ["Blue subsample, orange seed"], ["Subsample's share", true]] : []), ["Subsamples", true], ["Scores", true], ...(remarks ? [["Remark"]] : [])];
    const lines = chosen.map((i) => [label(rows.variant[i]), format(rows.sd[i]),
      ...(split ? [format(rows.subsample[i]), format(rows.seed[i]), rows.share[i] === null ? "–" : bar(i), rows.share[i] === null ? "–" : `${Math.round(100 * rows.share[i])} %`] : []),
      String(rows.subsamples[i]), String(rows.values[i]), ...(remarks ? [notes[rows.note[i]]] : [])]);
    return [...(note ? [element("p", { class: "note" }, said(note))] : []), table("Variance", heads, lines)];
  }
  function chart(dataset, fraction) {
    const points = new Map();
    rows.condition.forEach((number, i) => {
      const place = shared.conditions[number];
      if (rows.metric[i] !== own.metric || place.dataset !== dataset || !same(place.fraction, fraction) || !rows.sd[i]) return;
      points.set(rows.variant[i], [...(points.get(rows.variant[i]) || []), { x: place.cells, y: rows.sd[i], low: null, high: null, n: rows.subsamples[i] }]);
    });
    const sizes = [...points.values()].flat().map((point) => point.x);
    if (new Set(sizes).size < 2) return [];
    return [MosaicBench.lineChart({
      title: metrics[own.metric].title, note: "standard deviation of one score", xLabel: "Number of cells", yLabel: "Standard deviation", xLog: true, fromZero: true,
      series: [...points].map(([variant, own_points]) => ({ ...shared.variants[variant], label: label(variant), points: own_points })),
    })];
  }
  function slopes(dataset, fraction) {
    const chosen = trends.metric.map((_, i) => i).filter((i) => trends.metric[i] === own.metric && trends.dataset[i] === dataset && same(trends.fraction[i], fraction));
    if (!chosen.length) return [element("p", { class: "empty" }, "No trend is known in this selection.")];
    const note = common(chosen.map((i) => trends.note[i]));
    if (note) return [element("p", { class: "empty" }, `No trend is known: ${note}.`)];
    const words = { falls: "falls with cells", rises: "rises with cells", unresolved: "no trend resolved" };
    return [table("Variance against number of cells", [["Model"], ["Slope", true], ["Trend"]], chosen.map((i) => [label(trends.variant[i]),
      trends.slope[i] === null ? "–" : `${format(trends.slope[i])}${interval(trends.low[i], trends.high[i])}`, notes[trends.note[i]] || words[trends.trend[i]]]))];
  }

  return function draw() {
    const { dataset, fraction } = MosaicBench.state;
    MosaicBench.replaceControls(root, ...MosaicBench.conditionSelectors(["dataset", "cells", "fraction"]),
      MosaicBench.select("Metric", metrics.map(({ title }, value) => ({ value, text: title })), own.metric, (value) => { own.metric = value; draw(); }, "metric"));
    root.querySelector("[data-at]").textContent = `at ${MosaicBench.percent(fraction)} unpaired`;
    root.querySelector("[data-view]").replaceChildren(...parts(MosaicBench.condition()));
    const drawn = chart(dataset, fraction);
    root.querySelector("[data-charts]").replaceChildren(...drawn);
    root.querySelector("[data-legend]").replaceChildren(...(drawn.length ? shared.variants.filter((variant) => !variant.control).map((variant) => element("li", {}, MosaicBench.sample(variant), variant.label)) : []));
    root.querySelector("[data-trends]").replaceChildren(...slopes(dataset, fraction));
  };
});
