"use strict";
// Curves of one or many runs: first the whole, then only the rows that are new.

(() => {
  const place = document.getElementById("charts");
  if (!place) return;
  const PANELS = [
    ["stationarity", "P", []],
    ["consensus_error", "consensus error", []],
    ["lyapunov", "Lyapunov value", ["lyapunov_gap", "lyapunov_memory_x", "lyapunov_memory_y",
      "lyapunov_consensus", "lyapunov_tracking", "lyapunov_scale", "lyapunov_direction"]],
    ["objective", "objective f(x̄)", []],
  ];
  const X = { iteration: "iterations", bytes_per_agent: "bytes per agent", bytes_on_wire: "bytes on wire",
    seconds: "seconds", gradients: "gradients" };
  const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
  const runs = [...place.querySelectorAll("input.run")].map((input, number) => ({
    folder: input.value, label: input.dataset.label, number, cursor: "", series: {}, available: [],
  }));
  const points = Math.max(200, Math.min(2000, Math.floor(40000 / Math.max(1, runs.length))));
  const names = PANELS.flatMap(([name, , terms]) => [name, ...(runs.length === 1 ? terms : [])]);
  let plots = [], extra = null;
  const spoken = (name) => name.replace("measures.", "").replaceAll("_", " ");

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const value = (id) => document.getElementById(id).value;
  const checked = (id) => document.getElementById(id).checked;

  async function load(run) {
    const asked = new URLSearchParams([["run", run.folder], ["cursor", run.cursor], ["points", points],
      ["skip", "true"], ...[...names, ...(extra ? [extra] : [])].map((name) => ["name", name])]);
    const answer = await fetch(`/api/v1/series?${asked}`);
    const found = await answer.json();
    if (!answer.ok) { run.fault = found.error.sentence; return; }
    run.fault = "";
    run.cursor = found.cursor;
    run.available = found.available;
    for (const [name, column] of Object.entries(found.series)) {
      if (found.since === 0) run.series[name] = column;
      else (run.series[name] ??= []).push(...column);
    }
  }

  // The lines of a panel: [label, x, y, colour, dash].
  function lines(name, terms) {
    const wanted = [];
    const x = value("x");
    for (const run of runs) {
      const own = runs.length === 1 ? [name, ...terms] : [name];
      own.forEach((each, term) => {
        if (!run.series[each] || !run.series[x]) return;
        const at = runs.length === 1 ? term : run.number;
        const label = runs.length === 1 ? spoken(each) : run.label;
        wanted.push([label, run.series[x], run.series[each], style(`--c${at % 8}`),
          DASHES[Math.floor(at / 8) % DASHES.length]]);
      });
    }
    return wanted;
  }

  const rounded = (v) => v == null ? "" : Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3)
    ? (+v.toPrecision(3)).toExponential().replace("e+", "e") : String(+v.toPrecision(4));

  // The ends of an axis and what is between them; of a logarithmic one over several decades only these.
  function decades(plot, axis, low, high, pause) {
    const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    const step = Math.max(1, Math.ceil((last - first) / 10));
    const found = [];
    for (let at = first; at <= last; at += step) {
      const some = last - first > 2 ? [1] : last - first > 1 ? [1, 2, 5] : [1, 1.5, 2, 3, 5, 7];
      for (const digit of some) found.push(digit * 10 ** at);
    }
    return found.filter((v) => v >= low && v <= high);
  }

  function draw(figure, name, title, wanted) {
    const logx = checked("logx");
    const logy = checked("logy") && wanted.some(([, , ys]) => ys.some((y) => y > 0)) &&
      (name !== "objective" || wanted.every(([, , ys]) => ys.every((y) => y === null || y > 0)));
    const tables = wanted.map(([, xs, ys]) => {
      const kept = xs.map((_, i) => i).filter((i) => xs[i] !== null && (!logx || xs[i] > 0));
      // uPlot wants every x once: of rows at the same place the last counts.
      const last = kept.filter((i, at) => at + 1 === kept.length || xs[kept[at + 1]] > xs[i]);
      return [last.map((i) => xs[i]), last.map((i) => (logy && ys[i] <= 0 ? null : ys[i]))];
    });
    const grid = { stroke: style("--grid"), width: 1 };
    const axis = { stroke: style("--pale"), grid, ticks: grid, values: (_, ticks) => ticks.map(rounded) };
    const log = { splits: decades, filter: (_, ticks) => ticks };
    const plot = new uPlot({
      width: Math.max(280, figure.clientWidth - 24), height: 300,
      scales: { x: { time: false, distr: logx ? 3 : 1 }, y: { distr: logy ? 3 : 1 } },
      axes: [{ ...axis, ...(logx ? log : {}), label: X[value("x")], labelSize: 20 },
        { ...axis, ...(logy ? log : {}), size: 64 }],
      legend: { show: false },
      cursor: { drag: { x: true, y: false }, sync: { key: "runs" } },
      series: [{}, ...wanted.map(([label, , , stroke, dash]) => ({ label, stroke, dash, width: 1.6, spanGaps: true,
        points: { show: false } }))],
    }, uPlot.join(tables), figure);
    const canvas = plot.root.querySelector("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${title} over ${X[value("x")]}`);
    offerFiles(figure, plot, title, wanted);
    return plot;
  }

  // Buttons that save a figure as it is shown, with its title and lines.
  function offerFiles(figure, plot, title, wanted) {
    const caption = figure.querySelector("figcaption");
    for (const [kind, make] of [["SVG", svgOf], ["PNG", pngOf]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "small";
      button.textContent = kind;
      button.setAttribute("aria-label", `Save ${title} as ${kind}`);
      button.addEventListener("click", async () => {
        const link = document.createElement("a");
        link.download = `${title} over ${X[value("x")]}.${kind.toLowerCase()}`;
        link.href = URL.createObjectURL(await make(plot, title, wanted));
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      });
      caption.append(" ", button);
    }
  }

  // Where the lines are named below a figure: [label, x, y, colour, dash], as many in a row as fit.
  function keys(wanted, width, top, measure) {
    let x = 12, y = top;
    const places = wanted.map(([label, , , colour, dash]) => {
      const long = 44 + measure(label);
      if (x + long > width && x > 12) [x, y] = [12, y + 18];
      const place = [label, x, y, colour, dash];
      x += long;
      return place;
    });
    return [places, y + 14];
  }

  const ruler = document.createElement("canvas").getContext("2d");
  const FONT = "12px system-ui, sans-serif";
  function measure(text) { ruler.font = FONT; return ruler.measureText(text).width; }

  function svgOf(plot, title, wanted) {
    const text = (x, y, words, more = "") => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>` +
      `${words.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`)}</text>`;
    const rule = (x1, y1, x2, y2, stroke, more = "") => `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" ` +
      `x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="${stroke}" ${more}/>`;
    const { over } = plot, [w, h, top] = [over.clientWidth, over.clientHeight, 28];
    const left = parseFloat(over.style.left), below = top + h;
    const [places, height] = keys(wanted, plot.width, below + 56, measure);
    const parts = [text(12, 18, title, 'font-weight="600"')];
    for (const [key, axis] of [["x", plot.axes[0]], ["y", plot.axes[1]]]) {
      axis._splits.forEach((at, i) => {
        const words = axis._values[i] ?? "", place = plot.valToPos(at, key);
        if (!(place >= 0 && place <= (key === "x" ? w : h))) return;
        parts.push(key === "x"
          ? rule(left + place, top, left + place, below, style("--grid")) + text(left + place, below + 16, words, 'text-anchor="middle"')
          : rule(left, top + place, left + w, top + place, style("--grid")) + text(left - 8, top + place + 4, words, 'text-anchor="end"'));
      });
    }
    parts.push(text(left + w / 2, below + 36, X[value("x")], 'text-anchor="middle"'));
    parts.push(`<clipPath id="inside"><rect x="${left}" y="${top}" width="${w}" height="${h}"/></clipPath>`);
    wanted.forEach(([, , , colour, dash], number) => {
      const xs = plot.data[0], ys = plot.data[number + 1], points = [];
      xs.forEach((x, i) => {
        if (ys[i] != null) points.push(`${(left + plot.valToPos(x, "x")).toFixed(1)},${(top + plot.valToPos(ys[i], "y")).toFixed(1)}`);
      });
      parts.push(`<polyline points="${points.join(" ")}" fill="none" stroke="${colour}" stroke-width="1.6" ` +
        `stroke-dasharray="${dash.join(" ")}" clip-path="url(#inside)"/>`);
    });
    for (const [label, x, y, colour, dash] of places) {
      parts.push(rule(x, y - 4, x + 26, y - 4, colour, `stroke-width="2.5" stroke-dasharray="${dash.join(" ")}"`), text(x + 30, y, label));
    }
    const whole = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${plot.width} ${height}" width="${plot.width}" ` +
      `height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="${style("--ink")}">` +
      `<rect width="100%" height="100%" fill="${style("--sheet")}"/>${parts.join("\n")}</svg>`;
    return new Blob([whole], { type: "image/svg+xml" });
  }

  function pngOf(plot, title, wanted) {
    const source = plot.root.querySelector("canvas"), scale = source.width / plot.width;
    const [places, height] = keys(wanted, plot.width, plot.height + 44, measure);
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
    for (const [label, x, y, colour, dash] of places) {
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

  function figureOf(title) {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    caption.textContent = title;
    figure.append(caption);
    return figure;
  }

  function all() {
    for (const plot of plots) plot.destroy();
    for (const figure of place.querySelectorAll("figure")) figure.remove();
    const panels = extra && !names.includes(extra)
      ? [[extra, spoken(extra), []], ...PANELS] : PANELS;
    const wanted = panels.map(([name, title, terms]) => [figureOf(title), name, title, lines(name, terms)])
      .filter(([, , , found]) => found.length);
    for (const [figure] of wanted) place.append(figure); // all, before any is measured
    plots = wanted.map((panel) => draw(...panel));
    legend();
  }

  function legend() {
    const list = document.getElementById("legend");
    const found = runs.length === 1 ? lines("lyapunov", PANELS[2][2]) : lines("stationarity", []);
    list.replaceChildren(...found.map(([label, , , colour, dash]) => {
      const item = document.createElement("li");
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
      for (const [key, v] of [["width", 30], ["height", 10], ["aria-hidden", "true"]]) svg.setAttribute(key, v);
      for (const [key, v] of [["x1", 0], ["x2", 30], ["y1", 5], ["y2", 5], ["stroke", colour],
        ["stroke-width", 2.5], ["stroke-dasharray", dash.join(" ")]]) line.setAttribute(key, v);
      svg.append(line);
      item.append(svg, ` ${label}`);
      return item;
    }));
    const faults = runs.filter((run) => run.fault).map((run) => `${run.label}: ${run.fault}`);
    if (faults.length) {
      const item = document.createElement("li");
      item.textContent = faults.join(" ");
      list.append(item);
    }
  }

  function offer() {
    const select = document.getElementById("more");
    const known = new Set([...select.options].map((option) => option.value));
    for (const name of new Set(runs.flatMap((run) => run.available))) {
      if (!known.has(name) && !(name in X)) select.add(new Option(spoken(name), name));
    }
  }

  // What costs measure besides their values, such as test accuracy, is known once a record was read.
  function measures() {
    const found = runs.flatMap((run) => run.available).filter((name) => name.startsWith("measures."));
    const fresh = [...new Set(found)].filter((name) => !names.includes(name)).slice(0, 6);
    for (const name of fresh) { names.push(name); PANELS.push([name, spoken(name), []]); }
    return fresh.length > 0;
  }

  // Few requests at a time: the service reads one record after the other.
  async function loadAll(some) {
    const queue = [...some];
    await Promise.all(Array.from({ length: 4 }, async () => {
      for (let run; (run = queue.shift());) await load(run);
    }));
    if (measures()) {
      for (const run of runs) run.cursor = "";
      return loadAll(runs);
    }
    offer();
    all();
  }

  const due = new Set();
  const more = live.calmly(() => { const some = [...due]; due.clear(); loadAll(some); }, 1000);
  live.on((keys) => {
    for (const run of runs) if (keys.has(`run:${run.folder}`)) due.add(run);
    if (due.size) more();
  });
  for (const id of ["x", "logx", "logy"]) document.getElementById(id).addEventListener("change", all);
  document.getElementById("more").addEventListener("change", (event) => {
    extra = event.target.value || null;
    for (const run of runs) run.cursor = "";
    loadAll(runs);
  });
  let width = innerWidth;
  addEventListener("resize", live.calmly(() => { if (innerWidth !== width) { width = innerWidth; all(); } }, 300));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  if (place.dataset.cursor) live.begin(place.dataset.cursor);
  loadAll(runs);
})();
