/* UMAPs on canvases. */
MosaicBench.section("embeddings", (root, data) => {
  const { shared, element } = MosaicBench;
  const own = { design: 0, colour: "cell_type", chosen: null };
  const decode = (text) => { const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0)); return new Uint16Array(bytes.buffer); };
  const decoded = new Map();
  const once = (text) => { if (!decoded.has(text)) decoded.set(text, decode(text)); return decoded.get(text); };

  /* Up to seven classes get Okabe and Ito's colours; more get hues in turn at three lightnesses, which no palette can make all distinct: hence the highlight. */
  function palette(n) {
    if (n <= MosaicBench.colours.length) return MosaicBench.colours.slice(0, n);
    return Array.from({ length: n }, (_, i) => `hsl(${Math.round((i * 360) / n)} ${[75, 60, 85][i % 3]}% ${[42, 62, 30][i % 3]}%)`);
  }

  function paint(canvas, picture, labels, colours) {
    const ratio = Math.min(3, window.devicePixelRatio || 1), side = Math.max(120, canvas.clientWidth || 240);
    canvas.width = canvas.height = Math.round(side * ratio);
    const context = canvas.getContext("2d"), points = once(picture.points), codes = once(labels.codes);
    const size = Math.max(1.3, Math.min(3, 50 / Math.sqrt(codes.length))) * ratio, inner = canvas.width - 6 * size;
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    const draw = (wanted) => {
      for (let i = 0; i < codes.length; i += 1) {
        const on = own.chosen === null || codes[i] === own.chosen;
        if (on !== wanted) continue;
        context.fillStyle = !on ? "#e3e6ea" : codes[i] === 65535 ? "#9aa2ab" : colours[codes[i]];
        context.beginPath();
        context.arc(3 * size + (points[2 * i] / 4095) * inner, canvas.height - 3 * size - (points[2 * i + 1] / 4095) * inner, size, 0, 2 * Math.PI);
        context.fill();
      }
    };
    draw(false);
    draw(true);
  }

  function draw() {
    const design = data.designs[own.design], labels = design.columns[own.colour], colours = palette(labels.values.length);
    MosaicBench.replaceControls(root,
      MosaicBench.select("Design", data.designs.map((item, value) => ({ value, text: `${item.dataset}, ${MosaicBench.cells(item.cells)} cells, ${MosaicBench.percent(item.fraction)} unpaired` })), own.design, (value) => { own.design = value; own.chosen = null; draw(); }, "design"),
      MosaicBench.select("Colour", Object.entries(data.labels).map(([value, text]) => ({ value, text })), own.colour, (value) => { own.colour = value; own.chosen = null; draw(); }, "colour"),
      element("span", { class: "where" }, `${design.dataset} · ${MosaicBench.cells(design.cells)} cells · ${MosaicBench.percent(design.fraction)} unpaired · ${design.n < design.all ? `${MosaicBench.cells(design.n)} of ${MosaicBench.cells(design.all)} observations · ` : ""}by ${data.labels[own.colour].toLowerCase()}`));
    const canvases = [];
    root.querySelector("[data-view]").replaceChildren(...design.pictures.map((picture) => {
      const canvas = element("canvas", { role: "img", "aria-label": `UMAP of ${shared.variants[picture.variant].label}, coloured by ${data.labels[own.colour].toLowerCase()}, ${design.n} observations` });
      canvases.push([canvas, picture]);
      return element("figure", { class: "picture" }, element("figcaption", {}, shared.variants[picture.variant].label, picture.flag ? element("span", { class: "badge", title: picture.flag }, "flagged") : null), canvas);
    }));
    const repaint = () => canvases.forEach(([canvas, picture]) => paint(canvas, picture, labels, colours));
    const legend = root.querySelector("[data-legend]");
    legend.classList.add("highlight");
    const missing = once(labels.codes).includes(65535);
    const entries = labels.values.map((text, code) => ({ text, code, colour: colours[code] })).concat(missing ? [{ text: "no label", code: 65535, colour: "#9aa2ab" }] : []);
    const buttons = entries.map(({ text, code, colour }) => element("button", {
      type: "button", "aria-pressed": "false", "data-code": code,
      onclick: () => {
        own.chosen = own.chosen === code ? null : code;
        buttons.forEach((button) => button.setAttribute("aria-pressed", String(own.chosen !== null && Number(button.dataset.code) === own.chosen)));
        repaint();
      },
    }, element("svg", { width: 12, height: 12, "aria-hidden": "true" }, element("circle", { cx: 6, cy: 6, r: 5, fill: colour })), text));
    legend.replaceChildren(...buttons.map((button) => element("li", {}, button)));
    repaint();
    own.repaint = repaint;
  }
  let waiting = null;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => own.repaint && own.repaint(), 150); });
  // The condition chosen elsewhere leads to its design, where that has pictures.
  return function follow() {
    const { dataset, fraction } = MosaicBench.state;
    const key = `${dataset}\n${fraction}`;
    const same = data.designs.findIndex((item) => item.dataset === dataset && item.fraction === fraction);
    if (own.followed !== key) { own.followed = key; if (same >= 0 && same !== own.design) { own.design = same; own.chosen = null; } else if (own.repaint) return; } else if (own.repaint) return;
    draw();
  };
});
