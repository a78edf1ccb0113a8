// The takes of a job: sentences that are spoken again, and the take of each that is heard.

import { jobPath, request } from "./api.js";
import { el, reconcile, set, write } from "./dom.js";
import { ended } from "./format.js";

const SHOWN = 500; // segments; a book is corrected at the command line

export class Takes {
  #id;
  #renew;
  #job = null;
  #loaded = ""; // the epoch whose takes are shown

  /** `renew` gets a function that begins a new epoch of the job. */
  constructor(id, renew) {
    this.#id = id;
    this.#renew = renew;
    this.voice = el("input", { name: "voice", placeholder: "as before", autocomplete: "off" });
    this.list = el("ol", { class: "takes" });
    this.element = el(
      "details", { hidden: true, ontoggle: () => this.#load() },
      el("summary", {}, "Speak a sentence again"),
      el("label", {}, "Voice ", this.voice), this.list,
    );
  }

  show(job) {
    this.#job = job;
    const can = ended(job) && job.lane !== "session" && job.segments.length > 0;
    set(this.element, "hidden", !can);
    if (can) this.#load();
  }

  async #load() {
    const job = this.#job;
    if (!this.element.open || this.#loaded === String(job.epoch)) return;
    this.#loaded = String(job.epoch);
    try {
      const { takes } = await (await request(`${jobPath(this.#id)}/takes`)).json();
      if (job.epoch === this.#job.epoch) this.#list(job, takes);
    } catch (error) {
      if (!error.status) throw error;
      this.#loaded = ""; // asked for again when it is opened again
    }
  }

  #list(job, takes) {
    const text = [...job.text]; // places are code points
    reconcile(
      this.list, job.segments.slice(0, SHOWN), ({ index }) => index,
      ({ index }) => el(
        "li", {}, el("span", { class: "said" }), el("span", { role: "group", "aria-label": "Takes" }),
        el("button", { type: "button", onclick: () => this.#speak(index) }, "Speak again"),
      ),
      (row, { index, text_start, text_end }) => {
        const [said, choices] = row.children;
        write(said, text.slice(text_start, text_end).join(""));
        reconcile(
          choices, takes.filter(({ segment }) => segment === index), ({ number }) => number,
          ({ number }) => el(
            "button", { type: "button", onclick: () => this.#choose(index, number) }, `Take ${number + 1}`,
          ),
          (button, { chosen, voice }) => {
            set(button, "aria-pressed", String(chosen));
            set(button, "title", voice || null);
          },
        );
      },
    );
  }

  #speak(segment) {
    const body = { segment, voice: this.voice.value.trim() };
    return this.#renew(() => request(`${jobPath(this.#id)}/takes`, { method: "POST", body }));
  }

  #choose(segment, take) {
    return this.#renew(
      () => request(`${jobPath(this.#id)}/takes/${segment}`, { method: "PUT", body: { take } }),
    );
  }
}
