"use strict";
/* Data, shared state and small tools of all sections. Text enters the page as text nodes only, never as markup. */
const MosaicBench = (() => {
  const all = JSON.parse(document.getElementById("data").textContent);
  const shared = all.shared;
  const drawers = [];

  // Okabe and Ito's colours without black and yellow, which are too close to text and to white paper.
  const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5c00"];
  const markers = ["circle", "square", "triangle", "diamond", "cross"];
  const controlLooks = { oracle: ["#333b44", "7 3"], random: ["#7d8791", "2 3"], collapsed: ["#a9b1ba", "1 4"] };

  let contestant = 0;
  shared.variants.forEach((variant) => {
    if (variant.control) {
      [variant.colour, variant.dash] = controlLooks[variant.model] || ["#7d8791", "2 3"];
      variant.marker = "circle";
    } else {
      variant.colour = colours[contestant % colours.length];
      variant.dash = ["", "6 3", "2 2"][Math.floor(contestant / colours.length) % 3];
      variant.marker = markers[contestant % markers.length];
      contestant += 1;
    }
  });

  // Rows of the score table by condition, then by variant and metric.
  const scores = shared.scores;
  const byCondition = shared.conditions.map(() => new Map());
  for (let row = 0; row < scores.condition.length; row += 1) {
    byCondition[scores.condition[row]].set(scores.variant[row] * shared.metrics.length + scores.metric[row], row);
  }
  const find = (condition, variant, metric) => byCondition[condition].get(variant * shared.metrics.length + metric);
  const score = (row) => ({
    mean: scores.mean[row], median: scores.median[row], sd: scores.sd[row], low: scores.low[row], high: scores.high[row], n: scores.n[row],
    ok: scores.ok[row], planned: scores.planned[row], scaled: scores.scaled[row], state: scores.state[row],
    reason: shared.reasons[scores.reason[row]] || "", flag: shared.reasons[scores.flag[row]] || "", flagged: scores.flagged[row], unscaled: shared.reasons[scores.unscaled[row]] || "",
  });

  function element(tag, attributes, ...children) {
    const svg = ["svg", "g", "line", "path", "circle", "rect", "text", "title", "polyline"].includes(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    Object.entries(attributes || {}).forEach(([name, value]) => {
      if (value === null || value === undefined || value === false) return;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "style") Object.assign(node.style, value);
      else node.setAttribute(name, value === true ? "" : value);
    });
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  function format(value) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (value < 0) return `\u2212${format(size)}`;
    if (size >= 1000) return Math.round(value).toLocaleString("en");
    if (size >= 100) return value.toFixed(0);
    if (size >= 10) return value.toFixed(1);
    if (size !== 0 && size < 0.01) return value.toPrecision(2);
    return value.toFixed(size < 1.0005 && size < 0.1 ? 3 : 2);
  }
  const percent = (fraction) => `${Number((100 * fraction).toPrecision(6))} %`;
  const cells = (n) => (n === null ? "all cells" : n.toLocaleString("en"));

  const distinct = (values) => [...new Set(values)];
  const ascending = (a, b) => (a === null ? Infinity : a) - (b === null ? Infinity : b);
  const datasets = distinct(shared.conditions.map((item) => item.dataset));
  const sizes = (dataset) => distinct(shared.conditions.filter((item) => item.dataset === dataset).map((item) => item.cells)).sort(ascending);
  const fractions = (dataset, size) =>
    distinct(shared.conditions.filter((item) => item.dataset === dataset && (size === undefined || item.cells === size)).map((item) => item.fraction)).sort(ascending);
  const nearest = (values, wanted) => values.reduce((best, value) => (Math.abs((value ?? 1e12) - (wanted ?? 1e12)) < Math.abs((best ?? 1e12) - (wanted ?? 1e12)) ? value : best), values[0]);
  const conditionOf = (dataset, size, fraction) => shared.conditions.findIndex((item) => item.dataset === dataset && item.cells === size && item.fraction === fraction);

  // One condition for the whole page: selectors in several sections move together. It starts at the largest of the sizes with the most
  // replicates (one that is run once ranks nothing), half unpaired.
  // Shown first is the data set with the most sizes, then the most designs: it has the most to say.
  const richness = (dataset) => [sizes(dataset).length, shared.conditions.filter((item) => item.dataset === dataset).length];
  const richer = (one, other) => one[0] > other[0] || (one[0] === other[0] && one[1] > other[1]);
  const richest = datasets.reduce((best, dataset) => (richer(richness(dataset), richness(best)) ? dataset : best), datasets[0]);
  const state = { dataset: richest, cells: null, fraction: null };
  if (datasets.length) {
    const replicates = (size) => Math.max(...shared.conditions.filter((item) => item.dataset === state.dataset && item.cells === size).map((item) => item.replicates));
    const most = Math.max(...sizes(state.dataset).map(replicates));
    state.cells = sizes(state.dataset).filter((size) => replicates(size) === most).at(-1);
    state.fraction = nearest(fractions(state.dataset, state.cells), 0.5);
  }
  function choose(change) {
    Object.assign(state, change);
    const known = sizes(state.dataset);
    if (!known.includes(state.cells)) state.cells = nearest(known, state.cells);
    const those = fractions(state.dataset, state.cells);
    if (!those.includes(state.fraction)) state.fraction = nearest(those, state.fraction);
    drawers.forEach((draw) => draw());
  }
  const condition = () => conditionOf(state.dataset, state.cells, state.fraction);

  function select(label, options, value, onchange, name) {
    const node = element("select", { name, disabled: options.length < 2, onchange: (event) => onchange(options[event.target.selectedIndex].value) });
    options.forEach((option) => {
      const item = element("option", {}, option.text);
      item.selected = option.value === value;
      node.append(item);
    });
    return element("label", {}, label, node);
  }
  function replaceControls(root, ...items) {
    const holder = root.querySelector("[data-controls]");
    const active = holder.contains(document.activeElement) ? document.activeElement.name : null;
    holder.replaceChildren(...items.filter(Boolean));
    if (active) holder.querySelector(`[name="${active}"]`)?.focus();
  }
  function conditionSelectors(which) {
    const words = [];
    const items = [];
    if (which.includes("dataset")) {
      items.push(select("Data set", datasets.map((value) => ({ value, text: value })), state.dataset, (value) => choose({ dataset: value }), "dataset"));
      words.push(state.dataset);
    }
    if (which.includes("cells")) {
      items.push(select("Cells", sizes(state.dataset).map((value) => ({ value, text: cells(value) })), state.cells, (value) => choose({ cells: value }), "cells"));
      words.push(`${cells(state.cells)} cells`);
    }
    if (which.includes("fraction")) {
      const known = which.includes("cells") ? fractions(state.dataset, state.cells) : fractions(state.dataset);
      items.push(select("Unpaired", known.map((value) => ({ value, text: percent(value) })), state.fraction, (value) => choose({ fraction: value }), "fraction"));
      words.push(`${percent(state.fraction)} unpaired`);
    }
    return [...items, element("span", { class: "where" }, words.join(" · "))];
  }

  const groupOptions = (present) => [
    { value: "main", text: "Main metrics" },
    ...Object.entries(shared.groups).filter(([key]) => present.some((metric) => metric.group === key)).map(([value, text]) => ({ value, text })),
    { value: "all", text: "All metrics" },
  ];
  const metricNumbers = (group) =>
    shared.metrics.map((metric, number) => ({ metric, number })).filter(({ metric }) => !metric.run && (group === "all" || (group === "main" ? metric.main : metric.group === group))).map(({ number }) => number);
  const arrow = (metric) => (metric.direction === "lower" ? "↓" : metric.direction === "target" ? `→${format(metric.target)}` : "↑");
  const directionWords = (metric) => (metric.direction === "lower" ? "lower is better" : metric.direction === "target" ? `ideal: ${format(metric.target)}` : "higher is better");

  return {
    all, shared, colours, element, format, percent, cells, sizes, fractions, conditionOf, state, choose, condition, select, replaceControls, conditionSelectors,
    groupOptions, metricNumbers, arrow, directionWords, find, score, nearest, drawers, sections: {},
    section(key, draw) { this.sections[key] = draw; },
  };
})();
