// The page of all jobs, filtered, which updates itself.

import { api, poll } from "./api.js";
import { el, set, write } from "./dom.js";
import { STATE_NAMES, ago, cost, count, span, stateOf, stateWord } from "./format.js";
import { linkIn, fill, makeTable } from "./table.js";

const PAGE = 25;
const EVERY = 1000; // ms
const COLUMNS = ["Job", "State", "Model", "Lane", "Worker", "#Audio", "Cost", "Changed"];
const LANES = [["", "any lane"], ["live", "live"], ["batch", "batch"], ["session", "session"]];
const TIMES = [["", "any time"], ["900", "last 15 minutes"], ["3600", "last hour"], ["86400", "last day"], ["604800", "last 7 days"]];
const TYPED = ["model", "voice", "batch"];

/** `query`: the filter and the page, as in the address: state=..., model=..., since=SECONDS, after=... */
export function jobsPage(place, { query, notice }) {
  const page = new JobsPage(query, notice);
  place.append(page.element);
  return { title: "Jobs", close: () => page.stop() };
}

class JobsPage {
  #chosen = new Set();
  #before = []; // the cursors of the pages before this one
  #after = "";
  #next = "";

  constructor(query, notice) {
    this.notice = notice;
    const states = query.getAll("state").map((state) => state.toUpperCase());
    this.#chosen = new Set(states.filter((state) => STATE_NAMES.includes(state)));
    this.#after = query.get("after") ?? "";
    this.chips = new Map(STATE_NAMES.map((state) => [state, this.#chip(state)]));
    this.table = makeTable("Jobs, those that changed last first", COLUMNS, {
      empty: "No job matches.", keyOf: (job) => job.id, update: updateRow,
    });
    this.newer = el("button", { type: "button", onclick: () => this.#turn(this.#before.pop() ?? "") }, "Newer");
    this.older = el("button", { type: "button", onclick: () => this.#older() }, "Older");
    this.where = el("span", { role: "status" });
    this.fields = this.#fields(query);
    this.element = el(
      "section", { class: "stack" },
      el("h1", {}, "Jobs"),
      el("div", { class: "chips", role: "group", "aria-label": "Show" }, ...this.chips.values()),
      el("form", { class: "filter", onsubmit: (event) => event.preventDefault() }, ...this.fields.values()),
      this.table.element,
      el("div", { class: "pager" }, this.newer, this.where, this.older),
    );
    this.#start();
  }

  #chip(state) {
    return el(
      "button",
      { type: "button", "aria-pressed": String(this.#chosen.has(state)), onclick: () => this.#choose(state) },
      el("span", {}, stateWord(state)), el("b", {}, "0"),
    );
  }

  #fields(query) {
    const onchange = () => this.#turn("");
    const typed = TYPED.map((name) => {
      const field = el("input", { type: "search", "aria-label": `Of this ${name}`, placeholder: name, onchange, autocomplete: "off", spellcheck: "false" });
      field.value = query.get(name) ?? "";
      return [name, field];
    });
    const chosen = [["lane", LANES, "Lane"], ["since", TIMES, "Changed within"]].map(([name, values, label]) => {
      const options = values.map(([value, text]) => el("option", { value }, text));
      const field = el("select", { "aria-label": label, onchange }, ...options);
      field.value = query.get(name) ?? "";
      if (field.selectedIndex < 0) field.value = "";
      return [name, field];
    });
    return new Map([...typed, ...chosen]);
  }

  #choose(state) {
    if (!this.#chosen.delete(state)) this.#chosen.add(state);
    set(this.chips.get(state), "aria-pressed", String(this.#chosen.has(state)));
    this.#turn("");
  }

  #older() {
    this.#before.push(this.#after);
    this.#turn(this.#next);
  }

  #turn(after) {
    if (!after) this.#before = [];
    this.#after = after;
    this.#remember();
    this.#start();
  }

  /** Return the filter, and the page, as in the address. */
  #query() {
    const query = [...this.#chosen].map((state) => ["state", state.toLowerCase()]);
    for (const [name, field] of this.fields) if (field.value.trim()) query.push([name, field.value.trim()]);
    if (this.#after) query.push(["after", this.#after]);
    return query;
  }

  /** Write the filter and the page into the address, for Back, reloads and bookmarks. */
  #remember() {
    const query = new URLSearchParams(this.#query());
    history.replaceState(null, "", query.size ? `#/jobs?${query}` : "#/jobs");
  }

  #start() {
    this.stop?.();
    this.stop = poll(EVERY, (signal) => this.#ask(signal), this.notice);
  }

  async #ask(signal) {
    const moment = ([name, value]) => [name, name === "since" ? Date.now() / 1000 - Number(value) : value];
    const { jobs, counts, next } = await api.jobs([...this.#query().map(moment), ["count", PAGE]], signal);
    this.#next = next;
    for (const [state, chip] of this.chips) write(chip.lastElementChild, count(counts[state]));
    this.table.show(jobs);
    this.newer.disabled = !this.#after;
    this.older.disabled = !next;
    write(this.where, next && jobs.length < PAGE ? "more may match further back" : "");
  }
}

function updateRow(row, job) {
  const [name, cell] = row.cells;
  linkIn(name, `#/jobs/${encodeURIComponent(job.id)}`, job.id);
  if (!cell.firstChild) {
    name.append(el("small", { class: "why" }));
    cell.append(el("span", { class: "state" }));
  }
  write(cell.firstChild, stateOf(job));
  set(cell.firstChild, "data-state", job.state);
  const failing = job.code && job.state !== "SUCCEEDED";
  write(name.lastElementChild, failing ? `${job.code}: ${job.message}` : "");
  fill(row, [
    job.voice ? `${job.model} · ${job.voice}` : job.model,
    job.lane,
    job.worker,
    job.seconds ? span(job.seconds) : "",
    cost(job.usage),
    ago(job.updated),
  ], 2);
}
