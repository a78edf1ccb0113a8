// How numbers are shown.

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
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 86400) return `${number.format(seconds / 3600)} h`;
  return `${number.format(seconds / 86400)} days`;
}

/** A moment in this place's own time. */
export const at = (time) => new Date(1000 * time).toLocaleString();

export function ago(time) {
  const seconds = Date.now() / 1000 - time;
  return seconds < 1.5 ? "now" : `${span(Math.round(seconds))} ago`;
}

export function size(bytes) {
  const units = ["B", "KB", "MB", "GB"];
  let step = 0;
  for (; bytes >= 1000 && step < units.length - 1; step++) bytes /= 1000;
  return `${number.format(bytes)} ${units[step]}`;
}

/** What a job cost: characters that were billed, and those that had been spoken before. */
export function cost(usage) {
  const parts = [];
  if (usage.billed) parts.push(`${count(usage.billed)} billed`);
  if (usage.cached) parts.push(`${count(usage.cached)} cached`);
  const tokens = (usage.tokens_in ?? 0) + (usage.tokens_out ?? 0);
  if (tokens) parts.push(`${count(tokens)} tokens`);
  return parts.join(", ") || "–";
}

const STATES = {
  QUEUED: "waiting",
  RUNNING: "speaking",
  SUCCEEDED: "done",
  FAILED: "failed",
  CANCELLED: "cancelled",
};
const WAITING = { "in line": "", "back-off": ", trying again", no_worker: ", no worker" };

export const STATE_NAMES = Object.keys(STATES);
export const stateWord = (state) => STATES[state];
export const stateOf = (job) => STATES[job.state] + (WAITING[job.waiting] ?? "");
export const ended = (job) => ["SUCCEEDED", "FAILED", "CANCELLED"].includes(job.state);
