// The start page: what the fleet does now, and did in the last hour.

import { api, poll } from "./api.js";
import { batchBar, batchPath, batchWord } from "./batch-progress.js";
import { makeChart } from "./chart.js";
import { el, reconcile, set, write } from "./dom.js";
import { ago, count, hourAndMinute, minutes, money, percent, span } from "./format.js";
import { fill, linkIn, makeTable } from "./table.js";

const EVERY = 2000; // ms
const RECENT = 5; // minutes over which the jobs a minute are averaged
const SHOWN = 5; // failures and batches

export function nowPage(place, { notice }) {
  const page = new NowPage();
  place.append(page.element);
  return { title: "Now", close: poll(EVERY, (signal) => page.ask(signal), notice) };
}

class NowPage {
  constructor() {
    this.verdict = el("p", { class: "verdict", role: "status" });
    this.tiles = el("dl", { class: "totals" });
    this.charts = [
      makeChart({
        title: "Jobs a minute", kind: "bars", unit: count, when, least: 5,
        series: [
          { name: "succeeded", mark: "good", value: (minute) => minute.succeeded },
          { name: "failed", mark: "bad", value: (minute) => minute.failed },
          { name: "cancelled", mark: "soft", value: (minute) => minute.cancelled },
        ],
      }),
      makeChart({
        title: "First audio", kind: "lines", unit: span, when, least: 0.1,
        series: [
          { name: "half within", mark: "good", value: (minute) => waits(minute)?.p50 ?? null },
          { name: "95 % within", mark: "busy", value: (minute) => waits(minute)?.p95 ?? null },
        ],
      }),
      makeChart({
        title: "Speech made a minute", kind: "bars", unit: minutes, when, least: 1,
        series: [{ name: "speech", mark: "busy", value: (minute) => minute.seconds / 60 }],
      }),
    ];
    this.failures = makeTable("Failed lately", ["Job", "Model", "Error", "When"], {
      empty: "Nothing failed in the last hour.",
      keyOf: (job) => job.id,
      update: updateFailure,
    });
    this.batches = el("ul", { class: "batches" });
    this.noBatch = el("p", { class: "empty card", hidden: true }, "No batch is under way.");
    const charts = el("div", { class: "charts" }, ...this.charts.map(({ element }) => element));
    this.element = el(
      "section", { class: "now" },
      el("h1", {}, "Now"), this.verdict, this.tiles,
      el("h2", {}, "The last hour"), charts,
      el(
        "div", { class: "columns" },
        el("div", {}, el("h2", {}, "Failed lately"), this.failures.element),
        el("div", {}, el("h2", {}, "Batches under way"), this.batches, this.noBatch),
      ),
    );
  }

  async ask(signal) {
    const [activity, fleet, { batches }] = await Promise.all([
      api.activity(signal), api.fleet(signal), api.batches({ count: 25 }, signal),
    ]);
    this.#tell(activity, fleet);
    for (const chart of this.charts) chart.show(activity.minutes);
    const open = batches.filter((batch) => batch.state === "open" && batch.outstanding > 0);
    reconcile(this.batches, open.slice(0, SHOWN), (batch) => batch.id, makeBatch, updateBatch);
    this.noBatch.hidden = open.length > 0;
    const query = [["state", "failed"], ["since", activity.time - 3600], ["count", SHOWN]];
    this.failures.show(activity.hour.failed ? (await api.jobs(query, signal)).jobs : []);
  }

