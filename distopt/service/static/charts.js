"use strict";
// Curves of one or many runs: first the whole, then only the rows that are new.

(() => {
  const place = document.getElementById("charts");
  if (!place) return;
  const PANELS = [
    ["stationarity", "P", []],
    ["consensus_error", "consensus error", []],
    ["lyapunov", "Lyapunov value", ["lyapunov_gap", "lyapunov_memory_x", "lyapunov_memory_y",
      "lyapunov_consensus", "lyapunov_tracking", "lyapunov_scale"]],
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
        const label = runs.length === 1 ? each.replaceAll("_", " ") : run.label;
        wanted.push([label, run.series[x], run.series[each], style(`--c${at % 8}`),
          DASHES[Math.floor(at / 8) % DASHES.length]]);
      });
    }
    return wanted;
  }

  const rounded = (v) => v == null ? "" : Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3)
    ? v.toExponential(0).replace("e+", "e") : String(+v.toPrecision(4));

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
    return plot;
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
      ? [[extra, extra.replaceAll("_", " "), []], ...PANELS] : PANELS;
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
      if (!known.has(name) && !(name in X)) select.add(new Option(name.replaceAll("_", " "), name));
    }
  }

  // Few requests at a time: the service reads one record after the other.
  async function loadAll(some) {
    const queue = [...some];
    await Promise.all(Array.from({ length: 4 }, async () => {
      for (let run; (run = queue.shift());) await load(run);
    }));
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
  document.getElementById("png").addEventListener("click", () => {
    for (const plot of plots) {
      const source = plot.root.querySelector("canvas");
      const copy = document.createElement("canvas");
      [copy.width, copy.height] = [source.width, source.height];
      const pen = copy.getContext("2d");
      pen.fillStyle = style("--sheet");
      pen.fillRect(0, 0, copy.width, copy.height);
      pen.drawImage(source, 0, 0);
      const link = document.createElement("a");
      link.download = `${plot.root.parentElement.querySelector("figcaption").textContent}.png`;
      link.href = copy.toDataURL();
      link.click();
    }
  });
  let width = innerWidth;
  addEventListener("resize", live.calmly(() => { if (innerWidth !== width) { width = innerWidth; all(); } }, 300));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  if (place.dataset.cursor) live.begin(place.dataset.cursor);
  loadAll(runs);
})();
