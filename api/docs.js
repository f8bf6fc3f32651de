// Renders /openapi.json. It loads nothing from anywhere else and writes text only as text.
"use strict";

const make = (tag, props = {}, ...children) => {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children);
  return e;
};

fetch("/openapi.json").then((r) => r.json()).then((doc) => {
  const schemas = (doc.components && doc.components.schemas) || {};
  const resolve = (s) => (s && s.$ref ? schemas[s.$ref.split("/").pop()] || {} : s || {});
  const typeOf = (s) => {
    if (!s) return "any";
    if (s.$ref) return s.$ref.split("/").pop();
    if (s.anyOf || s.oneOf) return (s.anyOf || s.oneOf).map(typeOf).join(" or ");
    const type = Array.isArray(s.type) ? s.type.filter((t) => t !== "null").join(" or ") : s.type;
    if (type === "array") return "array of " + typeOf(s.items);
    if (s.enum) return s.enum.map((v) => JSON.stringify(v)).join(" | ");
    return (type || "any") + (s.format ? " (" + s.format + ")" : "");
  };
  const fields = (s, depth) => {
    const rows = [];
    const walk = (schema, path, level) => {
      const r = resolve(schema);
      if (r.type === "array" || (Array.isArray(r.type) && r.type.includes("array"))) {
        walk(r.items, path + "[]", level);
        return;
      }
      for (const [name, p] of Object.entries(r.properties || {})) {
        const full = path ? path + "." + name : name;
        rows.push([full, typeOf(p), (r.required || []).includes(name), p.description || resolve(p).description || ""]);
        if (level < depth) walk(p, full, level + 1);
      }
    };
    walk(s, "", 0);
    return rows;
  };
  const table = (head, rows) => make("table", {}, make("thead", {}, make("tr", {}, ...head.map((h) => make("th", { textContent: h })))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((c) => make("td", { textContent: String(c) }))))));
  const body = (title, content) => {
    const out = [];
    for (const [type, media] of Object.entries(content || {})) {
      out.push(make("h3", { textContent: title + " · " + type + " · " + typeOf(media.schema) }));
      const rows = fields(media.schema, 2);
      if (rows.length) out.push(table(["field", "type", "", "means"], rows.map((r) => [r[0], r[1], r[2] ? "required" : "", r[3]])));
    }
    return out;
  };

  document.getElementById("title").textContent = doc.info.title + " API " + doc.info.version;
  document.getElementById("about").textContent = doc.info.description || "";
  const groups = new Map((doc.tags || []).map((t) => [t.name, { about: t.description, list: [] }]));
  for (const [path, item] of Object.entries(doc.paths || {})) {
    for (const [method, op] of Object.entries(item)) {
      const tag = (op.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, { about: "", list: [] });
      groups.get(tag).list.push({ path, method, op });
    }
  }
  const nav = document.getElementById("nav");
  const main = document.getElementById("operations");
  for (const [tag, group] of groups) {
    if (!group.list.length) continue;
    nav.append(make("a", { href: "#" + tag, textContent: tag }));
    main.append(make("h2", { id: tag, textContent: tag }), make("p", { textContent: group.about || "" }));
    for (const { path, method, op } of group.list) {
      const inside = make("div", { className: "inside" }, make("p", { textContent: op.description || "" }));
      const parameters = op.parameters || [];
      if (parameters.length) inside.append(make("h3", { textContent: "Parameters" }), table(["name", "in", "type", "means"], parameters.map((p) => [p.name, p.in, typeOf(p.schema), p.description || ""])));
      inside.append(...body("Request", op.requestBody && op.requestBody.content));
      for (const [status, answer] of Object.entries(op.responses || {})) inside.append(...body("Answer " + status, answer.content));
      main.append(make("details", { id: op.operationId || "" }, make("summary", {}, make("span", { className: "method", textContent: method.toUpperCase() }),
        make("span", { className: "path", textContent: path }), make("span", { className: "what", textContent: op.summary || "" })), inside));
    }
  }
});
