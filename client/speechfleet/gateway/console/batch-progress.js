// How far a batch is, as a bar and in words.

import { el, set } from "./dom.js";
import { count, percent } from "./format.js";

export const batchPath = (id) => `#/batches/${encodeURIComponent(id)}`;

/** Return the part of the corpus that has ended, 0 to 1; of what was submitted, where no more is known. */
export function partDone(batch) {
  const ended = batch.succeeded + batch.failed + batch.cancelled;
  if (batch.state === "ended") return 1;
  if (batch.total) {
    // An item whose text was changed has ended once before.
    return Math.min(ended, Math.max(0, batch.total - batch.outstanding)) / batch.total;
  }
  return batch.submitted ? (batch.fed ?? 1) * Math.min(1, ended / batch.submitted) : 0;
}

/** Return the state of a batch and its counts in one line. */
export function batchWord(batch) {
  const parts = [`${count(batch.succeeded)} spoken`];
  if (batch.failed) parts.push(`${count(batch.failed)} failed`);
  if (batch.outstanding) parts.push(`${count(batch.outstanding)} under way`);
  return parts.join(", ");
}

/** A bar with a part for each outcome; `show(batch)` draws it. */
export function batchBar() {
  const good = el("span", { class: "good" });
  const bad = el("span", { class: "bad" });
  const bar = el("div", { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, good, bad);
  bar.show = (batch) => {
    const done = partDone(batch);
    const ended = Math.max(1, batch.succeeded + batch.failed + batch.cancelled);
    good.style.width = `${(100 * done * batch.succeeded) / ended}%`;
    bad.style.width = `${(100 * done * batch.failed) / ended}%`;
    set(bar, "aria-valuenow", Math.round(100 * done));
    set(bar, "aria-label", `${batch.id}: ${percent(Math.round(1000 * done) / 1000)}`);
  };
  return bar;
}
