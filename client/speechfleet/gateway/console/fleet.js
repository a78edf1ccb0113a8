// The page of the fleet: workers with their heartbeats, queues, providers with their limits.

import { api, poll } from "./api.js";
import { el, reconcile, set, write } from "./dom.js";
import { count, size, span } from "./format.js";
import { fill, makeTable } from "./table.js";

const EVERY = 1000; // ms
const PROVIDERS_EVERY = 5000; // ms
const TOTALS = [
  ["Workers", (fleet) => count(fleet.workers.length)],
  ["Speaking", (fleet) => count(fleet.running)],
  ["Unfinished", (fleet) => count(fleet.unfinished)],
  ["Trying again", (fleet) => count(fleet.delayed)],
  ["Sessions", (fleet) => count(fleet.sessions)],
  ["Audio in Redis", (fleet) => size(fleet.stream_bytes)],
  ["Longest wait", (fleet) => wait(Math.max(-1, ...fleet.queues.map((queue) => queue.oldest ?? -1)))],
];

export function fleetPage(place, { notice }) {
  const totals = el("dl", { class: "totals" });
  const workers = makeTable("Workers", ["Worker", "Heart", "Host", "Jobs", "Lanes", "Providers", "Version"], {
    empty: "No worker is alive: `speechfleet worker` starts one.",
    keyOf: (worker) => worker.boot,
    update: updateWorker,
  });
  const queues = makeTable("Queues", ["Provider", "Lane", "#Waiting", "#Oldest", "#Messages"], {
    empty: "No queue yet.",
    keyOf: (queue) => queue.queue,
    update: updateQueue,
  });
  const providers = makeTable(
    "Providers", ["Provider", "Workers", "#Models", "Rate limit", "#Refused", "Paused", "Waiting for it"],
    { empty: "No provider yet.", keyOf: (row) => `${row.provider.name} ${row.limit?.model}`, update: updateProvider },
  );
  place.append(
    el(
      "section", { class: "fleet" },
      el("h1", {}, "Fleet"), totals,
      el("h2", {}, "Workers"), workers.element,
      el("h2", {}, "Queues"), queues.element,
      el("h2", {}, "Providers"), providers.element,
    ),
  );
  const stop = poll(EVERY, async (signal) => {
    const fleet = await api.fleet(signal);
    reconcile(totals, TOTALS, ([name]) => name, makeTotal, (box, [, value]) =>
      write(box.lastElementChild, value(fleet)));
    workers.show(fleet.workers);
    queues.show(fleet.queues);
  }, notice);
  const stopProviders = poll(PROVIDERS_EVERY, async (signal) => {
    const known = (await api.providers(signal)).providers;
    const [ready, missing] = [known.filter(({ workers }) => workers), known.filter(({ workers }) => !workers)];
    providers.show([...ready, ...missing].flatMap(rowsOf));
  }, notice);
  const close = () => {
    stop();
    stopProviders();
  };
  return { title: "Fleet", close };
}

const wait = (seconds) => (seconds < 0 ? "none" : span(seconds));
const makeTotal = ([name]) => el("div", {}, el("dt", {}, name), el("dd"));

function updateWorker(row, worker) {
  const cell = row.cells[1];
  if (!cell.firstChild) cell.append(el("span", { class: "heart", role: "img", "aria-label": "alive" }));
  heartbeat(cell.firstChild, worker.heartbeats);
  write(row.cells[0], worker.boot);
  const ready = Object.entries(worker.providers).filter(([, reason]) => !reason);
  fill(row, [
    worker.host ? `${worker.host} · ${worker.pid}` : "",
    `${worker.running} of ${worker.slots}`,
    worker.draining ? "draining" : lanesOf(worker),
    ready.map(([name]) => name).join(", ") || "none",
    worker.version,
  ], 2);
  row.cells[5].classList.add("wrap");
}

/** Return the lanes in names of queues: speechfleet.1.LANE.PROVIDER */
const lanesOf = (worker) => [...new Set(worker.queues.map((name) => name.split(".")[2]))].join(", ");

/** Animate the heart once for each heartbeat of the worker. */
function heartbeat(heart, beats) {
  if (heart.dataset.beats === String(beats)) return;
  heart.dataset.beats = String(beats);
  heart.getAnimations().forEach((animation) => animation.cancel());
  heart.animate([{ transform: "scale(1.35)", opacity: 1 }, { transform: "scale(1)", opacity: 0.7 }], {
    duration: window.matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 700,
    easing: "ease-out",
  });
}

function updateQueue(row, queue) {
  const oldest = queue.oldest === null ? "" : span(queue.oldest);
  fill(row, [queue.provider, queue.lane, count(queue.waiting), oldest, count(queue.depth)], 0);
}

/** Return a row for each rate limit of a provider, or one for a provider without any. */
const rowsOf = (provider) =>
  provider.limits.length ? provider.limits.map((limit) => ({ provider, limit })) : [{ provider, limit: null }];

function updateProvider(row, { provider, limit }) {
  const { name, workers, missing, models } = provider;
  const listed = models.filter((model) => !model.endsWith("/..."));
  const waiting = Object.entries(limit?.waiting ?? {}).filter(([, jobs]) => jobs);
  fill(row, [
    limit?.model ?? name,
    missing ? `none: ${missing}` : count(workers),
    listed.length ? count(listed.length) : "any",
    limit?.rate ? `${count(limit.rate)} a minute, ${limit.found ? "found" : "set"}` : "",
    limit?.refused ? count(limit.refused) : "",
    limit?.paused ? `for ${span(limit.paused)}` : "",
    waiting.map(([lane, jobs]) => `${count(jobs)} ${lane}`).join(", "),
  ], 0);
  row.cells[1].classList.add("wrap");
  set(row, "data-missing", Boolean(missing));
}
