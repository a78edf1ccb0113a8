// Workers, heartbeats, lines.

import { api, poll } from "./api.js";
import { el, reconcile, set, write } from "./dom.js";
import { count, size, span } from "./format.js";

const EVERY = 1000;
const TOTALS = [
  ["Workers", (fleet) => count(fleet.workers.length)],
  ["Speaking", (fleet) => count(fleet.running)],
  ["Unfinished", (fleet) => count(fleet.unfinished)],
  ["Trying again", (fleet) => count(fleet.delayed)],
  ["Sessions", (fleet) => count(fleet.sessions)],
  ["Audio in Redis", (fleet) => size(fleet.stream_bytes)],
  ["Longest wait", (fleet) => wait(Math.max(-1, ...fleet.queues.map((one) => one.oldest ?? -1)))],
];

export function fleetPage(place, _, notice) {
  const totals = el("dl", { class: "totals" });
  const workers = table("Workers", ["Heart", "Worker", "Host", "Jobs", "Lanes", "Providers", "Version"]);
  const lines = table("Lines", ["Lane", "Provider", "Waiting", "Oldest", "Messages"]);
  place.append(
    el(
      "section", { class: "fleet" },
      el("h1", {}, "Fleet"), totals,
      el("h2", {}, "Workers"), workers.element,
      el("h2", {}, "Lines"), lines.element,
    ),
  );
  const stop = poll(EVERY, async (signal) => {
    const fleet = await api.fleet(signal);
    reconcile(totals, TOTALS, ([name]) => name, makeTotal, (box, [, value]) =>
      write(box.lastElementChild, value(fleet)));
    reconcile(workers.rows, fleet.workers, (one) => one.boot, makeWorker, updateWorker);
    reconcile(lines.rows, fleet.queues, (one) => one.queue, makeLine, updateLine);
    workers.empty.hidden = fleet.workers.length > 0;
    lines.empty.hidden = fleet.queues.length > 0;
  }, notice);
  return { title: "Fleet", close: stop };
}

const wait = (seconds) => (seconds < 0 ? "none" : span(seconds));
const makeTotal = ([name]) => el("div", {}, el("dt", {}, name), el("dd"));

function table(name, columns) {
  const rows = el("tbody");
  const empty = el("p", { class: "empty", hidden: true }, `No ${name.toLowerCase()}.`);
  const head = el("tr", {}, ...columns.map((column) => el("th", { scope: "col" }, column)));
  const caption = el("caption", { class: "hidden" }, name);
  const element = el(
    "div", { class: "scroll" }, el("table", {}, caption, el("thead", {}, head), rows), empty,
  );
  return { element, rows, empty };
}

function makeWorker(one) {
  return el(
    "tr", {},
    el("td", {}, el("span", { class: "heart", role: "img", "aria-label": "alive" })),
    el("th", { scope: "row" }, one.boot),
    el("td"), el("td"), el("td"), el("td"), el("td"),
  );
}

function updateWorker(row, one) {
  const [, , host, jobs, lanes, providers, version] = row.cells;
  beat(row.querySelector(".heart"), one.heartbeats);
  write(host, `${one.host} · ${one.pid}`);
  write(jobs, `${one.running} of ${one.slots}`);
  write(lanes, one.draining ? "draining" : lanesOf(one));
  const ready = Object.entries(one.providers).filter(([, reason]) => !reason);
  write(providers, ready.map(([name]) => name).join(", ") || "none");
  const missing = Object.entries(one.providers).filter(([, reason]) => reason);
  set(providers, "title", missing.map(([name, reason]) => `${name}: ${reason}`).join("\n"));
  write(version, one.version);
}

/** speechfleet.1.LANE.PROVIDER */
const lanesOf = (one) => [...new Set(one.queues.map((name) => name.split(".")[2]))].join(", ");

/** The heart beats as often as the worker's own was heard. */
function beat(heart, beats) {
  if (heart.dataset.beats === String(beats)) return;
  heart.dataset.beats = String(beats);
  heart.getAnimations().forEach((animation) => animation.cancel());
  heart.animate([{ transform: "scale(1.35)", opacity: 1 }, { transform: "scale(1)", opacity: 0.7 }], {
    duration: window.matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 700,
    easing: "ease-out",
  });
}

function makeLine(one) {
  return el(
    "tr", {}, el("td", {}, one.lane), el("th", { scope: "row" }, one.provider),
    el("td"), el("td"), el("td"),
  );
}

function updateLine(row, one) {
  write(row.cells[2], count(one.waiting));
  write(row.cells[3], one.oldest === null ? "–" : span(one.oldest));
  write(row.cells[4], count(one.depth));
}
