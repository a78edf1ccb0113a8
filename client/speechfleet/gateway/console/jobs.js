// All jobs, live.

import { api, poll } from "./api.js";
import { el, reconcile, set, write } from "./dom.js";
import { STATE_NAMES, ago, cost, count, span, stateOf, stateWord } from "./format.js";

const PAGE = 25;
const EVERY = 1000;
const COLUMNS = ["State", "Job", "Model", "Lane", "Worker", "Audio", "Cost", "Changed"];

export function jobsPage(place, _, notice) {
  const page = new JobsPage(notice);
  place.append(page.element);
  return { title: "Jobs", close: () => page.stop() };
}

class JobsPage {
  #chosen = new Set();
  #offset = 0;

  constructor(notice) {
    this.notice = notice;
    this.chips = new Map(STATE_NAMES.map((state) => [state, this.#chip(state)]));
    this.rows = el("tbody");
    this.empty = el("p", { class: "empty", hidden: true }, "No job here yet.");
    this.newer = el("button", { type: "button", onclick: () => this.#turn(-PAGE) }, "Newer");
    this.older = el("button", { type: "button", onclick: () => this.#turn(PAGE) }, "Older");
    this.where = el("span", { role: "status" });
    this.element = el(
      "section", {},
      el("h1", {}, "Jobs"),
      el("div", { class: "chips", role: "group", "aria-label": "Show" }, ...this.chips.values()),
      el(
        "div", { class: "scroll" },
        el(
          "table", {},
          el("caption", { class: "hidden" }, "Jobs, those that changed last first"),
          el("thead", {}, el("tr", {}, ...COLUMNS.map((name) => el("th", { scope: "col" }, name)))),
          this.rows,
        ),
      ),
      this.empty,
      el("div", { class: "pager" }, this.newer, this.where, this.older),
    );
    this.#start();
  }

  #chip(state) {
    return el(
      "button",
      { type: "button", "aria-pressed": "false", onclick: () => this.#choose(state) },
      el("span", {}, stateWord(state)), el("b", {}, "0"),
    );
  }

  #choose(state) {
    if (!this.#chosen.delete(state)) this.#chosen.add(state);
    set(this.chips.get(state), "aria-pressed", String(this.#chosen.has(state)));
    this.#offset = 0;
    this.#start();
  }

  #turn(by) {
    this.#offset = Math.max(0, this.#offset + by);
    this.#start();
  }

  #start() {
    this.stop?.();
    this.stop = poll(EVERY, (signal) => this.#ask(signal), this.notice);
  }

  async #ask(signal) {
    const query = [["offset", this.#offset], ["count", PAGE]];
    for (const state of this.#chosen) query.push(["state", state]);
    const { jobs, counts } = await api.jobs(query, signal);
    for (const [state, chip] of this.chips) write(chip.lastElementChild, count(counts[state]));
    reconcile(this.rows, jobs, (job) => job.id, makeRow, updateRow);
    this.empty.hidden = jobs.length > 0;
    this.newer.disabled = this.#offset === 0;
    this.older.disabled = jobs.length < PAGE;
    const last = this.#offset + jobs.length;
    write(this.where, jobs.length ? `${this.#offset + 1} to ${last}` : "");
  }
}

function makeRow(job) {
  const link = el("a", { href: `#/jobs/${encodeURIComponent(job.id)}` }, job.id);
  return el(
    "tr", {},
    el("td", {}, el("span", { class: "state" })),
    el("th", { scope: "row" }, link, el("small", { class: "why" })),
    ...COLUMNS.slice(2).map(() => el("td")),
  );
}

function updateRow(row, job) {
  const state = row.querySelector(".state");
  write(state, stateOf(job));
  set(state, "data-state", job.state);
  const failing = job.code && job.state !== "SUCCEEDED";
  write(row.querySelector(".why"), failing ? `${job.code}: ${job.message}` : "");
  const told = [
    job.voice ? `${job.model} · ${job.voice}` : job.model,
    job.lane,
    job.worker || "–",
    job.seconds ? span(job.seconds) : "–",
    cost(job.usage),
    ago(job.updated),
  ];
  told.forEach((text, column) => write(row.cells[column + 2], text));
}
