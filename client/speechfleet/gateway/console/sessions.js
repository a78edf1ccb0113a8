// The page of realtime sessions: who holds each, and for how long.

import { api, poll } from "./api.js";
import { el, set, write } from "./dom.js";
import { ago, span, stateOf } from "./format.js";
import { fill, linkIn, makeTable } from "./table.js";

const EVERY = 1000; // ms
const MOST = 100;

export function sessionsPage(place, { notice }) {
  const table = makeTable("Sessions", ["Session", "State", "Worker", "Model", "#Speech", "Opened"], {
    empty: "No session is open. An agent opens one with `client.session()`.",
    keyOf: (job) => job.id,
    update: updateSession,
  });
  const more = el("p", { class: "hint", hidden: true }, `More than ${MOST} are open: these are the latest.`);
  place.append(el("section", { class: "stack" }, el("h1", {}, "Sessions"), table.element, more));
  const query = [["lane", "session"], ["state", "running"], ["state", "queued"], ["count", MOST]];
  const stop = poll(EVERY, async (signal) => {
    const { jobs, next } = await api.jobs(query, signal);
    table.show(jobs);
    more.hidden = !next || jobs.length < MOST;
  }, notice);
  return { title: "Sessions", close: stop };
}

function updateSession(row, job) {
  linkIn(row.cells[0], `#/jobs/${encodeURIComponent(job.id)}`, job.id);
  const cell = row.cells[1];
  if (!cell.firstChild) cell.append(el("span", { class: "state" }));
  write(cell.firstChild, stateOf(job));
  set(cell.firstChild, "data-state", job.state);
  const model = job.voice ? `${job.model} · ${job.voice}` : job.model;
  fill(row, [job.worker, model, job.seconds ? span(job.seconds) : "", ago(job.created)], 2);
}
