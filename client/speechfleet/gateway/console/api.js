// Client of the gateway's HTTP API, on the page's own origin.

export class ApiError extends Error {
  constructor(status, { message, code, retryable }) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryable = retryable;
  }
}

export const jobPath = (id) => `/jobs/${encodeURIComponent(id)}`;

/** Return a successful response; throw an ApiError with the gateway's message otherwise. */
export async function request(path, { method = "GET", body, signal } = {}) {
  const init = { method, signal, headers: {} };
  if (body !== undefined) {
    init.headers["content-type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { message: "The gateway does not answer.", retryable: true });
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  const message = `The gateway answered ${response.status}.`;
  if (response.status === 401) document.dispatchEvent(new Event("unauthorized"));
  return new ApiError(response.status, { message, ...body.error });
}

const json = async (path, options) => (await request(path, options)).json();

export const api = {
  who: () => json("/login"),
  login: (key) => request("/login", { method: "POST", body: { key } }),
  logout: () => request("/logout", { method: "POST" }),
  models: () => json("/v1/models"),
  voices: (model) => json(`/v1/audio/voices?model=${encodeURIComponent(model)}`),
  fleet: (signal) => json("/fleet", { signal }),
  providers: (signal) => json("/fleet/providers", { signal }),
  activity: (signal) => json("/activity", { signal }),
  quota: (signal) => json("/quota", { signal }),
  webhooks: (signal) => json("/webhooks", { signal }),
  usage: (days, signal) => json(`/usage?days=${days}`, { signal }),
  batches: (query, signal) => json(`/batches?${new URLSearchParams(query)}`, { signal }),
  batch: (id, signal) => json(`/batches/${encodeURIComponent(id)}`, { signal }),
  retryFailed: (id) => json(`/batches/${encodeURIComponent(id)}/retry-failed`, { method: "POST" }),
  cancelBatch: (id) => json(`/batches/${encodeURIComponent(id)}/cancel`, { method: "POST" }),
  jobs: (query, signal) => json(`/jobs?${new URLSearchParams(query)}`, { signal }),
  job: (id, signal) => json(jobPath(id), { signal }),
  words: async (id) => (await json(`${jobPath(id)}/captions?format=json&by=word`)).cues.flatMap(({ words }) => words),
  submit: (order) => json("/jobs", { method: "POST", body: order }),
  cancel: (id) => json(`${jobPath(id)}/cancel`, { method: "POST" }),
  retry: (id) => json(`${jobPath(id)}/retry`, { method: "POST" }),
  remove: (id) => request(jobPath(id), { method: "DELETE" }),
};

const KINDS = ["started", "audio", "segment", "words", "rewind", "finished", "failed", "cancelled"];
const TERMINAL = new Set(["finished", "failed", "cancelled"]);

/** Follow a job's chunk stream without its audio; returns a function that stops. */
export function follow(id, received, lost) {
  const source = new EventSource(`${jobPath(id)}/events?audio=false`);
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => {
      if (TERMINAL.has(kind)) source.close();
      received(kind, JSON.parse(event.data));
    });
  }
  // The browser reconnects after a broken connection, but not after an error status.
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) lost();
  });
  return () => source.close();
}

/**
 * Call `ask` repeatedly, `every` ms after the last answer, while the page is visible; returns a
 * function that stops. `failed` gets each error, and null after a success.
 */
export function poll(every, ask, failed) {
  const controller = new AbortController();
  const { signal } = controller;
  let timer;
  const turn = async () => {
    if (!document.hidden) {
      try {
        await ask(signal);
        if (!signal.aborted) failed(null);
      } catch (error) {
        if (signal.aborted) return;
        failed(error);
      }
    }
    if (!signal.aborted) timer = setTimeout(turn, every);
  };
  turn();
  return () => {
    controller.abort();
    clearTimeout(timer);
  };
}
