// Past calls: a list with search.

import { clock, el, getJson, median, moment, plural, setText, words } from "./dom.js";

const WAIT_MS = 250; // after the last key, before a search; and before asking again for calls that are not read yet

export function pastPage(main, signal) {
  const field = el("input", { id: "search", type: "search", maxlength: 200, autocomplete: "off", spellcheck: false });
  const found = el("p", { class: "quiet", role: "status" });
  const body = el("tbody");
  const table = el("div", { class: "table-box", tabindex: 0, role: "region", "aria-label": "Past calls" },
    el("table", {},
      el("thead", {}, el("tr", {}, ["Began", "Caller", "Length", "First words", "Turns", "Barge-ins", "Reply", "End"].map((name) => el("th", { scope: "col" }, name)))),
      body));
  main.append(
    el("h1", { tabindex: -1 }, "Past calls"),
    el("form", { class: "search", role: "search", onsubmit: (event) => event.preventDefault() },
      el("label", { for: "search" }, "Search in what was said, numbers, ids, outcomes and dates"), field),
    found, table,
  );
  let timer;
  let number = 0;
  const look = async () => {
    const mine = ++number;
    const wanted = field.value.trim();
    try {
      const { calls, left_out: leftOut, unread } = await getJson(`/console/calls?search=${encodeURIComponent(wanted)}`, { signal });
      if (mine !== number) return;
      const tail = unread ? `; looking through ${unread} more …` : leftOut ? `; ${leftOut} older ones are not looked at` : "";
      setText(found, calls.length || tail ? `${plural(calls.length, "call")}${tail}` : nothing(wanted));
      if (unread) timer = setTimeout(look, WAIT_MS);
      table.hidden = calls.length === 0;
      body.replaceChildren(...calls.map(row));
    } catch (error) {
      if (!signal.aborted) setText(found, error.message);
    }
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, WAIT_MS);
  });
  signal.addEventListener("abort", () => clearTimeout(timer));
  look();
}

const nothing = (wanted) => wanted ? `No call that is kept matches “${wanted}”.` : "No call is kept yet.";

function endOf(call) {
  if (call.outcome) return el("span", { title: call.end_reason ?? "" }, words(call.outcome));
  return "not known";
}

function row(call) {
  const began = new Date(call.started_at);
  const when = Number.isNaN(began.getTime()) ? call.call_id : began.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  const cell = (name, ...content) => el("td", { "data-name": name }, ...content);
  return el("tr", {},
    el("th", { scope: "row" }, el("a", { href: `#/call/${call.call_id}` }, when), call.has_recording ? el("span", { class: "pill quiet-pill" }, "recorded") : null),
    cell("Caller", call.caller ?? "–"),
    cell("Length", clock(call.duration_s)),
    cell("First words", call.first_words || "–"),
    cell("Turns", call.turns),
    cell("Barge-ins", call.barge_ins),
    cell("Reply", call.reply_ms.length ? moment(median(call.reply_ms) / 1000) : "–"),
    cell("End", call.in_progress ? "in progress" : endOf(call), call.faults ? el("span", { class: "pill fault" }, plural(call.faults, "fault")) : null));
}
