"use strict";
// Curves of one or many runs: first the whole, then only the points that are new.

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
  const TOGETHER = 10; // runs in one request
  const POINTS = 1000; // of a curve
  const runs = [...place.querySelectorAll("input.run")].map((input, number) => ({
    folder: input.value, label: input.dataset.label, number, cursor: "", curves: {}, available: [],
  }));
  const alone = runs.length === 1;
  let plots = [], extra = null, part = null, turn = 0;

  const spoken = (name) => name.replace("measures.", "").replaceAll("_", " ");
  const value = (id) => document.getElementById(id).value;
  const checked = (id) => document.getElementById(id).checked;
  const axis = () => ({ name: value("x"), title: X[value("x")], log: checked("logx") });

  function names() {
    const known = PANELS.flatMap(([name, , terms]) => [name, ...(alone ? terms : [])]);
    return extra ? [...known, extra] : known;
  }

  // Ask for what is new of some runs.
  async function load(some) {
    const { name, log } = axis();
    const asked = [["x", name], ["log", log], ["points", POINTS], ["measures", true],
      ...names().map((each) => ["name", each]),
      ...some.flatMap((run) => [["run", run.folder], ["cursor", run.cursor]])];
    if (part) asked.push(["low", part[0]], ["high", part[1]]);
    const answer = await fetch(`/api/v1/curves?${new URLSearchParams(asked)}`);
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error.sentence);
    return found;
  }

  // Put what has come to what is there. A curve that has grown long is fetched anew, thinned out.
  function take(run, found) {
    run.fault = found.fault ?? "";
    if (run.fault) return;
    if (found.since === 0) run.curves = {};
    [run.cursor, run.available] = [found.cursor, found.available];
    for (const [name, { x, y }] of Object.entries(found.curves)) {
      const curve = run.curves[name] ??= { x: [], y: [] };
      curve.x.push(...x);
      curve.y.push(...y);
      if (curve.x.length > 8 * POINTS) run.cursor = "";
    }
  }

  // What costs measure besides their values, such as test accuracy, has figures of its own.
  function panels() {
    const known = new Set(names());
    const measured = new Set(runs.flatMap((run) => Object.keys(run.curves)).filter((name) => !known.has(name)));
    const more = [...measured].map((name) => [name, spoken(name), []]);
    const first = extra && !PANELS.some(([name]) => name === extra) && !measured.has(extra) ? [[extra, spoken(extra), []]] : [];
    return [...first, ...PANELS, ...more];
  }

  function lines(name, terms) {
    return runs.flatMap((run) => (alone ? [name, ...terms] : [name]).flatMap((each, term) => {
      const curve = run.curves[each], at = alone ? term : run.number;
      return curve ? [{ label: alone ? spoken(each) : run.label, xs: curve.x, ys: curve.y,
        colour: figures.style(`--c${at % 8}`), dash: DASHES[Math.floor(at / 8) % DASHES.length] }] : [];
    }));
  }

  function logarithmic(name, wanted) {
    if (!checked("logy")) return false;
    if (name === "objective") return wanted.every(({ ys }) => ys.every((y) => y === null || y > 0));
    return wanted.some(({ ys }) => ys.some((y) => y > 0));
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
    const wanted = panels().map(([name, title, terms]) => [figureOf(title), name, title, lines(name, terms)])
      .filter(([, , , found]) => found.some(({ xs }) => xs.length));
    for (const [figure] of wanted) place.append(figure); // all, before any is measured
    plots = wanted.map(([figure, name, title, found]) =>
      figures.draw(figure, title, found, axis(), logarithmic(name, found), zoom));
    document.getElementById("whole").hidden = !part;
    legend();
    offer();
  }

  function legend() {
    const list = document.getElementById("legend");
    const found = alone ? lines("lyapunov", PANELS[2][2]) : lines("stationarity", []);
    list.replaceChildren(...found.map((line) => {
      const item = document.createElement("li");
      item.append(figures.sample(line, 30), ` ${line.label}`);
      return item;
    }));
    const faults = new Set(runs.filter((run) => run.fault).map((run) => alone ? run.fault : `${run.label}: ${run.fault}`));
    for (const fault of faults) {
      const item = document.createElement("li");
      item.textContent = fault;
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

  // Comes with the next frame, once that before it is painted.
  const frame = () => new Promise((done) => requestAnimationFrame(done));

  // One after the other, so that nothing is taken twice.
  let before = Promise.resolve();
  const loadAll = (some) => { before = before.then(() => loadNow(some, turn)); };

  // Two requests at a time: one is read while another is taken.
  async function loadNow(some, mine) {
    const queue = [];
    for (let at = 0; at < some.length; at += TOGETHER) queue.push(some.slice(at, at + TOGETHER));
    await Promise.all([0, 1].map(async () => {
      for (let batch; (batch = queue.shift());) {
        const found = await load(batch).catch((error) => batch.map(() => ({ fault: error.message })));
        if (mine !== turn) return;
        batch.forEach((run, i) => take(run, found[i]));
      }
    }));
    if (mine !== turn) return;
    all();
    frame().then(frame).then(() => { if (mine === turn) document.body.dispatchEvent(new Event("drawn")); });
  }

  // Another axis, part of it, or series: all curves anew.
  function anew() {
    turn++;
    for (const run of runs) run.cursor = "";
    loadAll(runs);
  }

  function zoom(low, high) {
    if (low === undefined && !part) return;
    part = low === undefined ? null : [low, high];
    anew();
  }

  const due = new Set();
  const more = live.calmly(() => { const some = [...due]; due.clear(); loadAll(some); }, 1000);
  live.on((keys) => {
    for (const run of runs) if (keys.has(`run:${run.folder}`)) due.add(run);
    if (due.size) more();
  });
  document.getElementById("x").addEventListener("change", () => { part = null; anew(); });
  document.getElementById("logx").addEventListener("change", anew);
  document.getElementById("logy").addEventListener("change", all);
  document.getElementById("whole").addEventListener("click", () => zoom());
  document.getElementById("more").addEventListener("change", (event) => {
    extra = event.target.value || null;
    anew();
  });
  let width = innerWidth;
  addEventListener("resize", live.calmly(() => { if (innerWidth !== width) { width = innerWidth; all(); } }, 300));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  if (place.dataset.cursor) live.begin(place.dataset.cursor);
  anew();
})();
