"use strict";
// The list of runs: lines that change are fetched anew, new ones bring the first page anew.

(() => {
  const lines = document.getElementById("lines");
  const wanted = new Set();
  const shown = () => new Map([...lines.querySelectorAll("tr[data-key]")].map((tr) => [tr.dataset.key, tr]));

  const refresh = live.calmly(() => {
    const there = shown();
    const keys = [...wanted].filter((key) => there.has(key)).slice(0, 100);
    const strange = [...wanted].some((key) => !there.has(key));
    wanted.clear();
    if (strange && there.size <= 100) {
      htmx.ajax("GET", `/${location.search}`, { target: "#lines", swap: "innerHTML" });
    } else if (keys.length) {
      const query = new URLSearchParams(keys.map((key) => ["key", key]));
      htmx.ajax("GET", `/lines?${query}`, { target: "body", swap: "none" });
    }
  }, 1000);

  live.on((keys) => {
    for (const key of keys) wanted.add(key);
    refresh();
  });
  live.begin(lines.dataset.cursor);

  // What is picked stays picked when lines are replaced.
  const picked = new Set();
  const show = () => {
    for (const box of lines.querySelectorAll("input[name=run]")) box.checked = picked.has(box.value);
    document.getElementById("together").disabled = picked.size < 2;
    live.say("picked", picked.size ? `${picked.size} picked` : "Pick two or more runs.");
  };
  lines.addEventListener("change", (event) => {
    if (event.target.name !== "run") return;
    if (event.target.checked) picked.add(event.target.value); else picked.delete(event.target.value);
    show();
  });
  document.body.addEventListener("htmx:afterSettle", show);
  document.body.addEventListener("htmx:oobAfterSwap", show);
  document.getElementById("compare").addEventListener("submit", (event) => {
    event.preventDefault();
    location.href = `/compare?${new URLSearchParams([...picked].map((run) => ["run", run]))}`;
  });
  show();
})();
