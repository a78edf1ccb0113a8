// The page of a job: its text while it is spoken, its player, its history.

import { api, follow, jobPath } from "./api.js";
import { Deck } from "./deck.js";
import { el, reconcile, set, write } from "./dom.js";
import { at, cost, count, ended, size, span, stateOf } from "./format.js";
import { Passage } from "./passage.js";
import { Player } from "./player.js";
import { Takes } from "./takes.js";

const LOOK_AGAIN = 1500; // ms, where no event stream tells

export class JobView {
  #id;
  #job = null;
  #stop = () => {};
  #timer;
  #closed = false;
  #timed = false; // the words of the ended job were asked for

  constructor(id, { level = "h1" } = {}) {
    this.#id = id;
    this.#listen();
    this.heading = el(level, { class: "id" }, id);
    this.state = el("span", { class: "state", role: "status" });
    this.facts = el("dl", { class: "facts" });
    this.story = el("ol", { class: "story" });
    this.failure = el("p", { class: "failure", role: "alert", hidden: true });
    this.actions = this.#actions();
    this.takes = new Takes(this.#id, (begin) => this.#try(() => this.#renew(begin)));
    this.deckPlace = el("div", {}, this.deck.element);
    this.#known(false);
    this.element = el(
      "article", { class: "job" },
      el("div", { class: "title" }, this.heading, this.state),
      this.failure, this.deckPlace, this.passage.element, this.actions, this.facts,
      this.takes.element,
      el("details", {}, el("summary", {}, "What happened"), this.story),
    );
    this.#look();
  }

  /** Make a new player for each epoch of the job. */
  #listen() {
    this.player = new Player(this.#id);
    this.passage ??= new Passage((position) => this.#jump(position));
    this.deck = new Deck(this.player, (position) => this.passage.light(position));
  }

  async #jump(position) {
    const { player } = this;
    if (player.recording) return player.seek(position);
    const reach = () => {
      if (player.received <= position && !player.complete) return;
      player.removeEventListener("grow", reach);
      player.seek(position);
    };
    player.addEventListener("grow", reach);
    return player.play();
  }

  #actions() {
    const button = (text, act) => el("button", { type: "button", onclick: () => this.#try(act) }, text);
    this.cancelButton = button("Cancel", () => api.cancel(this.#id));
    this.retryButton = button("Retry", () => this.#renew(() => api.retry(this.#id)));
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

  /** Begin a new epoch of the job, and listen to that. */
  async #renew(begin) {
    await begin();
    this.#timed = false;
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

  /** Load the record, then follow the changes. */
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
    this.#stop = follow(this.#id, (kind, entry) => this.#received(kind, entry), () => this.#again());
    // The stream does not tell of waiting, back-off or a lost worker.
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

  #received(kind, entry) {
    if (kind === "segment") this.passage.add(entry);
    else if (kind === "words") this.passage.tell(entry);
    else if (kind === "rewind") this.passage.rewind(entry.offset);
    else if (kind !== "audio") this.#look();
  }

  /** Hide the actions of a job that does not exist. */
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
    if (ended(job) && job.segments.length && !this.#timed) this.#time(job);
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
    this.takes.show(job);
    this.#tell(job);
  }

  /** Load the times of the words: the event stream of an ended job has them no more. */
  async #time(job) {
    this.#timed = true;
    try {
      const words = await api.words(this.#id);
      if (!this.#closed) this.passage.tellAll(words, job.sample_rate);
    } catch (error) {
      if (!error.status) throw error; // without them whole segments are highlighted
    }
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
      this.story, job.transitions, (transition) => `${transition.at} ${transition.event}`,
      ({ at, event, detail }) => el(
        "li", {}, el("time", {}, `+${span(at - began)}`), el("b", {}, event), ` ${detail}`,
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

/** Return the worker that runs the job, or ran it last; a token is "WORKER:number". */
function workerOf(job) {
  const claim = job.transitions.findLast((transition) => transition.event === "claim");
  return job.worker || claim?.detail.replace(/:\d+$/, "") || "–";
}

function audioOf(job) {
  if (job.duration) return `${span(job.duration)}, ${job.format}, ${size(job.bytes)}`;
  return job.seconds ? `${span(job.seconds)} so far` : "–";
}

export function jobPage(place, { id }) {
  const view = new JobView(id);
  place.append(el("p", { class: "back" }, el("a", { href: "#/jobs" }, "All jobs")), view.element);
  return { title: id, close: () => view.close() };
}
