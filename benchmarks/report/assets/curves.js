/* Scores against the number of cells and the unpaired fraction. */
MosaicBench.section("curves", (root) => {
  const { shared, element } = MosaicBench;
  const own = { x: "cells", group: "main", hidden: new Set() };
  const present = shared.metrics.filter((metric) => !metric.run);
  const most = (dataset) => [MosaicBench.sizes(dataset).length, MosaicBench.fractions(dataset).length];
  if (MosaicBench.state.dataset !== undefined) {
    const [n, m] = most(MosaicBench.state.dataset);
    if (n < 2 && m > 1) own.x = "fraction";
  }

  function series(metricNumber, x) {
    const { dataset, cells, fraction } = MosaicBench.state;
    const places = x === "cells" ? MosaicBench.sizes(dataset) : MosaicBench.fractions(dataset, cells);
    return shared.variants.map((variant, number) => {
      if (own.hidden.has(number) || (variant.control && variant.model === "collapsed")) return null;
      const points = places.map((place) => {
        const condition = x === "cells" ? MosaicBench.conditionOf(dataset, place, fraction) : MosaicBench.conditionOf(dataset, cells, place);
        const row = condition < 0 ? undefined : MosaicBench.find(condition, number, metricNumber);
        if (row === undefined) return null;
        const item = MosaicBench.score(row);
        // A mean of degenerate embeddings alone says nothing; one that has some of them is drawn with a ring.
        if (item.mean === null || (item.flagged && item.flagged >= item.ok)) return null;
        return { x: place, y: item.mean, low: item.low, high: item.high, n: item.n, flag: item.flagged ? `flagged: ${item.flag}` : "" };
      }).filter(Boolean);
      return points.length ? { label: variant.label, colour: variant.colour, dash: variant.dash, marker: variant.marker, line: variant.control, points } : null;
    }).filter(Boolean);
  }

  function chart(metricNumber, x) {
    const metric = shared.metrics[metricNumber];
    const lines = series(metricNumber, x);
    const xs = lines.flatMap((item) => item.points.map((point) => point.x));
    return MosaicBench.lineChart({
      title: metric.title, note: MosaicBench.directionWords(metric), series: lines, yLabel: metric.unit ? `${metric.title} (${metric.unit})` : metric.title, yBounds: metric.range,
      xLabel: x === "cells" ? "Number of cells" : "Unpaired cells (%)", xLog: x === "cells" && xs.length > 0 && Math.max(...xs) / Math.min(...xs) > 3,
      xFormat: x === "cells" ? undefined : (value) => String(Number((100 * value).toPrecision(6))),
    });
  }

  return function draw() {
    MosaicBench.replaceControls(root, ...MosaicBench.conditionSelectors(own.x === "cells" ? ["dataset", "fraction"] : ["dataset", "cells"]),
      MosaicBench.select("Against", [{ value: "cells", text: "Number of cells" }, { value: "fraction", text: "Unpaired fraction" }], own.x, (value) => { own.x = value; draw(); }, "against"),
      MosaicBench.select("Metrics", MosaicBench.groupOptions(present), own.group, (value) => { own.group = value; draw(); }, "group"));
    const legend = root.querySelector("[data-legend]");
    const active = legend.contains(document.activeElement) ? document.activeElement.dataset.variant : null;
    legend.replaceChildren(...shared.variants.map((variant, number) => (variant.model === "collapsed" && variant.control ? null : element("li", {}, element("button", {
      type: "button", "data-variant": number, "aria-pressed": own.hidden.has(number) ? "false" : "true",
      onclick: () => { if (!own.hidden.delete(number)) own.hidden.add(number); draw(); },
    }, MosaicBench.sample(variant), variant.label)))).filter(Boolean));
    if (active !== null) legend.querySelector(`[data-variant="${active}"]`)?.focus();
    const nodes = [];
    let group = null;
    MosaicBench.metricNumbers(own.group).forEach((number) => {
      const metric = shared.metrics[number];
      if (metric.group !== group) { group = metric.group; nodes.push(element("h3", { class: "subhead" }, shared.groups[group])); }
      nodes.push(chart(number, own.x));
    });
    root.querySelector("[data-view]").replaceChildren(...(nodes.length ? nodes : [element("p", { class: "empty" }, "There are no scores in this study.")]));
  };
});
