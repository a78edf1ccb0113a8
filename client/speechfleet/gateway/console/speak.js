// The page with a text box, to type a text and hear it.

import { api } from "./api.js";
import { el, set, write } from "./dom.js";
import { JobView } from "./job.js";
import { warmUp } from "./player.js";

const REMEMBERED = "speechfleet.speak";
const EXAMPLE =
  "Good evening. This was text a moment ago. A worker of this fleet speaks it, sentence by " +
  "sentence, and you hear the first one while the last is still being made.";

export function speakPage(place) {
  const page = new SpeakPage();
  place.append(page.element);
  page.offer();
  page.text.focus();
  return { title: "Speak", close: () => page.view?.close() };
}

class SpeakPage {
  view = null;
  #models = [];

  constructor() {
    this.text = el("textarea", {
      id: "text", rows: 5, required: true, dir: "auto", "aria-describedby": "hint",
      onkeydown: (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
      },
    });
    this.text.value = EXAMPLE;
    this.model = el("select", { id: "model", onchange: () => this.#choose() });
    this.other = el("input", {
      id: "other", autocomplete: "off", spellcheck: "false", "aria-label": "Another model",
      onchange: () => this.#choose(),
    });
    this.other.hidden = true;
    this.voice = el("input", { id: "voice", list: "voices", autocomplete: "off" });
    this.voices = el("datalist", { id: "voices" });
    this.button = el("button", { type: "submit", class: "primary" }, "Speak");
    this.failure = el("p", { class: "failure", role: "alert", hidden: true });
    this.form = this.#form();
    this.result = el("div", { class: "result" });
    this.element = el("div", { class: "speak" }, this.form, this.result);
  }

  #form() {
    const field = (id, label, ...inputs) =>
      el("div", { class: "field" }, el("label", { for: id }, label), ...inputs);
    return el(
      "form", { onsubmit: (event) => this.#speak(event) },
      el("h1", {}, "What shall be said?"),
      el("label", { for: "text", class: "hidden" }, "Text"),
      this.text,
      el(
        "div", { class: "row" },
        field("model", "Model", this.model, this.other), field("voice", "Voice", this.voice, this.voices),
        this.button,
      ),
      el("p", { id: "hint", class: "hint" }, "Ctrl + Enter speaks it as well."),
      this.failure,
    );
  }

  /** Offer the models that live workers serve. */
  async offer() {
    let open;
    try {
      ({ data: this.#models, open_providers: open } = await api.models());
    } catch (error) {
      this.#fail(error);
      return;
    }
    const options = this.#models.map((model) => el("option", {}, model.id));
    // The servers of such providers take models that are in no list.
    if (open.length) options.push(el("option", { value: "" }, "another model…"));
    this.model.replaceChildren(...options);
    set(this.other, "placeholder", open.map((provider) => `${provider}/model`).join(", "));
    const { model, voice } = JSON.parse(localStorage.getItem(REMEMBERED) ?? "{}");
    if (this.#models.some(({ id }) => id === model)) this.model.value = model;
    if (options.length === 0) this.#fail(new Error("No worker of this fleet is ready."));
    await this.#choose();
    if (this.#name === model && voice) this.voice.value = voice;
  }

  /** The chosen or typed model. */
  get #name() {
    return this.model.value || this.other.value.trim();
  }

  async #choose() {
    this.other.hidden = this.model.value !== "" || this.model.options.length === 0;
    this.other.required = !this.other.hidden;
    const model = this.#name;
    if (!model) return;
    this.failure.hidden = true;
    try {
      const { voices, default: first } = await api.voices(model);
      if (this.#name !== model) return;
      this.voices.replaceChildren(...voices.map((entry) => el("option", { value: entry.id })));
      set(this.voice, "placeholder", first || "any its server knows");
      this.voice.value = "";
    } catch (error) {
      this.#fail(error);
    }
  }

  async #speak(event) {
    event.preventDefault();
    this.failure.hidden = true;
    this.view?.close();
    this.view = null;
    const order = { text: this.text.value, model: this.#name, voice: this.voice.value };
    const { model, voice } = order;
    localStorage.setItem(REMEMBERED, JSON.stringify({ model, voice }));
    this.button.disabled = true;
    try {
      const began = performance.now();
      warmUp();
      const job = await api.submit(order);
      this.view = new JobView(job.id, { level: "h2" });
      this.result.replaceChildren(this.view.element);
      this.view.player.play(began);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.button.disabled = false;
    }
  }

  #fail(error) {
    write(this.failure, error.message);
    this.failure.hidden = false;
  }
}
