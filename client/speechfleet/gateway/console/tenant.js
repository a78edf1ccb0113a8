// The page of the namespace: what it may use, what it has used, and who hears how its jobs end.

import { api, poll } from "./api.js";
import { el } from "./dom.js";
import { at, count, percent, size, span } from "./format.js";
import { fill, makeTable } from "./table.js";

const EVERY = 5000; // ms
const NAMES = {
  queued: "Queued jobs",
  streams: "Live jobs and sessions at once",
  characters_day: "Characters a day",
  characters_month: "Characters a month",
  money_day: "Money a day",
  store_bytes: "In the store",
};

export function tenantPage(place, { notice }) {
  const quota = makeTable("Quota", ["Limit", "#At most", "#Used", "#Reserved", "#Taken", "#Refused", "Begins anew"], {
    empty: "No limits: this namespace may use what it likes.",
    keyOf: (row) => row.limit,
    update: updateLimit,
  });
  const webhooks = makeTable("Webhooks", ["Receiver", "#Sent", "#Failed tries", "#Waiting", "#Oldest", "#Dead letters", "State"], {
    empty: "No receiver. `speechfleet webhooks add URL` makes one.",
    keyOf: (hook) => hook.id,
    update: updateWebhook,
  });
  place.append(
    el(
      "section", { class: "stack" }, el("h1", {}, "Tenant"),
      el("h2", {}, "Quota"), quota.element,
      el("p", { class: "hint" }, "Reserved is what jobs under way may still cost. Days and months are in UTC."),
      el("h2", {}, "Webhooks"), webhooks.element,
    ),
  );
  const stop = poll(EVERY, async (signal) => {
    const [limits, hooks] = await Promise.all([api.quota(signal), api.webhooks(signal)]);
    quota.show(limits.limits);
    webhooks.show(hooks.webhooks);
  }, notice);
  return { title: "Tenant", close: stop };
}

function updateLimit(row, { limit, value, used, reserved, refused, resets }) {
  const shown = limit === "store_bytes" ? size : count;
  const taken = value > 0 ? percent((used + reserved) / value) : "all";
  fill(row, [
    NAMES[limit] ?? limit, shown(value), shown(used), reserved ? shown(reserved) : "", taken, count(refused),
    resets ? at(Date.parse(resets) / 1000) : "",
  ], 0);
}

function updateWebhook(row, { id, url, sent, failed, waiting, oldest, dead, disabled }) {
  fill(row, [
    `${id} ${url}`, count(sent), count(failed), count(waiting), waiting ? span(oldest) : "", count(dead),
    disabled ? `disabled: ${disabled}` : "enabled",
  ], 0);
}
