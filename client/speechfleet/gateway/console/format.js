// Numbers, times and states as text.

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export const count = (value) => number.format(value ?? 0);

export function clock(seconds) {
  const whole = Math.floor(seconds);
  const rest = String(whole % 60).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

export function span(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${number.format(seconds)} s`;
  if (seconds < 600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${number.format(seconds / 3600)} h`;
  return `${number.format(seconds / 86400)} days`;
}

/** Return a time in the time zone of the browser. */
export const at = (time) => new Date(1000 * time).toLocaleString();

export function ago(time) {
  const seconds = Date.now() / 1000 - time;
  if (seconds < 1.5) return "now";
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return `${span(seconds)} ago`;
}

export function size(bytes) {
  const units = ["B", "KB", "MB", "GB"];
  let step = 0;
  for (; bytes >= 1000 && step < units.length - 1; step++) bytes /= 1000;
  return `${number.format(bytes)} ${units[step]}`;
}

/** Return what a job cost: characters billed, and characters reused from the cache. */
export function cost(usage) {
  const parts = [];
  if (usage.billed) parts.push(`${count(usage.billed)} billed`);
  if (usage.cached) parts.push(`${count(usage.cached)} cached`);
  const tokens = (usage.tokens_in ?? 0) + (usage.tokens_out ?? 0);
  if (tokens) parts.push(`${count(tokens)} tokens`);
  return parts.join(", ") || "–";
}

const WAITING = { "in line": "", "back-off": ", trying again", no_worker: ", no worker" };

export const STATE_NAMES = ["QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"];
/** Return the name of a state, as in the CLI and the HTTP API. */
export const stateWord = (state) => state.toLowerCase();
export const stateOf = (job) => stateWord(job.state) + (WAITING[job.waiting] ?? "");
export const ended = (job) => ["SUCCEEDED", "FAILED", "CANCELLED"].includes(job.state);

const two = (value) => String(value).padStart(2, "0");
/** Return the time of day, in the time zone of the browser. */
export function hourAndMinute(time) {
  const date = new Date(1000 * time);
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}

export const minutes = (value) => `${number.format(value)} min`;

export const percent = (part) => `${number.format(100 * part)} %`;

/** Return sums of money by currency; nothing is 0 in dollars. */
export function money(costs) {
  const sums = Object.entries(costs).filter(([, cost]) => cost > 0);
  return (sums.length ? sums : [["USD", 0]]).map(([currency, cost]) => price(cost, currency)).join(" + ");
}

/** Return a price; small ones with all digits that count. */
export function price(cost, currency = "USD") {
  const digits = cost && cost < 1 ? 4 : 2;
  try {
    const style = { style: "currency", currency, minimumFractionDigits: 2, maximumFractionDigits: digits };
    return new Intl.NumberFormat("en", style).format(cost);
  } catch {
    return `${cost.toFixed(digits)} ${currency}`; // no code of ISO 4217
  }
}
