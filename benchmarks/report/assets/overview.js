/* The table of models by metrics. */
MosaicBench.section("overview", (root) => {
  const { shared, element, format } = MosaicBench;
  const own = { group: "main", show: "value", sort: null, ascending: false, at: null };
  const present = shared.metrics.filter((metric) => !metric.run);
  const STATES = ["ok", "failed", "missing", "not applicable", "not available"];
  const detail = root.querySelector("[data-detail]");

  const mix = (from, to, share) => from.map((value, i) => Math.round(value + (to[i] - value) * share));
  /* White to dark blue for 0 to 1, orange below 0. Both ends are told apart by people with any colour vision. */
  function shade(scaled) {
    if (scaled === null) return null;
    const stops = [[255, 255, 255], [198, 221, 240], [90, 155, 206], [8, 69, 130]];
    const t = Math.min(1, Math.abs(scaled));
    if (scaled < -0.01) return mix([255, 255, 255], [240, 170, 80], Math.min(1, 0.25 + t));
    const place = Math.min(2.9999, t * 3);
    return mix(stops[Math.floor(place)], stops[Math.floor(place) + 1], place % 1);
  }
  const luminance = (rgb) => rgb.map((value) => { const c = value / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; }).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  function paint(node, scaled) {
    const rgb = shade(scaled);
    if (!rgb) { node.classList.add("plainvalue"); return; }
    node.style.backgroundColor = `rgb(${rgb.join(",")})`;
    node.style.color = luminance(rgb) > 0.18 ? "#1a1d21" : "#ffffff";
  }

  function describe(variant, metric, item) {
    const parts = [element("strong", {}, `${variant.label}, ${metric.title}`), ` (${MosaicBench.directionWords(metric)}): `];
    if (item.state === 0) {
      parts.push(`mean ${format(item.mean)}, median ${format(item.median)}` + (item.sd === null ? "" : `, standard deviation ${format(item.sd)}`));
      parts.push(item.low === null ? "; one replicate, so no interval" : `; 95 % interval ${format(item.low)} to ${format(item.high)} over ${item.n} replicates` + (item.n === 2 ? " (their range)" : ""));
      parts.push(item.scaled === null ? `; not scaled: ${item.unscaled}` : `; scaled ${format(item.scaled)}`);
      if (item.ok < item.planned) parts.push(`; ${item.planned - item.ok} of ${item.planned} scores have no value: ${item.reason}`);
    } else parts.push(`${STATES[item.state]}: ${item.reason || "no reason recorded"}`);
    if (item.flag) parts.push(`. Flagged: ${item.flag}`);
    parts.push(". ");
    if (metric.description) parts.push(metric.description);
    return parts;
  }

  function cell(variantNumber, metricNumber, condition) {
    const variant = shared.variants[variantNumber], metric = shared.metrics[metricNumber];
    const row = MosaicBench.find(condition, variantNumber, metricNumber);
    const item = row === undefined ? null : MosaicBench.score(row);
    const show = () => detail.replaceChildren(...(item ? describe(variant, metric, item) : [element("strong", {}, `${variant.label}, ${metric.title}`), ": no score in this condition."]));
    const key = (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); show(); } };
    const events = { tabindex: -1, "data-at": `${variantNumber} ${metricNumber}`, onfocus: show, onmouseenter: show, onclick: show, onkeydown: key };
    if (!item) return element("td", { class: "none", ...events }, "–");
    if (item.state !== 0) {
      const quiet = item.state >= 3;
      return element("td", { class: quiet ? "none" : "failed", ...events, "data-state": STATES[item.state] }, item.state === 3 ? "n/a" : STATES[item.state]);
    }
    const scaled = own.show === "scaled";
    const value = scaled ? item.scaled : item.mean;
    const below = scaled ? format(item.mean) : item.low === null ? "" : `${format(item.low)} – ${format(item.high)}`;
    const partial = item.ok < item.planned ? element("span", { class: "badge" }, `${item.ok}/${item.planned}`) : null;
    const node = element("td", { ...events, "data-state": "ok", "data-value": value }, element("span", { class: "v" }, format(value), partial), element("span", { class: "i" }, below));
    if (!item.flag) paint(node, item.scaled);
    return node;
  }

  /* One cell of the table is reached by Tab; from there arrows, Home and End (of the row; with Ctrl, of the table) move. */
  function rove(table) {
    const lines = [...table.querySelectorAll("tbody tr")].map((line) => [...line.querySelectorAll("td")]);
    const cells = lines.flat();
    if (!cells.length) return;
    const enter = (node) => {
      cells.forEach((other) => { other.tabIndex = other === node ? 0 : -1; });
      own.at = node.dataset.at;
    };
    enter(cells.find((node) => node.dataset.at === own.at) || cells[0]);
    table.addEventListener("focusin", (event) => { if (event.target.tagName === "TD") enter(event.target); });
    table.addEventListener("keydown", (event) => {
      const y = lines.findIndex((line) => line.includes(event.target));
      if (y < 0 || event.altKey || event.metaKey) return;
      const x = lines[y].indexOf(event.target), whole = event.ctrlKey;
      const to = {
        ArrowLeft: [y, x - 1], ArrowRight: [y, x + 1], ArrowUp: [y - 1, x], ArrowDown: [y + 1, x],
        Home: [whole ? 0 : y, 0], End: [whole ? lines.length - 1 : y, lines[y].length - 1],
      }[event.key];
      if (!to || (whole && event.key.startsWith("Arrow"))) return;
      event.preventDefault();
      lines[to[0]]?.[to[1]]?.focus();
    });
  }

  function draw() {
    MosaicBench.replaceControls(root, ...MosaicBench.conditionSelectors(["dataset", "cells", "fraction"]),
      MosaicBench.select("Metrics", MosaicBench.groupOptions(present), own.group, (value) => { own.group = value; own.sort = null; draw(); }, "group"),
      MosaicBench.select("Show", [{ value: "value", text: "Value and interval" }, { value: "scaled", text: "Scaled, 0 to 1" }], own.show, (value) => { own.show = value; draw(); }, "show"),
      element("button", { type: "button", name: "download", onclick: download }, "Save as TSV"));
    const condition = MosaicBench.condition();
    const view = root.querySelector("[data-view]");
    if (condition < 0) { view.replaceChildren(element("p", { class: "empty" }, "There are no scores in this study.")); return; }
    const columns = MosaicBench.metricNumbers(own.group);
    // A metric that has no value here (pairing of all-paired cells, say) keeps its column: its absence is information.
    const active = document.activeElement?.closest?.("th")?.dataset.column;

    // Unsorted, models stand in the order of their overall score, which claims no more than the ranking section does.
    const order = shared.variants.map((_, number) => number);
    const ranks = MosaicBench.all.sections.ranking?.rows;
    if (ranks && own.sort === null) {
      const overall = new Map(ranks.variant.map((number, i) => [number, ranks.condition[i] === condition ? ranks.overall[i] : null]).filter(([number, value]) => value !== null));
      const key = (number) => overall.get(number) ?? -1;
      order.sort((a, b) => key(b) - key(a) || a - b);
    }
    if (own.sort !== null) {
      const key = (number) => {
        if (own.sort === "label") return shared.variants[number].label;
        const row = MosaicBench.find(condition, number, own.sort);
        if (row === undefined) return null;
        const item = MosaicBench.score(row);
        const value = own.show === "scaled" ? item.scaled : item.mean;
        const metric = shared.metrics[own.sort];
        return value === null ? null : metric.direction === "target" && own.show === "value" ? Math.abs(value - metric.target) : value;
      };
      order.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        return (typeof x === "string" ? x.localeCompare(y) : x - y) * (own.ascending ? 1 : -1);
      });
    }
    function head(column, text, symbol, help) {
      const sorted = own.sort === column;
      const click = () => {
        const metric = shared.metrics[column];
        const first = column === "label" || (own.show === "value" && metric.direction !== "higher");
        own.ascending = sorted ? !own.ascending : first;
        own.sort = column;
        draw();
      };
      return element("th", { scope: "col", class: column === "label" ? "first" : null, "data-column": column, "aria-sort": sorted ? (own.ascending ? "ascending" : "descending") : null },
        element("button", { type: "button", onclick: click, title: help }, text, " ", element("span", { class: "arrow" }, sorted ? (own.ascending ? "▲" : "▼") : symbol)));
    }
    const groups = element("tr", {}, element("th", { class: "first" }, element("span", {}, "")));
    columns.forEach((number, i) => {
      const group = shared.metrics[number].group;
      if (i && shared.metrics[columns[i - 1]].group === group) { groups.lastChild.colSpan += 1; return; }
      groups.append(element("th", { scope: "colgroup", class: "group" }, shared.groups[group]));
    });
    const heads = element("tr", {}, head("label", "Model", "", "Sort by name"));
    columns.forEach((number) => {
      const metric = shared.metrics[number];
      heads.append(head(number, metric.title, MosaicBench.arrow(metric), `${MosaicBench.directionWords(metric)}${metric.paper ? `; ${metric.paper}` : ""}. Press to sort.`));
    });
    const line = (number) => {
      const variant = shared.variants[number];
      const first = columns.map((metric) => MosaicBench.find(condition, number, metric)).find((row) => row !== undefined);
      const flag = first === undefined ? "" : MosaicBench.score(first).flag;
      return element("tr", { class: flag ? "flagged" : null },
        element("th", { scope: "row", class: `first${variant.control ? " control" : ""}` }, variant.label, flag ? element("span", { class: "badge", title: flag }, "flagged") : null),
        ...columns.map((metric) => cell(number, metric, condition)));
    };
    const inCondition = order.filter((number) => columns.some((metric) => MosaicBench.find(condition, number, metric) !== undefined));
    const table = element("table", { class: "grid", role: "grid", "aria-label": "Models by metrics", "aria-readonly": "true" }, element("thead", {}, groups, heads),
      element("tbody", {}, ...inCondition.filter((number) => !shared.variants[number].control).map(line)),
      element("tbody", { class: "controls-body" }, ...inCondition.filter((number) => shared.variants[number].control).map(line)));
    const box = element("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "Models by metrics, to scroll" }, table);
    const left = view.querySelector(".scroll")?.scrollLeft || 0;
    view.replaceChildren(box);
    rove(table);
    box.scrollLeft = left;
    if (active !== undefined) table.querySelector(`th[data-column="${active}"] button`)?.focus();
  }

  function download() {
    const columns = MosaicBench.metricNumbers(own.group), condition = MosaicBench.condition();
    const clean = (text) => String(text ?? "NA").replace(/[\t\r\n]+/g, " ");
    const lines = [["model", "metric", "mean", "low", "high", "replicates", "scaled", "status", "reason"]];
    shared.variants.forEach((variant, number) => columns.forEach((metric) => {
      const row = MosaicBench.find(condition, number, metric);
      if (row === undefined) return;
      const item = MosaicBench.score(row);
      lines.push([variant.label, shared.metrics[metric].name, item.mean, item.low, item.high, item.n, item.scaled, STATES[item.state], item.reason]);
    }));
    const address = URL.createObjectURL(new Blob([lines.map((line) => line.map(clean).join("\t")).join("\n") + "\n"], { type: "text/tab-separated-values" }));
    const link = element("a", { href: address, download: "overview.tsv" });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  const key = root.querySelector("[data-key]");
  const ramp = element("svg", { width: 132, height: 14, "aria-hidden": "true" });
  for (let i = 0; i < 44; i += 1) ramp.append(element("rect", { x: 3 * i, y: 0, width: 3.2, height: 14, fill: `rgb(${shade(-0.4 + (i / 43) * 1.4).join(",")})` }));
  key.append(element("li", {}, "worse than random", ramp, "best"), element("li", {}, element("span", { class: "badge" }, "3/5"), "scores with a value, of those planned"),
    element("li", {}, element("span", { class: "badge" }, "flagged"), "degenerate embedding, hatched and never ranked"), element("li", {}, "n/a: does not apply · ↑ ↓ → best direction or target"));
  return draw;
});
