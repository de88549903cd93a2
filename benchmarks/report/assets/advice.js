/* Learning curves with bands, equal-score contours and advice in sentences. */
MosaicBench.section("advice", (root, data) => {
  const { shared, element, format } = MosaicBench;
  // Shown first is the metric with the most curves along cells on the data set that is shown first.
  const curvesOf = data.metrics.map((_, metric) => data.curves.filter((item) => item.dataset === MosaicBench.state.dataset && item.axis === "cells" && item.metric === metric).length);
  const own = { metric: curvesOf.indexOf(Math.max(...curvesOf)) };
  const WIDTH = 380, HEIGHT = 230, LEFT = 50, RIGHT = 14, TOP = 10, BOTTOM = 42;
  const titles = data.metrics.map(({ name }) => shared.metrics.find((metric) => !metric.run && metric.name === name).title);
  const same = (a, b) => (a === null || b === null ? a === b : Math.abs(a - b) < 1e-9);
  const place = (low, high, from, to) => (value) => (high === low ? (from + to) / 2 : from + ((value - low) / (high - low)) * (to - from));
  const short = (n) => (n >= 10000 ? `${Number((n / 1000).toPrecision(3))}k` : Math.round(n).toLocaleString("en"));

  data.curves.forEach((item) => {
    const last = item.value.length - 1, ratio = item.end / item.sizes[0];
    item.n = item.value.map((_, i) => item.sizes[0] * ratio ** (i / last));
    [item.low, item.high] = item.band || [[], []];
  });

  function frame(label, xLabel, yLabel) {
    const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
    svg.append(element("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM, stroke: "#59616b" }));
    svg.append(element("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle", class: "axis" }, xLabel));
    svg.append(element("text", { x: -(TOP + HEIGHT - BOTTOM) / 2, y: 11, transform: "rotate(-90)", "text-anchor": "middle", class: "axis" }, yLabel));
    return svg;
  }
  function xTick(svg, x, text) {
    svg.append(element("line", { x1: x, x2: x, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4, stroke: "#59616b" }));
    if (text !== null) svg.append(element("text", { x, y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, text));
  }
  function yTick(svg, y, text, grid) {
    if (grid) svg.append(element("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y, stroke: "#e8ebee" }));
    svg.append(element("text", { x: LEFT - 6, y: y + 3.5, "text-anchor": "end" }, text));
  }
  function roundValues(low, high) {
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough * 0.999);
    const result = [];
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) result.push(Number(value.toPrecision(8)));
    return result;
  }
  function path(xs, ys) {
    return xs.map((x, i) => `${i ? "L" : "M"}${x.toFixed(1)} ${ys[i].toFixed(1)}`).join("");
  }

  function curveChart(item, bounds, title) {
    const variant = shared.variants[item.variant];
    const largest = item.sizes.at(-1), kind = item.axis === "paired" ? "paired cells" : "cells";
    const px = place(Math.log(bounds.left), Math.log(bounds.right), LEFT + 8, WIDTH - RIGHT - 8);
    const py = place(bounds.bottom, bounds.top, HEIGHT - BOTTOM, TOP);
    const x = (n) => px(Math.log(n)), y = (value) => py(Math.min(bounds.top, Math.max(bounds.bottom, value)));
    const svg = frame(`${variant.label}: ${title}, ${item.form}. ` + item.sizes.map((n, i) => `${n} ${kind} ${format(item.means[i])}`).concat(item.held[0].map((n, i) => `not fitted to ${n} ${kind} ${format(item.held[1][i])}`)).join(", "), `Number of ${kind}`, title);
    roundValues(bounds.bottom, bounds.top).forEach((value) => yTick(svg, y(value), format(value), true));
    let edge = -Infinity;
    [...item.sizes, ...item.held[0], item.n.at(-1)].sort((a, b) => a - b).forEach((n) => {
      const text = short(n), fits = x(n) - text.length * 3.2 > edge;
      xTick(svg, x(n), fits ? text : null);
      if (fits) edge = x(n) + text.length * 3.2 + 4;
    });
    if (item.band) {
      const up = item.n.map((n, i) => `${i ? "L" : "M"}${x(n).toFixed(1)} ${y(item.high[i] ?? item.value[i]).toFixed(1)}`).join("");
      const down = item.n.map((n, i) => `L${x(n).toFixed(1)} ${y(item.low[i] ?? item.value[i]).toFixed(1)}`).reverse().join("");
      svg.append(element("path", { d: `${up}${down}Z`, fill: variant.colour, "fill-opacity": 0.18, class: "band" }));
    }
    const inside = item.n.map((n, i) => i).filter((i) => item.n[i] <= largest), outside = item.n.map((n, i) => i).filter((i) => item.n[i] >= item.n[inside.at(-1)]);
    [[inside, null], [outside, "4 3"]].forEach(([rows, dash]) => {
      svg.append(element("path", { d: path(rows.map((i) => x(item.n[i])), rows.map((i) => y(item.value[i]))), fill: "none", stroke: variant.colour, "stroke-width": 1.75, "stroke-dasharray": dash }));
    });
    item.sizes.forEach((n, i) => {
      svg.append(element("g", {}, element("title", {}, `${variant.label}\n${short(n)} ${kind}: ${format(item.means[i])}`), MosaicBench.marker(variant.marker, x(n), y(item.means[i]), 3.2, variant.colour)));
    });
    item.held[0].forEach((n, i) => {
      svg.append(element("circle", { cx: x(n), cy: y(item.held[1][i]), r: 4, fill: "#ffffff", stroke: variant.colour, "stroke-width": 1.75, class: "held" }, element("title", {}, `${variant.label}\n${short(n)} ${kind}, one replicate that the curve was not fitted to: ${format(item.held[1][i])}`)));
    });
    return element("figure", { class: "chart" }, element("figcaption", {}, variant.label, element("span", {}, ` ${item.form}`)), svg);
  }

  function contourChart(item, metric) {
    const title = item.scaled ? `${metric}, 0 the random control, 1 the oracle` : metric;
    const variant = shared.variants[item.variant];
    const most = Math.max(...item.paired.map((value, i) => value + item.unpaired[i]));
    const px = place(0, Math.sqrt(most), LEFT + 8, WIDTH - RIGHT - 8), py = place(0, Math.sqrt(most), HEIGHT - BOTTOM, TOP);
    const x = (n) => px(Math.sqrt(n)), y = (n) => py(Math.sqrt(n));
    const levels = [...new Set(item.lines.map((line) => line.level))];
    const svg = frame(`${variant.label}: designs of equal ${title}, ${item.form}. Levels ${levels.map(format).join(", ") || "none"}`, "Paired cells", "Unpaired cells");
    [0, 0.1, 0.3, 0.6, 1].forEach((part) => {
      const n = Number((part * most).toPrecision(2));
      xTick(svg, x(n), short(n));
      yTick(svg, y(n), short(n), false);
    });
    svg.append(element("line", { x1: LEFT + 8, x2: LEFT + 8, y1: TOP, y2: HEIGHT - BOTTOM, stroke: "#dfe3e8" }));
    const labelled = new Set();
    item.lines.forEach((line) => {
      const xs = line.x.map(x), ys = line.y.map(y);
      svg.append(element("path", { d: path(xs, ys), fill: "none", stroke: "#0072b2", "stroke-width": 1.5, class: "contour" }, element("title", {}, `${title} ${format(line.level)}`)));
      if (labelled.has(line.level)) return;
      labelled.add(line.level);
      // At the end with the most paired cells, where lines of different levels lie furthest apart.
      const end = xs[0] > xs.at(-1) ? 0 : xs.length - 1;
      svg.append(element("text", { x: Math.min(xs[end], WIDTH - RIGHT - 12), y: ys[end] - 4, "text-anchor": "middle", class: "axis", stroke: "#ffffff", "stroke-width": 3, "paint-order": "stroke" }, format(line.level)));
    });
    item.paired.forEach((n, i) => {
      svg.append(element("g", {}, element("title", {}, `${short(n)} paired, ${short(item.unpaired[i])} unpaired: ${format(item.means[i])}`), MosaicBench.marker("circle", x(n), y(item.unpaired[i]), 2.4, "#59616b")));
    });
    return element("figure", { class: "chart" }, element("figcaption", {}, variant.label, element("span", {}, ` ${item.form}${item.scaled ? ", between the controls" : ""}`)), svg);
  }

  function table(name, heads, rows, none) {
    if (!rows.length) return element("p", { class: "empty" }, none);
    return element("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": name }, element("table", { class: "plain" },
      element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, ...rows.map(([first, ...others]) => element("tr", {}, element("th", { scope: "row" }, first), ...others.map((text) => element("td", {}, text)))))));
  }

  function curveCharts(curves, name) {
    if (!curves.length) return [];
    const inner = curves.flatMap((item) => [...item.means, ...item.value, ...item.low, ...item.high, ...item.held[1]].filter((value) => value !== null));
    const bounds = { left: Math.min(...curves.flatMap((item) => [item.n[0], ...item.held[0]])), right: Math.max(...curves.flatMap((item) => [item.n.at(-1), ...item.held[0]])), bottom: Math.min(...inner), top: Math.max(...inner) };
    const margin = (bounds.top - bounds.bottom || Math.abs(bounds.top) || 1) * 0.05;
    bounds.bottom -= margin;
    bounds.top += margin;
    return curves.map((item) => curveChart(item, bounds, name));
  }

  return function draw() {
    const { dataset, cells, fraction } = MosaicBench.state;
    MosaicBench.replaceControls(root, ...MosaicBench.conditionSelectors(["dataset", "cells", "fraction"]),
      MosaicBench.select("Metric", titles.map((text, value) => ({ value, text })), own.metric, (value) => { own.metric = value; draw(); }, "metric"));
    const title = titles[own.metric], { distance } = data.metrics[own.metric];
    const name = distance ? `${title}, distance from ideal` : title;
    root.querySelector("[data-distance]").textContent = distance ? "This metric has an ideal value: curves show the distance from it, of which less is better." : "";
    root.querySelectorAll("[data-at]").forEach((node) => { node.textContent = node.dataset.at === "cells" ? `at ${MosaicBench.cells(cells)} cells in all` : `at ${MosaicBench.percent(fraction)} unpaired`; });

    const rows = data.rows, all = (value) => value === null || value === -1;
    const label = (i) => shared.variants[rows.variant[i]].label;
    /* A statement with a place left out holds for all of them: one without a model is a line above the table. */
    function show(where, topic, heads, here) {
      const chosen = rows.topic.map((_, i) => i).filter((i) => rows.topic[i] === topic && rows.dataset[i] === dataset && (all(rows.metric[i]) || rows.metric[i] === own.metric) && here(i));
      const lines = topic === "model" ? [] : chosen.filter((i) => all(rows.variant[i])), others = chosen.filter((i) => !lines.includes(i));
      if (topic === "model") others.sort((a, b) => rows.cells[a] - rows.cells[b]);
      const text = (i) => data.texts[rows.text[i]], joined = new Map();
      // What holds word for word of several models is said once.
      others.forEach((i) => {
        const key = topic === "model" ? i : text(i);
        joined.set(key, { said: text(i), names: [...(joined.get(key)?.names || []), topic === "model" ? MosaicBench.cells(rows.cells[i]) : label(i)] });
      });
      root.querySelector(where).replaceChildren(...lines.map((i) => element("p", { class: "empty" }, text(i))),
        ...(lines.length && !others.length ? [] : [table(heads[0], heads[1], [...joined.values()].map(({ said, names }) => [names.join(", "), said]), "No scores in this selection.")]));
    }
    const atFraction = (i) => all(rows.fraction[i]) || same(rows.fraction[i], fraction), atCells = (i) => all(rows.cells[i]) || same(rows.cells[i], cells);
    const fitted = (axis, fixed) => data.curves.filter((item) => item.axis === axis && item.dataset === dataset && same(item.fixed, fixed) && item.metric === own.metric);
    // Where there is nothing to draw, the text below says why.
    root.querySelector("[data-curves]").replaceChildren(...curveCharts(fitted("cells", fraction), name));
    show("[data-cells]", "cells", ["How many cells", ["Model", "Cells"]], atFraction);
    show("[data-models]", "model", ["Which model", ["Cells", "Model"]], (i) => same(rows.fraction[i], fraction));
    root.querySelector("[data-paired-curves]").replaceChildren(...curveCharts(fitted("paired", cells), name));
    show("[data-paired-cells]", "paired cells", ["How many paired cells", ["Model", "Paired cells"]], atCells);
    const surfaces = data.surfaces.filter((item) => item.dataset === dataset && item.metric === own.metric);
    root.querySelector("[data-contours]").replaceChildren(...surfaces.map((item) => contourChart(item, name)));
    show("[data-paired]", "paired", ["What an unpaired cell is worth", ["Model", "Paired and unpaired cells"]], () => true);
  };
});
