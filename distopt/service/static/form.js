"use strict";
// The form: fields from the schemas of the registry, checked by the service while one types.

(() => {
  const given = JSON.parse(document.getElementById("given").textContent);
  const form = document.getElementById("job"), fields = document.getElementById("fields");
  const toml = document.getElementById("toml"), verdict = document.getElementById("verdict");
  const start = document.getElementById("start");
  const SECTIONS = [["problem", "costs"], ["topology", "topologies"], ["algorithm", "algorithms"],
    ["compressor", "compressors"]];
  let registry = null, tables = structuredClone(given.tables ?? {}), asText = !given.tables;
  let latest = 0;

  // A schema with its references and alternatives laid open.
  function kinds(schema, root) {
    if (schema.$ref) return kinds(root.$defs[schema.$ref.split("/").pop()], root);
    const inner = schema.anyOf ?? schema.oneOf;
    return inner ? inner.flatMap((each) => kinds(each, root)) : [schema];
  }

  function choices(all) {
    if (all.some((kind) => !kind.enum && kind.const === undefined && kind.type !== "null" && kind.type !== "boolean")) return null;
    return all.flatMap((kind) => kind.type === "boolean" ? [true, false]
      : kind.type === "null" ? [] : kind.enum ?? [kind.const]);
  }

  function hint(all) {
    return all.filter((kind) => kind.type !== "null").map((kind) => {
      if (kind.const !== undefined) return String(kind.const);
      if (kind.enum) return kind.enum.join(", ");
      const bounds = [["exclusiveMinimum", ">"], ["minimum", "≥"], ["exclusiveMaximum", "<"], ["maximum", "≤"]]
        .filter(([key]) => Math.abs(kind[key]) < 2 ** 32).map(([key, sign]) => `${sign} ${kind[key]}`);
      const word = { integer: "whole number", number: "number", string: "text", array: "list, JSON",
        object: "table, JSON", boolean: "true or false" }[kind.type] ?? "value";
      return [word, ...bounds].join(" ");
    }).join(" or ");
  }

  // What was typed, as a value: TOML's own words where they fit, else a text.
  function typed(text, all) {
    const word = text.trim();
    if (all.some((kind) => kind.type === "number" || kind.type === "integer") && word !== "" && !isNaN(word)) return Number(word);
    if (word === "true" || word === "false") return word === "true";
    if (/^[[{]/.test(word)) { try { return JSON.parse(word); } catch { return word; } }
    return word;
  }

  function write(v) { return typeof v === "object" ? JSON.stringify(v) : String(v); }

  function field(section, name, schema, root) {
    const all = kinds(schema, root), options = choices(all);
    const id = `${section}.${name}`, label = document.createElement("label");
    label.append(`${name} `);
    const input = document.createElement(options ? "select" : "input");
    input.id = id;
    if (options) {
      input.add(new Option(schema.default === undefined || schema.default === null ? "default" : `default: ${schema.default}`, ""));
      for (const option of options) input.add(new Option(String(option), String(option)));
    } else {
      input.placeholder = schema.default === undefined || schema.default === null ? "" : write(schema.default);
      input.autocomplete = "off";
    }
    const now = tables[section]?.[name];
    if (now !== undefined) input.value = write(now);
    input.addEventListener("input", () => {
      tables[section] ??= {};
      if (input.value.trim() === "") delete tables[section][name];
      else tables[section][name] = typed(input.value, all);
      soon();
    });
    const told = document.createElement("small");
    told.textContent = [schema.description, hint(all)].filter(Boolean).join("; ");
    told.id = `${id}.hint`;
    input.setAttribute("aria-describedby", told.id);
    label.append(input, told);
    return label;
  }

  function group(section, kind) {
    const box = document.createElement("fieldset"), legend = document.createElement("legend");
    legend.textContent = section;
    box.append(legend);
    const rows = document.createElement("div");
    rows.className = "fields";
    if (kind) {
      const known = registry[kind], key = known.key, select = document.createElement("select");
      const label = document.createElement("label"), told = document.createElement("small");
      const usual = known.default ?? (section === "compressor" ? null : "quadratic");
      if (section === "compressor") select.add(new Option("that of the algorithm", ""));
      for (const member of known.members) select.add(new Option(member.name, member.name));
      select.id = `${section}.${key}`;
      select.value = tables[section]?.[key] ?? usual ?? "";
      if (section === "problem") { tables.problem ??= {}; tables.problem.name ??= usual; tables.problem.agents ??= 4; }
      const own = () => {
        const member = known.members.find((each) => each.name === select.value);
        told.textContent = member?.summary ?? "";
        rows.querySelectorAll("label:not(.name)").forEach((each) => each.remove());
        const common = registry.common[section];
        for (const [name, schema] of Object.entries(common?.properties ?? {})) {
          if (name !== key && name !== "lost") rows.append(field(section, name, schema, common));
        }
        for (const [name, schema] of Object.entries(member?.schema.properties ?? {})) {
          if (name !== "arithmetic") rows.append(field(section, name, schema, member.schema));
        }
      };
      select.addEventListener("input", () => {
        const member = known.members.find((each) => each.name === select.value);
        const keep = new Set([...Object.keys(registry.common[section]?.properties ?? {}), ...Object.keys(member?.schema.properties ?? {})]);
        const before = Object.entries(tables[section] ?? {}).filter(([name]) => keep.has(name) && name !== key);
        tables[section] = Object.fromEntries(before);
        if (select.value) tables[section][key] = select.value;
        own();
        soon();
      });
      label.className = "name";
      label.append(`${key} `, select, told);
      rows.append(label);
      own();
    } else {
      const common = registry.common[section];
      for (const [name, schema] of Object.entries(common.properties)) {
        if (name !== "stop") rows.append(field(section, name, schema, common));
      }
    }
    box.append(rows);
    return box;
  }

  function build() {
    if (!registry) return;
    fields.replaceChildren(...SECTIONS.map(([section, kind]) => group(section, kind)), group("run", null));
  }

  function config() {
    if (asText) return toml.value;
    return Object.fromEntries(Object.entries(tables).filter(([, table]) => Object.keys(table).length));
  }

  function body() {
    const data = new FormData(form);
    return { config: config(), name: data.get("name"), engine: data.get("engine"), priority: Number(data.get("priority")) };
  }

  async function post(path) {
    const answer = await fetch(`/api/v1${path}`, { method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body()) });
    return [answer.ok, await answer.json()];
  }

  function complain(fault) {
    verdict.className = "note warn";
    verdict.textContent = fault.sentence;
    start.disabled = true;
    const input = fault.key && document.getElementById(fault.key);
    input?.setAttribute("aria-invalid", "true");
  }

  async function check() {
    const turn = ++latest;
    const [good, found] = await post("/check").catch(() => [false, { error: { sentence: "The service does not answer." } }]);
    if (turn !== latest) return;
    form.querySelectorAll("[aria-invalid]").forEach((input) => input.removeAttribute("aria-invalid"));
    if (!good) { complain(found.error); return; }
    start.disabled = false;
    verdict.className = "note";
    const runs = found.cases.length > 1 ? `${found.cases.length} runs, ` : "";
    verdict.textContent = `Ready: ${found.name}; ${runs}${found.ranks} ${found.ranks === 1 ? "process" : "ranks"}.`;
    document.getElementById("preview").textContent = found.resolved;
    if (!asText) toml.value = found.config;
  }

  let timer = null;
  function soon() { clearTimeout(timer); timer = setTimeout(check, 350); }

  function tab(text) {
    asText = text;
    for (const [id, on] of [["form", !text], ["text", text]]) document.getElementById(`tab-${id}`).setAttribute("aria-selected", on);
    fields.hidden = text;
    document.getElementById("text").hidden = !text;
  }
  document.getElementById("tab-form").addEventListener("click", () => { tab(false); soon(); });
  document.getElementById("tab-text").addEventListener("click", () => { tab(true); soon(); });
  toml.addEventListener("input", soon);
  form.elements.engine.addEventListener("input", soon);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    start.disabled = true;
    const [good, found] = await post("/jobs").catch(() => [false, { error: { sentence: "The service does not answer." } }]);
    if (good) location.href = `/jobs/${found.id}`; else { complain(found.error); start.disabled = false; }
  });

  toml.value = given.text ?? "";
  tab(asText);
  soon();
  fetch("/api/v1/registry").then((answer) => answer.json()).then((found) => { registry = found; build(); soon(); });
})();
