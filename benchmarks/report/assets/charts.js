/* Line charts as SVG. */
(() => {
  const { element, format } = MosaicBench;
  const WIDTH = 380, HEIGHT = 250, LEFT = 50, RIGHT = 12, TOP = 10, BOTTOM = 42;

  function marker(shape, x, y, size, colour) {
    const r = size;
    if (shape === "square") return element("rect", { x: x - r * 0.9, y: y - r * 0.9, width: 1.8 * r, height: 1.8 * r, fill: colour });
    if (shape === "triangle") return element("path", { d: `M${x} ${y - 1.2 * r}L${x + 1.1 * r} ${y + 0.8 * r}H${x - 1.1 * r}Z`, fill: colour });
    if (shape === "diamond") return element("path", { d: `M${x} ${y - 1.3 * r}L${x + 1.3 * r} ${y}L${x} ${y + 1.3 * r}L${x - 1.3 * r} ${y}Z`, fill: colour });
    if (shape === "cross") return element("path", { d: `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}`, stroke: colour, "stroke-width": 2 });
    return element("circle", { cx: x, cy: y, r, fill: colour });
  }

  function ticks(low, high, wanted) {
    const rough = (high - low) / wanted;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((value) => value >= rough * 0.999);
    const result = [];
    for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step) result.push(Number(value.toPrecision(10)));
    return result;
  }
  function logTicks(low, high) {
    const result = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
      (high / low > 300 ? [1] : [1, 3]).forEach((factor) => result.push(Number((factor * 10 ** power).toPrecision(6))));
    }
    return result.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  }
  const short = (value) => {
    const size = Math.abs(value);
    if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
    if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
    if (size !== 0 && size < 0.001) return value.toExponential(0);
    return Number(value.toPrecision(4)).toLocaleString("en");
  };

  /* series: [{label, colour, dash, marker, line (no markers), points: [{x, y, low, high, n, flag}]}]; a point with a flag has a ring. */
  function lineChart({ title, note, series, xLabel, yLabel, xLog, yLog, xFormat, yBounds, fromZero }) {
    const points = series.flatMap((item) => item.points);
    const caption = element("figcaption", {}, title, note ? element("span", {}, ` ${note}`) : null);
    if (!points.length) return element("figure", { class: "chart" }, caption, element("p", { class: "empty" }, "No values in this selection."));
    const xs = [...new Set(points.map((point) => point.x))].sort((a, b) => a - b);
    const lows = points.map((point) => Math.min(point.y, point.low ?? point.y));
    const highs = points.map((point) => Math.max(point.y, point.high ?? point.y));
    let bottom = Math.min(...lows), top = Math.max(...highs);
    if (yLog) {
      bottom = Math.max(bottom, Math.min(...points.map((point) => point.y).filter((value) => value > 0), 1e-3)) * 0.7;
      top *= 1.4;
    } else {
      const margin = (top - bottom || Math.abs(top) || 1) * 0.06;
      bottom = fromZero || (bottom >= 0 && bottom - margin < 0) ? 0 : bottom - margin;
      top += margin;
      if (yBounds && yBounds[1] !== null && top > yBounds[1] && top - yBounds[1] <= margin * 1.01) top = Math.max(yBounds[1], ...highs) + margin * 0.3;
    }
    const fx = (value) => (xLog ? Math.log(value) : value), fy = (value) => (yLog ? Math.log(Math.max(value, bottom)) : value);
    const span = fx(xs.at(-1)) - fx(xs[0]);
    const px = (value) => (span === 0 ? (LEFT + WIDTH - RIGHT) / 2 : LEFT + 14 + ((fx(value) - fx(xs[0])) / span) * (WIDTH - RIGHT - LEFT - 28));
    const py = (value) => HEIGHT - BOTTOM - ((fy(value) - fy(bottom)) / (fy(top) - fy(bottom))) * (HEIGHT - BOTTOM - TOP);
    const summary = `${title}: ${yLabel} against ${xLabel}. ` + series.map((item) => `${item.label} ${item.points.map((point) => format(point.y)).join(", ")}`).join("; ");
    const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": summary });

    (yLog ? logTicks(bottom, top) : ticks(bottom, top, 5)).forEach((value) => {
      svg.append(element("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: py(value), y2: py(value), stroke: "#e8ebee" }));
      svg.append(element("text", { x: LEFT - 6, y: py(value) + 3.5, "text-anchor": "end" }, short(value)));
    });
    let edge = -Infinity;
    xs.forEach((value) => {
      svg.append(element("line", { x1: px(value), x2: px(value), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4, stroke: "#59616b" }));
      const text = xFormat ? xFormat(value) : short(value);
      // Labels that would touch their neighbour are left out; the tick stays.
      if (px(value) - text.length * 3.2 < edge) return;
      edge = px(value) + text.length * 3.2 + 4;
      svg.append(element("text", { x: px(value), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, text));
    });
    svg.append(element("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM, stroke: "#59616b" }));
    svg.append(element("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle", class: "axis" }, xLabel));
    svg.append(element("text", { x: -(TOP + HEIGHT - BOTTOM) / 2, y: 11, transform: "rotate(-90)", "text-anchor": "middle", class: "axis" }, yLabel));

    const drawn = series.filter((item) => !item.line);
    series.forEach((item) => {
      // Small sideways steps keep intervals of different models apart; they are far below the distance of two x values.
      const place = drawn.indexOf(item);
      const step = Math.min(3, (xs.length > 1 ? Math.min(...xs.slice(1).map((value, i) => px(value) - px(xs[i]))) : 120) / (2.5 * Math.max(1, drawn.length)));
      const shift = place < 0 ? 0 : (place - (drawn.length - 1) / 2) * step;
      const sorted = [...item.points].sort((a, b) => a.x - b.x);
      const group = element("g", {});
      const extend = item.line && xs.length === 1 ? 60 : 0;
      const path = item.line && extend
        ? `M${px(xs[0]) - extend} ${py(sorted[0].y)}H${px(xs[0]) + extend}`
        : sorted.map((point, i) => `${i ? "L" : "M"}${(px(point.x) + shift).toFixed(1)} ${py(point.y).toFixed(1)}`).join("");
      group.append(element("path", { d: path, fill: "none", stroke: item.colour, "stroke-width": item.line ? 1.25 : 1.75, "stroke-dasharray": item.dash || null, "stroke-linejoin": "round" }, element("title", {}, item.label)));
      if (!item.line) {
        sorted.forEach((point) => {
          const x = px(point.x) + shift;
          const text = `${item.label}\n${xLabel}: ${xFormat ? xFormat(point.x) : short(point.x)}\n${yLabel}: ${format(point.y)}` + (point.low !== null && point.low !== undefined ? ` (${format(point.low)} to ${format(point.high)})` : "") + `\n${point.n} replicate${point.n === 1 ? "" : "s"}` + (point.flag ? `\n${point.flag}` : "");
          const mark = element("g", {}, element("title", {}, text));
          if (point.low !== null && point.low !== undefined) mark.append(element("line", { x1: x, x2: x, y1: py(point.low), y2: py(point.high), stroke: item.colour, "stroke-width": 1.25 }));
          mark.append(marker(item.marker, x, py(point.y), 3.2, item.colour));
          if (point.flag) mark.append(element("circle", { class: "ring", cx: x, cy: py(point.y), r: 6, fill: "none", stroke: "#1a1d21", "stroke-width": 1.25 }));
          group.append(mark);
        });
      }
      svg.append(group);
    });
    return element("figure", { class: "chart" }, caption, svg);
  }

  const sample = (variant) => {
    const svg = element("svg", { width: 26, height: 12, "aria-hidden": "true" }, element("line", { x1: 1, x2: 25, y1: 6, y2: 6, stroke: variant.colour, "stroke-width": 1.75, "stroke-dasharray": variant.dash || null }));
    if (!variant.control) svg.append(marker(variant.marker, 13, 6, 3.2, variant.colour));
    return svg;
  };
  Object.assign(MosaicBench, { lineChart, marker, sample });
})();
