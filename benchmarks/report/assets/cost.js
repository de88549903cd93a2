/* Seconds and megabytes. */
MosaicBench.section("cost", (root) => {
  const { shared, element, format } = MosaicBench;
  const costs = shared.metrics.map((metric, number) => ({ metric, number })).filter(({ metric }) => metric.run);
  if (!costs.length) return null;
  const title = (metric) => (metric.unit ? `${metric.title} (${metric.unit})` : metric.title);
  return function draw() {
    MosaicBench.replaceControls(root, ...MosaicBench.conditionSelectors(["dataset", "cells", "fraction"]));
    const condition = MosaicBench.condition();
    const rows = shared.variants.map((variant, number) => ({ variant, items: costs.map((cost) => MosaicBench.find(condition, number, cost.number)) })).filter(({ items }) => items.some((row) => row !== undefined));
    const table = element("table", { class: "plain" },
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Model"), ...costs.map(({ metric }) => element("th", { scope: "col", class: "r" }, title(metric))), element("th", { scope: "col", class: "r" }, "Replicates"))),
      element("tbody", {}, ...rows.map(({ variant, items }) => element("tr", {}, element("th", { scope: "row" }, variant.label),
        ...items.map((row) => {
          if (row === undefined) return element("td", { class: "r muted" }, "–");
          const item = MosaicBench.score(row);
          return element("td", { class: "r" }, format(item.mean), item.low === null || item.low === item.high ? null : element("span", { class: "muted" }, ` (${format(item.low)} – ${format(item.high)})`));
        }), element("td", { class: "r" }, String(Math.max(...items.map((row) => (row === undefined ? 0 : MosaicBench.score(row).n)))))))));
    root.querySelector("[data-view]").replaceChildren(rows.length ? element("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "Cost" }, table) : element("p", { class: "empty" }, "No successful run in this condition."));
    const { dataset, fraction } = MosaicBench.state;
    root.querySelector("[data-charts]").replaceChildren(...costs.filter(({ metric }) => metric.name !== "epochs").map(({ metric, number }) => {
      const series = shared.variants.map((variant, v) => {
        const points = MosaicBench.sizes(dataset).map((size) => {
          const place = MosaicBench.conditionOf(dataset, size, fraction), row = place < 0 ? undefined : MosaicBench.find(place, v, number);
          if (row === undefined) return null;
          const item = MosaicBench.score(row);
          return item.mean === null ? null : { x: size, y: item.mean, low: item.low, high: item.high, n: item.n };
        }).filter(Boolean);
        return points.length && !variant.control ? { label: variant.label, colour: variant.colour, dash: variant.dash, marker: variant.marker, points } : null;
      }).filter(Boolean);
      const values = series.flatMap((item) => item.points.map((point) => point.y));
      const xs = series.flatMap((item) => item.points.map((point) => point.x));
      const log = values.length > 0 && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 20;
      return MosaicBench.lineChart({ title: metric.title, note: metric.unit + (log ? ", logarithmic" : ""), series, xLabel: "Number of cells", yLabel: title(metric), yLog: log, xLog: xs.length > 0 && Math.max(...xs) / Math.min(...xs) > 3 });
    }));
    root.querySelector("[data-legend]").replaceChildren(...shared.variants.filter((variant) => !variant.control).map((variant) => element("li", {}, MosaicBench.sample(variant), variant.label)));
  };
});
