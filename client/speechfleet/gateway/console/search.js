// The search for a job or a batch by its id, in the head of every page.

import { api } from "./api.js";
import { batchPath } from "./batch-progress.js";
import { write } from "./dom.js";

/** Let the form find what its field names, and tell below it what cannot be found. */
export function searchBy(form) {
  const field = form.querySelector("input");
  const failure = form.querySelector("[role=alert]");
  field.addEventListener("input", () => (failure.hidden = true));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const id = field.value.trim();
    if (!id) return;
    try {
      location.hash = await placeOf(id);
      field.value = "";
      field.blur();
    } catch (error) {
      write(failure, error.message);
      failure.hidden = false;
    }
  });
}

async function placeOf(id) {
  const found = await there(() => api.job(id));
  if (found) return `#/jobs/${encodeURIComponent(id)}`;
  if (await there(() => api.batch(id))) return batchPath(id);
  throw new Error(`There is no job and no batch with the id ${id}.`);
}

async function there(ask) {
  try {
    return await ask();
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}
