// A call on one time axis: how loud both sides were, the caller's turns, the replies, and what the guards decided.

import { clock, plural, QUIETEST_DBFS, svg } from "./dom.js";

const LANES = [
  ["caller", 46],
  ["agent", 46],
  ["turns", 18],
  ["replies", 18],
  ["decisions", 22],
];
const AXIS = 20;
const LEFT = 66;
const RIGHT = 10;
const GAP = 5;
const FEWEST_PIXELS_A_SECOND = 10;
const MOST_PIXELS = 12000;

const TICKS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800];

const loudness = (dbfs) => (dbfs === null ? 0 : Math.max(0, Math.min(1, 1 - dbfs / QUIETEST_DBFS)));

/** Draw it, `width` pixels wide or as wide as a long call needs. `levels`: [[caller, agent], ...], one every `everyS`. */
export function drawTimeline(story, levels, everyS, width) {
  const endS = Math.max(story.t, levels.length * everyS, 1);
  const pixels = Math.max(width, Math.min(MOST_PIXELS, LEFT + RIGHT + endS * FEWEST_PIXELS_A_SECOND));
  const x = (t) => LEFT + ((pixels - LEFT - RIGHT) * Math.min(t, endS)) / endS;
  const height = LANES.reduce((sum, [, each]) => sum + each + GAP, AXIS);
  const picture = svg("svg", { class: "timeline", width: pixels, height, viewBox: `0 0 ${pixels} ${height}`, role: "img" });
  picture.setAttribute("aria-label", summary(story, endS));
  const tops = {};
  let top = 0;
  for (const [name, tall] of LANES) {
    tops[name] = top;
    const label = svg("text", { x: LEFT - 8, y: top + tall / 2 + 4, class: "lane-name" });
    label.textContent = name;
    picture.append(label, svg("rect", { x: LEFT, y: top, width: pixels - LEFT - RIGHT, height: tall, class: "lane", rx: 3 }));
    top += tall + GAP;
  }
  picture.append(axis(x, endS, top, pixels));
  picture.append(envelope(levels, 0, everyS, x, tops.caller, 46, "caller"), envelope(levels, 1, everyS, x, tops.agent, 46, "agent"));
  for (const turn of story.turns) picture.append(bar(x, turn.start, turn.stop ?? endS, tops.turns, "turn", `the caller speaks, ${clock(turn.start)}`));
  for (const reply of story.replies) picture.append(...replyBars(reply, x, endS, tops.replies));
  for (const decision of story.decisions) picture.append(tick(x(decision.t), tops.decisions, 22, decision.kind, `${decision.what}${decision.why && `: ${decision.why}`}`));
  for (const t of story.bargeIns) picture.append(svg("line", { x1: x(t), x2: x(t), y1: 0, y2: top - GAP, class: "barge-in" }));
  const head = svg("line", { x1: 0, x2: 0, y1: 0, y2: top - GAP, class: "play-head" });
  picture.append(head);
  return {
    picture,
    height,
    /** Show where the recording is. */
    seek(t) { head.setAttribute("transform", `translate(${x(t).toFixed(1)} 0)`); },
    /** The moment at a place of the picture. */
    at(pixel) { return Math.max(0, Math.min(endS, ((pixel - LEFT) / (pixels - LEFT - RIGHT)) * endS)); },
    x,
  };
}

function summary(story, endS) {
  return `Timeline of ${clock(endS)}: ${plural(story.turns.length, "turn")} of the caller, ${plural(story.replies.length, "reply", "replies")}, `
    + `${plural(story.bargeIns.length, "barge-in")}. The lists below say the same in words.`;
}

function axis(x, endS, top, pixels) {
  const group = svg("g", { class: "axis" });
  const step = TICKS_S.find((each) => x(each) - x(0) >= 56) ?? 3600;
  for (let t = 0; t <= endS; t += step) {
    const label = svg("text", { x: Math.min(x(t), pixels - RIGHT - 12), y: top + 13 });
    label.textContent = clock(t);
    group.append(svg("line", { x1: x(t), x2: x(t), y1: 0, y2: top - GAP }), label);
  }
  return group;
}

function envelope(levels, side, everyS, x, top, tall, kind) {
  const middle = top + tall / 2;
  const above = [];
  const below = [];
  levels.forEach((pair, number) => {
    const half = Math.max(0.5, (loudness(pair[side]) * (tall - 4)) / 2);
    const left = x(number * everyS).toFixed(1);
    const right = x((number + 1) * everyS).toFixed(1);
    above.push(`${left} ${(middle - half).toFixed(1)}`, `${right} ${(middle - half).toFixed(1)}`);
    below.unshift(`${right} ${(middle + half).toFixed(1)}`, `${left} ${(middle + half).toFixed(1)}`);
  });
  return svg("polygon", { points: [...above, ...below].join(" "), class: `envelope ${kind}` });
}

function bar(x, from, to, top, kind, title) {
  const rect = svg("rect", { x: x(from), y: top + 2, width: Math.max(2, x(to) - x(from)), height: 14, rx: 3, class: kind });
  return titled(rect, title);
}

function replyBars(reply, x, endS, top) {
  const bars = [];
  const from = reply.requested ?? reply.created;
  const until = reply.done ?? endS;
  if (reply.requested !== null && reply.created !== null) bars.push(bar(x, reply.requested, reply.created, top, "reply waiting", `asked for (${reply.purpose})`));
  const status = reply.status ?? (reply.created === null ? "waiting" : "active");
  bars.push(bar(x, reply.created ?? from, until, top, `reply ${status}`, `${reply.purpose}: ${status}`));
  return bars;
}

function tick(at, top, tall, kind, title) {
  return titled(svg("line", { x1: at, x2: at, y1: top + 3, y2: top + tall - 3, class: `tick ${kind}` }), title);
}

function titled(element, text) {
  const title = svg("title");
  title.textContent = text;
  element.append(title);
  return element;
}
