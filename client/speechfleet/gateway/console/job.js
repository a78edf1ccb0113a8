// One job: its text as it is spoken, its player, its story.

import { api, follow, jobPath } from "./api.js";
import { Deck } from "./deck.js";
import { el, reconcile, set, write } from "./dom.js";
import { at, cost, count, ended, size, span, stateOf } from "./format.js";
import { Passage } from "./passage.js";
import { Player } from "./player.js";

const LOOK_AGAIN = 1500; // ms, where no event stream tells

export class JobView {
  #id;
  #job = null;
  #stop = () => {};
  #timer;
  #closed = false;

  constructor(id, { level = "h1" } = {}) {
    this.#id = id;
    this.#listen();
    this.heading = el(level, { class: "id" }, id);
    this.state = el("span", { class: "state", role: "status" });
    this.facts = el("dl", { class: "facts" });
    this.story = el("ol", { class: "story" });
    this.failure = el("p", { class: "failure", role: "alert", hidden: true });
    this.actions = this.#actions();
    this.deckPlace = el("div", {}, this.deck.element);
    this.#known(false);
    this.element = el(
      "article", { class: "job" },
      el("div", { class: "title" }, this.heading, this.state),
      this.failure, this.deckPlace, this.passage.element, this.actions, this.facts,
      el("details", {}, el("summary", {}, "What happened"), this.story),
    );
    this.#look();
  }

  /** A player of its own for each life of the job. */
  #listen() {
    this.player = new Player(this.#id);
    this.passage ??= new Passage((position) => this.#jump(position));
    this.deck = new Deck(this.player, (position) => this.passage.light(position));
  }

  async #jump(position) {
    if (this.player.recording) this.player.seek(position);
    else this.player.play();
  }

  #actions() {
    const button = (text, act) => el("button", { type: "button", onclick: () => this.#try(act) }, text);
    this.cancelButton = button("Cancel", () => api.cancel(this.#id));
    this.retryButton = button("Retry", () => this.#retry());
    this.removeButton = button("Delete…", () => this.#remove());
    this.download = el(
      "a", { class: "button", href: `${jobPath(this.#id)}/audio?download=true`, download: true },
      "Download",
    );
    return el(
      "div", { class: "actions" },
      this.download, this.cancelButton, this.retryButton, this.removeButton,
    );
  }

  async #try(act) {
    try {
      await act();
      if (!this.#closed) await this.#look();
    } catch (error) {
      this.#fail(error);
    }
  }

  async #retry() {
    await api.retry(this.#id);
    this.deck.close();
    this.#listen();
    this.deckPlace.replaceChildren(this.deck.element);
    this.passage.know([]);
  }

  async #remove() {
    if (!window.confirm(`Delete ${this.#id}, its text and its audio?`)) return;
    await api.remove(this.#id);
    location.hash = "#/jobs";
  }

  /** The record, and then whatever is new, as it comes. */
  async #look() {
    this.#stop();
    clearTimeout(this.#timer);
    try {
      this.#show(await api.job(this.#id));
    } catch (error) {
      this.#fail(error);
      if (error.status === 404) this.#known(false);
      if (error.retryable) this.#again();
      return;
    }
    if (this.#closed || ended(this.#job)) return;
    this.#stop = follow(this.#id, (kind, entry) => this.#heard(kind, entry), () => this.#again());
    // What no entry tells: its place in line, a back-off, a worker lost.
    this.#timer = setTimeout(() => this.#refresh(), LOOK_AGAIN);
  }

  async #refresh() {
    try {
      const job = await api.job(this.#id);
      if (this.#closed) return;
      this.#show(job);
      if (ended(job)) return this.#stop();
    } catch (error) {
      this.#fail(error);
    }
    this.#again(() => this.#refresh());
  }

  #again(what = () => this.#look()) {
    clearTimeout(this.#timer);
    if (!this.#closed) this.#timer = setTimeout(what, LOOK_AGAIN);
  }

  #heard(kind, entry) {
    if (kind === "segment") this.passage.add(entry);
    else if (kind === "rewind") this.passage.rewind(entry.offset);
    else if (kind !== "audio") this.#look();
  }

  /** Nothing can be done with a job that is not there. */
  #known(known) {
    this.deckPlace.hidden = this.actions.hidden = !known;
  }

  #fail(error) {
    if (this.#closed) return;
    write(this.failure, error.message);
    this.failure.hidden = false;
  }

  #show(job) {
    if (this.#closed) return;
    if (this.#job === null) this.passage.write(job.text);
    if (this.#job === null || ended(job)) this.passage.know(job.segments);
    this.#job = job;
    this.#known(true);
    write(this.state, stateOf(job));
    set(this.state, "data-state", job.state);
    this.failure.hidden = !(job.code && job.state !== "SUCCEEDED");
    write(this.failure, job.code ? `${job.message} (${job.code})` : "");
    this.cancelButton.hidden = ended(job);
    this.retryButton.hidden = !["FAILED", "CANCELLED"].includes(job.state);
    this.removeButton.hidden = !ended(job);
    this.download.hidden = ["FAILED", "CANCELLED"].includes(job.state);
    this.#tell(job);
  }

  #tell(job) {
    const facts = [
      ["Model", job.model], ["Voice", job.voice || "its default"], ["Lane", job.lane],
      ["Worker", workerOf(job)], ["Cost", cost(job.usage)],
      ["Failed attempts", count(job.attempts) + (job.losses ? `, workers lost: ${job.losses}` : "")],
      ["Audio", audioOf(job)], ["Submitted", at(job.created)],
    ];
    reconcile(
      this.facts, facts, ([name]) => name,
      ([name]) => el("div", {}, el("dt", {}, name), el("dd")),
      (row, [, value]) => write(row.lastElementChild, value),
    );
    const began = job.transitions[0]?.at ?? job.created;
    reconcile(
      this.story, job.transitions, (one) => `${one.at} ${one.event}`,
      (one) => el(
        "li", {},
        el("time", {}, `+${span(one.at - began)}`), el("b", {}, one.event), ` ${one.detail}`,
      ),
      () => {},
    );
  }

  close() {
    this.#closed = true;
    this.#stop();
    clearTimeout(this.#timer);
    this.deck.close();
  }
}

/** The one that has it, else the one that had it last: its token is "WORKER:number". */
function workerOf(job) {
  const claim = job.transitions.findLast((one) => one.event === "claim");
  return job.worker || claim?.detail.replace(/:\d+$/, "") || "–";
}

function audioOf(job) {
  if (job.duration) return `${span(job.duration)}, ${job.format}, ${size(job.bytes)}`;
  return job.seconds ? `${span(job.seconds)} so far` : "–";
}

export function jobPage(place, id) {
  const view = new JobView(id);
  place.append(el("p", { class: "back" }, el("a", { href: "#/jobs" }, "All jobs")), view.element);
  return { title: id, close: () => view.close() };
}
