"use strict";
// The page of a job or run: its state, what it printed, and its buttons.

(() => {
  const status = () => document.getElementById("status");
  const log = document.getElementById("log");

  async function printed() {
    if (!log) return;
    const answer = await fetch(`/api/v1/jobs/${log.dataset.job}/log?since=${log.dataset.cursor ?? 0}`);
    if (!answer.ok) return;
    const { text, cursor } = await answer.json();
    if (log.dataset.cursor === undefined) log.textContent = "";
    log.dataset.cursor = cursor;
    log.textContent += text;
    if (text) log.scrollTop = log.scrollHeight;
  }

  // The graph changes with each checkpoint, and at the end.
  let drawn = Date.now();
  function redraw() {
    const graph = document.getElementById("graph"), { state } = status().dataset;
    if (!graph || (graph.dataset.state === state && Date.now() - drawn < 15000)) return;
    [graph.dataset.state, drawn] = [state, Date.now()];
    htmx.trigger(graph, "again");
  }

  const refresh = live.calmly(async () => {
    const before = status().dataset.runs;
    await htmx.ajax("GET", status().dataset.address, { target: "#status", swap: "outerHTML" });
    if (status().dataset.runs !== before) location.reload(); // new runs bring new curves
    redraw();
    printed();
  }, 1000);

  // Runs that a job begins while its page is open have keys that the page has not seen yet.
  const mine = (key) => status().dataset.keys.split("\n").includes(key) || key.startsWith(`run:${status().dataset.folder}/`);
  live.on((keys) => { if ([...keys].some(mine)) refresh(); });
  live.begin(status().dataset.cursor);

  document.body.addEventListener("click", async (event) => {
    const { do: action, job } = event.target.dataset;
    if (!action) return;
    if (action === "delete" && !confirm(`Delete job ${job} and its folder?`)) return;
    event.target.disabled = true;
    const answer = action === "delete"
      ? await fetch(`/api/v1/jobs/${job}`, { method: "DELETE" })
      : await fetch(`/api/v1/jobs/${job}/${action}`, { method: "POST" });
    if (answer.ok && action === "delete") { location.href = "/"; return; }
    if (answer.ok) { refresh(); return; }
    event.target.disabled = false;
    live.say("said", (await answer.json()).error.sentence);
  });
  printed();
})();
