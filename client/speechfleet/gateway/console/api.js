// The gateway's routes. Everything is asked of the page's own origin.

export class ApiError extends Error {
  constructor(status, { message, code, retryable }) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryable = retryable;
  }
}

export const jobPath = (id) => `/jobs/${encodeURIComponent(id)}`;

/** A response that is well; else an ApiError in the gateway's own words. */
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
  const told = await response.json().catch(() => ({}));
  const message = `The gateway answered ${response.status}.`;
  if (response.status === 401) document.dispatchEvent(new Event("unauthorized"));
  return new ApiError(response.status, { message, ...told.error });
}

const json = async (path, options) => (await request(path, options)).json();

export const api = {
  who: () => json("/login"),
  login: (key) => request("/login", { method: "POST", body: { key } }),
  logout: () => request("/logout", { method: "POST" }),
  models: () => json("/v1/models").then((list) => list.data),
  voices: (model) => json(`/v1/audio/voices?model=${encodeURIComponent(model)}`),
  fleet: (signal) => json("/fleet", { signal }),
  jobs: (query, signal) => json(`/jobs?${new URLSearchParams(query)}`, { signal }),
  job: (id, signal) => json(jobPath(id), { signal }),
  submit: (order) => json("/jobs", { method: "POST", body: order }),
  cancel: (id) => json(`${jobPath(id)}/cancel`, { method: "POST" }),
  retry: (id) => json(`${jobPath(id)}/retry`, { method: "POST" }),
  remove: (id) => request(jobPath(id), { method: "DELETE" }),
};

const KINDS = ["started", "audio", "segment", "rewind", "finished", "failed", "cancelled"];
const TERMINAL = new Set(["finished", "failed", "cancelled"]);

/** Follow a job's chunk stream without its audio; returns what stops it. */
export function follow(id, heard, lost) {
  const source = new EventSource(`${jobPath(id)}/events?audio=false`);
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => {
      if (TERMINAL.has(kind)) source.close();
      heard(kind, JSON.parse(event.data));
    });
  }
  // A broken connection is taken up again by the browser; a refusal is the end.
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) lost();
  });
  return () => source.close();
}

/**
 * Ask again and again, `every` ms after the last answer, while the page is looked at; returns
 * what stops it. `failed` is told of errors and of the recovery from them (null).
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
