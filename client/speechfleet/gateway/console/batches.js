// The pages of all batches, and of one: how far it is, what failed, what it made.

import { api, poll } from "./api.js";
import { batchBar, batchPath, batchWord, partDone } from "./batch-progress.js";
import { el, reconcile, set, write } from "./dom.js";
import { ago, at, cost, count, percent } from "./format.js";
import { fill, linkIn, makeTable } from "./table.js";

const EVERY = 1500; // ms
const PAGE = 25;
const FAILURES = 20;

export function batchesPage(place, { query, notice }) {
  let offset = Math.max(0, Math.floor(Number(query.get("offset")) || 0));
  const table = makeTable("Batches, newest first", ["Batch", "State", "Progress", "Items", "Model", "Changed"], {
    empty: "No batch yet. `speechfleet batch CORPUS --out DIR` makes one.",
    keyOf: (batch) => batch.id,
    update: updateBatch,
  });
  const turn = (by) => {
    offset = Math.max(0, offset + by);
    history.replaceState(null, "", offset ? `#/batches?offset=${offset}` : "#/batches");
  };
  const newer = el("button", { type: "button", onclick: () => turn(-PAGE) }, "Newer");
  const older = el("button", { type: "button", onclick: () => turn(PAGE) }, "Older");
  const pager = el("div", { class: "pager" }, newer, older);
  place.append(el("section", { class: "stack" }, el("h1", {}, "Batches"), table.element, pager));
  const stop = poll(EVERY, async (signal) => {
    const { batches } = await api.batches({ offset, count: PAGE }, signal);
    table.show(batches);
    newer.disabled = offset === 0;
    older.disabled = batches.length < PAGE;
    pager.hidden = newer.disabled && older.disabled;
  }, notice);
  return { title: "Batches", close: stop };
}

function updateBatch(row, batch) {
  linkIn(row.cells[0], batchPath(batch.id), batch.id);
  const word = batch.state === "open" && !batch.outstanding ? "open, nothing under way" : batch.state;
  const model = batch.voice ? `${batch.model} · ${batch.voice}` : batch.model;
  fill(row, [word], 1);
  const cell = row.cells[2];
  if (!cell.firstChild) cell.append(batchBar());
  cell.firstChild.show(batch);
  fill(row, [batchWord(batch), model, ago(batch.updated)], 3);
}

export function batchPage(place, { id, notice }) {
  const page = new BatchPage(id, notice);
  place.append(el("p", { class: "back" }, el("a", { href: "#/batches" }, "All batches")), page.element);
  return { title: id, close: poll(EVERY, (signal) => page.ask(signal), notice) };
}

class BatchPage {
  constructor(id, notice) {
    this.id = id;
    this.notice = notice;
    this.state = el("span", { class: "state", role: "status" });
    this.failure = el("p", { class: "failure", role: "alert", hidden: true });
    this.bar = batchBar();
    this.progress = el("p", { class: "note" });
    this.facts = el("dl", { class: "facts" });
    this.did = el("p", { class: "hint", role: "status" });
    const button = (text, act) => el("button", { type: "button", onclick: () => this.#try(act) }, text);
    const path = `/batches/${encodeURIComponent(id)}`;
    this.retry = button("Retry failed", () => this.#retry());
    this.cancel = button("Cancel", () => this.#cancel());
    this.audio = el("a", { class: "button", href: `${path}/audio.zip`, download: true }, "Download audio");
    this.manifest = el("a", { class: "button", href: `${path}/manifest`, download: true }, "Download manifest");
    this.failures = makeTable("Failed items", ["Job", "Error", "#Attempts", "When"], {
      empty: "Nothing failed.",
      keyOf: (job) => job.id,
      update: updateFailure,
    });
    this.element = el(
      "section", { class: "stack" },
      el(
        "article", { class: "job" },
        el("div", { class: "title" }, el("h1", { class: "id" }, id), this.state),
        this.failure, this.bar, this.progress,
        el("div", { class: "actions" }, this.audio, this.manifest, this.retry, this.cancel),
        this.did, this.facts,
      ),
      el("h2", {}, "Failed items"), this.failures.element,
      el("p", { class: "hint" }, el("a", { href: `#/jobs?batch=${encodeURIComponent(id)}` }, "All jobs of this batch that are still on record")),
    );
  }

  async #try(act) {
    try {
      await act();
      await this.ask();
    } catch (error) {
      this.notice(error);
    }
  }

  async #retry() {
    const { retried } = await api.retryFailed(this.id);
    write(this.did, retried ? `${count(retried)} items are spoken again.` : "No failed item is on record.");
  }

  async #cancel() {
    if (!confirm(`Stop what waits and runs in ${this.id}? The same corpus resumes it.`)) return;
    const { cancelled } = await api.cancelBatch(this.id);
    write(this.did, `${count(cancelled)} items were stopped.`);
  }

  async ask(signal) {
    const batch = await api.batch(this.id, signal);
    write(this.state, batch.state);
    set(this.state, "data-state", STATES[batch.state]);
    this.failure.hidden = !batch.code;
    write(this.failure, batch.code ? `${batch.code}: ${batch.message}` : "");
    this.bar.show(batch);
    write(this.progress, `${percent(Math.round(1000 * partDone(batch)) / 1000)} · ${batchWord(batch)}`);
    this.retry.disabled = !batch.failed;
    this.cancel.disabled = !batch.outstanding;
    this.audio.hidden = this.manifest.hidden = !batch.fed_by;
    reconcile(this.facts, factsOf(batch), ([name]) => name, makeFact, (fact, [, value]) => write(fact.lastElementChild, value));
    const failed = batch.failed ? (await api.jobs([["batch", this.id], ["state", "failed"], ["count", FAILURES]], signal)).jobs : [];
    this.failures.show(failed);
  }
}

const STATES = {
  validating: "QUEUED", open: "RUNNING", ended: "SUCCEEDED", stopped: "FAILED", cancelled: "CANCELLED", expired: "FAILED",
};
const makeFact = ([name]) => el("div", {}, el("dt", {}, name), el("dd"));

function factsOf(batch) {
  return [
    ["Model", batch.model || "–"],
    ["Voice", batch.voice || "the model's own"],
    ["Submitted", count(batch.submitted)],
    ["Reused", count(batch.cached)],
    ["Cost", cost(batch.usage)],
    ["Fed by", batch.fed_by || "its own command, which keeps the audio"],
    ["Opened", at(batch.created)],
    ["Changed", ago(batch.updated)],
  ];
}

function updateFailure(row, job) {
  linkIn(row.cells[0], `#/jobs/${encodeURIComponent(job.id)}`, job.id);
  fill(row, [`${job.code}: ${job.message}`, count(job.attempts), ago(job.updated)]);
  row.cells[1].classList.add("wrap");
}
