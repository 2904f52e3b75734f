"use strict";

// Keeps the number of calls and the state true while the page is open. Without it the page shows what was so when it was loaded.
const EVERY_MS = 2000;
const calls = document.getElementById("calls");
const word = document.getElementById("calls-word");
const state = document.getElementById("state");

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;  // a screen reader announces every change, so only real ones
}

function show(text, ready) {
  set(state, text);
  state.className = ready ? "state ready" : "state waiting";
}

async function look() {
  try {
    const answer = await fetch("/readyz", { cache: "no-store", signal: AbortSignal.timeout(EVERY_MS) });
    const facts = await answer.json();
    set(calls, String(facts.calls));
    set(word, facts.calls === 1 ? "call in progress" : "calls in progress");
    show(facts.ready ? "ready for calls" : `takes no new calls (${facts.reason})`, facts.ready);
  } catch {
    show("the server does not answer", false);
  }
  setTimeout(look, document.hidden ? 5 * EVERY_MS : EVERY_MS);
}

const NOT_OURS = "is not this server's token: it has a new one each time it starts, unless one is configured.";
const problem = document.getElementById("sign-in-problem");

// With the right one the console would be here.
if (new URLSearchParams(location.search).has("token")) {
  set(problem, `What the address has ${NOT_OURS}`);
  history.replaceState(null, "", "/");
}

// Whoever has the server's token goes on to the console: the token is exchanged for a cookie that scripts cannot read.
document.getElementById("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = document.getElementById("token").value.trim();
  try {
    const answer = await fetch("/console/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
    if (answer.ok) location.replace("/");
    else set(problem, `This ${NOT_OURS}`);
  } catch {
    set(problem, "The server does not answer, or the token has characters that no token has.");
  }
});

look();
