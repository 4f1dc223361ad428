"use strict";
// Figures of curves, with a readout beside the pointer, and files of what they show.
// A line is {label, xs, ys, colour, dash}; an axis {name, log}.

const figures = {};

(() => {
  const style = figures.style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const SHOWN = 9; // lines in a readout
  const FEW = 8; // lines of a figure that are drawn bold; thin ones are painted many times faster

  const rounded = (v) => v == null ? "" : Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3)
    ? (+v.toPrecision(3)).toExponential().replace("e+", "e") : String(+v.toPrecision(4));

  // The ends of an axis and what is between them; of a logarithmic one over several decades only these.
  function decades(plot, axis, low, high) {
    const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    const step = Math.max(1, Math.ceil((last - first) / 10));
    const found = [];
    for (let at = first; at <= last; at += step) {
      const some = last - first > 2 ? [1] : last - first > 1 ? [1, 2, 5] : [1, 1.5, 2, 3, 5, 7];
      for (const digit of some) found.push(digit * 10 ** at);
    }
    return found.filter((v) => v >= low && v <= high);
  }

  // The points of a line that its figure can show, each line with an axis of its own.
  function visible({ xs, ys }, logx, logy) {
    const kept = [[], []];
    for (let i = 0; i < xs.length; i++) {
      const x = xs[i], y = ys[i];
      if (x === null || y === null || (logx && x <= 0) || (logy && y <= 0)) continue;
      kept[0].push(x);
      kept[1].push(y);
    }
    return kept;
  }

  // Dashes are as long along x as those of the legend, also where a line goes up and down: so it can be told
  // from others, and is painted in little time.
  const straight = uPlot.paths.linear();
  const dashed = (dash) => (plot, k, first, last) => {
    const [xs, ys] = plot.data[k], ratio = devicePixelRatio;
    let [length, left, right] = [0, Infinity, 0];
    for (let i = first, before; i <= last; i++) {
      const at = [plot.valToPos(xs[i], "x"), plot.valToPos(ys[i], "y")];
      if (before) length += Math.hypot(at[0] - before[0], at[1] - before[1]);
      [left, right, before] = [Math.min(left, at[0]), Math.max(right, at[0]), at];
    }
    const along = Math.max(1, length / Math.max(1, Math.hypot(right - left, plot.over.clientHeight)));
    plot.series[k].dash = dash.map((part) => part * along * ratio);
    return straight(plot, k, first, last);
  };

  // Draw lines into a figure; `zoom(low, high)` is called when a part of x is chosen, without when none is.
  figures.draw = (figure, title, lines, x, logy, zoom) => {
    const found = lines.map((line) => [line, visible(line, x.log, logy)]).filter(([, [xs]]) => xs.length);
    const grid = { stroke: style("--grid"), width: 1 };
    const axis = { stroke: style("--pale"), grid, ticks: grid, values: (_, ticks) => ticks.map(rounded) };
    const log = { splits: decades, filter: (_, ticks) => ticks };
    const width = Math.max(280, figure.clientWidth - 24), bold = found.length > FEW ? 1 : 1.6;
    const plot = new uPlot({
      mode: 2, width, height: 300,
      scales: { x: { time: false, distr: x.log ? 3 : 1 }, y: { distr: logy ? 3 : 1 } },
      axes: [{ ...axis, ...(x.log ? log : {}), label: x.title, labelSize: 20 },
        { ...axis, ...(logy ? log : {}), size: 64 }],
      legend: { show: false },
      cursor: { drag: { x: true, y: false, setScale: false }, points: { show: false }, y: false,
        sync: { key: "runs", setSeries: false }, bind: { dblclick: () => () => { zoom(); return null; } } },
      hooks: {
        setCursor: [(plot) => read(plot, found, x)],
        setSelect: [(plot) => { if (plot.select.width > 4 && plot.cursor.event) choose(plot, zoom); }],
      },
      series: [{}, ...found.map(([{ label, colour, dash }]) => ({ label, stroke: colour, width: bold, spanGaps: true,
        points: { show: false }, ...(dash.length ? { dash, paths: dashed(dash) } : {}) }))],
    }, [null, ...found.map(([, points]) => points)], figure);
    const canvas = plot.root.querySelector("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${title} over ${x.title}`);
    offerFiles(figure, plot, title, found, x);
    return plot;
  };

  function choose(plot, zoom) {
    const { left, width } = plot.select;
    zoom(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
  }

  // What the lines are at where the pointer is, the nearest line first.
  function read(plot, found, x) {
    const { left, top, event } = plot.cursor;
    let box = plot.over.querySelector(".readout");
    if (left === undefined || left < 0 || !event) { box?.remove(); return; }
    const at = plot.posToVal(left, "x");
    const near = found.map(([line, [xs, ys]]) => {
      let low = 0, high = xs.length - 1;
      while (low < high) { const half = (low + high) >> 1; if (xs[half] < at) low = half + 1; else high = half; }
      if (low > 0 && at - xs[low - 1] < xs[low] - at) low--;
      const beyond = at < xs[0] || at > xs[xs.length - 1];
      return { line, y: ys[low], off: beyond ? Infinity : Math.abs(plot.valToPos(ys[low], "y") - top) };
    }).filter(({ off }) => off < Infinity).sort((a, b) => a.off - b.off);
    if (!near.length) { box?.remove(); return; }
    if (!box) {
      box = document.createElement("div");
      box.className = "readout";
      plot.over.append(box);
    }
    const head = document.createElement("div");
    head.textContent = `${x.title} ${rounded(at)}`;
    box.replaceChildren(head, ...near.slice(0, SHOWN).map(({ line, y }) => {
      const row = document.createElement("div"), value = document.createElement("b");
      value.textContent = rounded(y);
      row.append(sample(line, 18), ` ${line.label} `, value);
      return row;
    }));
    if (near.length > SHOWN) {
      const rest = document.createElement("div");
      rest.textContent = `and ${near.length - SHOWN} more`;
      box.append(rest);
    }
    const room = plot.over.clientWidth;
    box.style.left = left < room / 2 ? `${left + 14}px` : "auto";
    box.style.right = left < room / 2 ? "auto" : `${room - left + 14}px`;
  }

  // A piece of a line, for legends.
  const sample = figures.sample = ({ colour, dash }, width) => {
    const make = (name, given) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, v] of Object.entries(given)) element.setAttribute(key, v);
      return element;
    };
    const svg = make("svg", { width, height: 10, "aria-hidden": "true" });
    svg.append(make("line", { x1: 0, x2: width, y1: 5, y2: 5, stroke: colour, "stroke-width": 2.5,
      "stroke-dasharray": dash.join(" ") }));
    return svg;
  };

  // Buttons that save a figure as it is shown, with its title and lines.
  function offerFiles(figure, plot, title, found, x) {
    const caption = figure.querySelector("figcaption");
    for (const [kind, make] of [["SVG", svgOf], ["PNG", pngOf]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "small";
      button.textContent = kind;
      button.setAttribute("aria-label", `Save ${title} as ${kind}`);
      button.addEventListener("click", async () => {
        const link = document.createElement("a");
        link.download = `${title} over ${x.title}.${kind.toLowerCase()}`;
        link.href = URL.createObjectURL(await make(plot, title, found, x));
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      });
      caption.append(" ", button);
    }
  }

  // Where the lines are named below a figure, as many in a row as fit.
  function keys(found, width, top, measure) {
    let x = 12, y = top;
    const places = found.map(([line]) => {
      const long = 44 + measure(line.label);
      if (x + long > width && x > 12) [x, y] = [12, y + 18];
      const place = { ...line, x, y };
      x += long;
      return place;
    });
    return [places, y + 14];
  }

  const ruler = document.createElement("canvas").getContext("2d");
  const FONT = "12px system-ui, sans-serif";
  function measure(text) { ruler.font = FONT; return ruler.measureText(text).width; }

  function svgOf(plot, title, found, axis) {
    const text = (x, y, words, more = "") => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>` +
      `${words.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`)}</text>`;
    const rule = (x1, y1, x2, y2, stroke, more = "") => `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" ` +
      `x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="${stroke}" ${more}/>`;
    const { over } = plot, [w, h, top] = [over.clientWidth, over.clientHeight, 28];
    const left = parseFloat(over.style.left), below = top + h;
    const [places, height] = keys(found, plot.width, below + 56, measure);
    const parts = [text(12, 18, title, 'font-weight="600"')];
    for (const [key, each] of [["x", plot.axes[0]], ["y", plot.axes[1]]]) {
      each._splits.forEach((at, i) => {
        const words = each._values[i] ?? "", place = plot.valToPos(at, key);
        if (!(place >= 0 && place <= (key === "x" ? w : h))) return;
        parts.push(key === "x"
          ? rule(left + place, top, left + place, below, style("--grid")) + text(left + place, below + 16, words, 'text-anchor="middle"')
          : rule(left, top + place, left + w, top + place, style("--grid")) + text(left - 8, top + place + 4, words, 'text-anchor="end"'));
      });
    }
    parts.push(text(left + w / 2, below + 36, axis.title, 'text-anchor="middle"'));
    parts.push(`<clipPath id="inside"><rect x="${left}" y="${top}" width="${w}" height="${h}"/></clipPath>`);
    found.forEach(([{ colour }, [xs, ys]], k) => {
      const { dash = [], width } = plot.series[k + 1];
      const points = xs.map((x, i) => `${(left + plot.valToPos(x, "x")).toFixed(1)},${(top + plot.valToPos(ys[i], "y")).toFixed(1)}`);
      parts.push(`<polyline points="${points.join(" ")}" fill="none" stroke="${colour}" stroke-width="${width}" ` +
        `stroke-dasharray="${dash.map((part) => (part / devicePixelRatio).toFixed(1)).join(" ")}" clip-path="url(#inside)"/>`);
    });
    for (const { label, x, y, colour, dash } of places) {
      parts.push(rule(x, y - 4, x + 26, y - 4, colour, `stroke-width="2.5" stroke-dasharray="${dash.join(" ")}"`), text(x + 30, y, label));
    }
    const whole = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${plot.width} ${height}" width="${plot.width}" ` +
      `height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="${style("--ink")}">` +
      `<rect width="100%" height="100%" fill="${style("--sheet")}"/>${parts.join("\n")}</svg>`;
    return new Blob([whole], { type: "image/svg+xml" });
  }

  function pngOf(plot, title, found) {
    const source = plot.root.querySelector("canvas"), scale = source.width / plot.width;
    const [places, height] = keys(found, plot.width, plot.height + 44, measure);
    const copy = document.createElement("canvas"), pen = copy.getContext("2d");
    [copy.width, copy.height] = [source.width, Math.ceil(height * scale)];
    pen.fillStyle = style("--sheet");
    pen.fillRect(0, 0, copy.width, copy.height);
    pen.drawImage(source, 0, Math.round(28 * scale));
    pen.scale(scale, scale);
    pen.fillStyle = style("--ink");
    pen.font = `600 ${FONT}`;
    pen.fillText(title, 12, 18);
    pen.font = FONT;
    pen.lineWidth = 2.5;
    for (const { label, x, y, colour, dash } of places) {
      pen.strokeStyle = colour;
      pen.setLineDash(dash);
      pen.beginPath();
      pen.moveTo(x, y - 4);
      pen.lineTo(x + 26, y - 4);
      pen.stroke();
      pen.fillText(label, x + 30, y);
    }
    return new Promise((done) => copy.toBlob(done, "image/png"));
  }
})();