  #tell(activity, fleet) {
    const { hour, counts } = activity;
    const [verdict, mood] = verdictOf(activity, fleet);
    write(this.verdict, verdict);
    set(this.verdict, "data-mood", mood);
    const ended = hour.succeeded + hour.failed;
    const audio = waits(hour);
    const tiles = [
      ["Jobs a minute", rateOf(activity.minutes), `${count(ended)} in the last hour`],
      ["First audio", audio ? span(audio.p50) : "–", audio ? `95 % within ${span(audio.p95)}` : "none in the last hour"],
      ["Failed", count(hour.failed), ended ? `${percent(hour.failed / ended)} of the last hour` : "in the last hour",
        { href: "#/jobs?state=failed&since=3600", bad: hour.failed > 0 }],
      ["Spent today", money(activity.today.costs), spentOn(activity.today), { href: "#/usage" }],
      ["Speaking", count(counts.RUNNING), `${count(fleet.workers.length)} worker${fleet.workers.length === 1 ? "" : "s"}`,
        { href: "#/jobs?state=running" }],
      ["Waiting", count(counts.QUEUED), activity.oldest === null ? "nothing waits" : `the oldest for ${span(activity.oldest)}`,
        { href: "#/jobs?state=queued", bad: activity.oldest > 300 }],
    ];
    reconcile(this.tiles, tiles, ([name]) => name, makeTile, updateTile);
  }
}

const when = (minute) => hourAndMinute(minute.at);

/** Return how long jobs waited for their first audio: live ones, or others where there are none. */
const waits = ({ first_audio: lanes }) => lanes.live ?? lanes.batch ?? null;

function rateOf(minutes) {
  const whole = minutes.slice(-1 - RECENT, -1); // the current one is not over
  const ended = whole.reduce((sum, minute) => sum + minute.succeeded + minute.failed, 0);
  return count(ended / RECENT);
}

function spentOn(today) {
  const models = Object.keys(today.models).length;
  if (today.unpriced.length) return `no price for ${today.unpriced.length} of ${models} models`;
  return models ? `on ${models} model${models === 1 ? "" : "s"}, estimated` : "no speech today";
}

/** Return what is most worth knowing, and whether it is good. */
function verdictOf({ counts, oldest, hour }, fleet) {
  if (!fleet.workers.length) {
    return [counts.QUEUED ? "No worker is alive: jobs wait." : "No worker is alive.", "bad"];
  }
  const unserved = fleet.queues.filter((queue) => queue.waiting && !served(queue, fleet.workers));
  if (unserved.length) {
    return [`Jobs wait that no worker takes: ${unserved.map(({ provider, lane }) => `${provider} (${lane})`).join(", ")}.`, "bad"];
  }
  const ended = hour.succeeded + hour.failed;
  if (hour.failed > 0.05 * ended) return [`${percent(hour.failed / ended)} of the jobs of the last hour failed.`, "bad"];
  if (oldest > 300) return [`The oldest job has waited for ${span(oldest)}.`, "busy"];
  if (counts.RUNNING || counts.QUEUED) return ["The fleet is speaking, and all is well.", "good"];
  return [ended ? "The fleet is idle, and all is well." : "The fleet is idle.", "good"];
}

const served = (queue, workers) => workers.some((worker) => worker.queues.includes(queue.queue));

const makeTile = () => el("div", {}, el("dt"), el("dd"), el("dd", { class: "note" }));

function updateTile(tile, [name, value, note, { href, bad } = {}]) {
  const [term, figure, remark] = tile.children;
  if (href) linkIn(term, href, name);
  else write(term, name);
  write(figure, value);
  write(remark, note);
  set(figure, "data-bad", Boolean(bad));
}

function updateFailure(row, job) {
  linkIn(row.cells[0], `#/jobs/${encodeURIComponent(job.id)}`, job.id);
  fill(row, [job.model, `${job.code}: ${job.message}`, ago(job.updated)]);
  row.cells[2].classList.add("wrap");
}

const makeBatch = () =>
  el("li", { class: "card" }, el("div", { class: "over" }, el("a"), el("span", { class: "note" })), batchBar());

function updateBatch(item, batch) {
  const [head, bar] = item.children;
  linkIn(head, batchPath(batch.id), batch.id);
  write(head.lastElementChild, batchWord(batch));
  bar.show(batch);
}
