// The page of usage: characters, speech and money by day and model.

import { api, poll } from "./api.js";
import { makeChart } from "./chart.js";
import { el } from "./dom.js";
import { count, money, price, span } from "./format.js";
import { fill, makeTable } from "./table.js";

const EVERY = 15_000; // ms
const SPANS = [7, 30, 90];

export function usagePage(place, { query, notice }) {
  let days = SPANS.includes(Number(query.get("days"))) ? Number(query.get("days")) : SPANS[0];
  const choice = el("select", { id: "days", onchange: () => choose(Number(choice.value)) },
    ...SPANS.map((each) => el("option", { value: each, selected: each === days }, `${each} days`)));
  const totals = el("dl", { class: "totals" });
  const chart = makeChart({
    title: "Characters a day", kind: "bars", unit: count, least: 100, when: ({ day }) => day,
    series: [
      { name: "billed", mark: "busy", value: (day) => sum(day, "billed") },
      { name: "reused", mark: "good", value: (day) => sum(day, "cached") },
    ],
  });
  const table = makeTable("Usage by day and model", ["Model", "Day", "#Characters", "#Billed", "#Reused", "#Calls", "#Speech", "#Cost"], {
    empty: "No speech was made in this time.",
    keyOf: (row) => `${row.day} ${row.model}`,
    update: updateUsage,
  });
  place.append(
    el(
      "section", { class: "stack" },
      el("div", { class: "over" }, el("h1", {}, "Usage"),
        el("div", { class: "choice" }, el("label", { for: "days" }, "Last"), choice)),
      totals, el("div", { class: "charts wide" }, chart.element), table.element,
      el("p", { class: "hint" }, "Days are in UTC. Costs are estimates: what was billed, at the prices that are known."),
    ),
  );
  let stop = () => {};
  function choose(value) {
    days = value;
    history.replaceState(null, "", `#/usage?days=${days}`);
    stop();
    stop = poll(EVERY, ask, notice);
  }
  async function ask(signal) {
    const found = (await api.usage(days, signal)).days;
    chart.show([...found].reverse());
    const rows = found.flatMap(({ day, models }) =>
      Object.entries(models).map(([model, sums]) => ({ day, model, ...sums })));
    table.show(rows);
    const all = (name) => rows.reduce((total, row) => total + (row[name] ?? 0), 0);
    const costs = {};
    for (const day of found) {
      for (const [currency, cost] of Object.entries(day.costs)) costs[currency] = (costs[currency] ?? 0) + cost;
    }
    totals.replaceChildren(
      ...[["Spent", money(costs)], ["Characters", count(all("characters"))], ["Billed", count(all("billed"))],
        ["Reused", count(all("cached"))], ["Speech", span(all("seconds"))], ["Calls", count(all("calls"))]]
        .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
    );
  }
  choose(days);
  return { title: "Usage", close: () => stop() };
}

const sum = (day, name) => Object.values(day.models).reduce((total, sums) => total + (sums[name] ?? 0), 0);

function updateUsage(row, usage) {
  fill(row, [
    usage.model, usage.day, count(usage.characters), count(usage.billed), count(usage.cached), count(usage.calls),
    usage.seconds ? span(usage.seconds) : "", usage.cost === null ? "no price is known" : price(usage.cost),
  ], 0);
}
