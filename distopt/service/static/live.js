"use strict";
// One stream of events for the whole page: it tells the keys of what has changed, and each part of the
// page fetches what it shows of them.

const live = { listeners: [] };

live.on = (listener) => live.listeners.push(listener);

live.begin = (cursor) => {
  const link = document.getElementById("link");
  const source = new EventSource(`/api/v1/events?since=${cursor}`);
  source.addEventListener("changed", (event) => {
    const { keys } = JSON.parse(event.data);
    for (const listener of live.listeners) listener(new Set(keys));
  });
  source.onopen = () => { link.textContent = ""; };
  source.onerror = () => { link.textContent = "The service does not answer; trying again."; };
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
};

// Call a function soon, and again only after a pause, however often it is asked for.
live.calmly = (call, pause) => {
  let waiting = null, last = 0;
  return () => {
    if (waiting !== null) return;
    waiting = setTimeout(() => { waiting = null; last = Date.now(); call(); },
                         Math.max(0, last + pause - Date.now()));
  };
};

live.say = (id, text) => { document.getElementById(id).textContent = text; };
