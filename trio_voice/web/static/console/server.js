// What runs here: version, model, where carriers connect, and the settings in force.

import { el, getJson } from "./dom.js";

export async function serverPage(main, signal) {
  const box = el("div", {});
  const signOut = el("button", { type: "button" }, "Sign out");
  signOut.addEventListener("click", async () => {
    await getJson("/console/session", { method: "DELETE" });
    location.reload();
  });
  main.append(el("h1", { tabindex: -1 }, "Server"), box, el("p", { class: "actions" }, signOut));
  try {
    const [facts, now] = await Promise.all(["/console/facts", "/api/v1/server"].map((path) => getJson(path, { signal })));
    box.replaceChildren(about(facts, now), settings(facts.settings));
  } catch (error) {
    if (!signal.aborted) box.replaceChildren(el("p", { class: "error" }, error.message));
  }
}

function about(facts, now) {
  const line = (name, ...value) => [el("dt", {}, name), el("dd", {}, ...value)];
  return el("section", { class: "card", "aria-label": "About" }, el("h2", {}, "What runs here"), el("dl", { class: "facts" },
    line("agent", facts.agent),
    line("model", facts.model),
    line("trio-voice", facts.version),
    line("runs since", new Date(Date.now() - 1000 * now.uptime_s).toLocaleString()),
    line("calls", calls(now)),
    now.workers.length + now.silent_workers.length > 1 ? line("workers", now.workers.map(worker), now.silent_workers.map(silent)) : [],
    line("carriers connect to", facts.media_urls.map((url) => el("code", {}, url))),
    line("for machines", ["/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"].flatMap((path) => [el("a", { href: path }, path), " "]))));
}

const calls = (told) => `${told.calls} in progress${told.places === null ? "" : `, places for ${told.places}`}`;
const worker = (row) => el("div", {}, `${row.worker}: ${calls(row)}${row.ready ? "" : `; takes no new ones: ${row.reason}`}`);
const silent = (number) => el("div", {}, `${number}: does not answer`);

function settings(sections) {
  const changed = (setting) => !setting.is_default;
  return el("section", { class: "card", "aria-label": "Settings in force" },
    el("h2", {}, "Settings in force"),
    el("p", { class: "quiet" }, "Those in bold differ from their defaults. Secrets are not shown."),
    Object.entries(sections).map(([name, entries]) => {
      const all = Object.entries(entries);
      const count = all.filter(([, setting]) => changed(setting)).length;
      return el("details", { open: count > 0 },
        el("summary", {}, `[${name}]`, el("small", {}, count ? ` ${count} changed` : " as by default")),
        el("dl", { class: "facts settings" }, all.map(([key, setting]) => [
          el("dt", { class: changed(setting) ? "changed" : "" }, key),
          el("dd", { class: changed(setting) ? "changed" : "" }, el("code", {}, shown(setting))),
        ])));
    }));
}

function shown({ value, is_hidden: isHidden }) {
  if (isHidden) return value ? "set, not shown" : "not set";
  if (value === null || value === "") return "not set";
  return typeof value === "string" ? value : JSON.stringify(value);
}
