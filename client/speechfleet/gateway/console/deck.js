// The controls of a player: play, pause, replay, and a waveform to seek in.

import { el, set, write } from "./dom.js";
import { clock } from "./format.js";

const LABELS = { playing: "Pause", loading: "Waiting for audio", paused: "Play on" };
const STATUS = {
  idle: "", loading: "Waiting for the first audio", playing: "Playing", paused: "Paused",
  ended: "Played to the end", failed: "No audio",
};
const BAR = 3; // pixels, and a gap of one

export class Deck {
  #player;
  #moved;

  /** `moved` gets the position of the playhead: the sample that is heard, or null. */
  constructor(player, moved) {
    this.#player = player;
    this.#moved = moved;
    this.toggle = el("button", { type: "button", class: "play", onclick: () => this.#press() });
    this.replay = el(
      "button", { type: "button", class: "quiet", onclick: () => this.#again() }, "Replay",
    );
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.slider = el("input", {
      type: "range", min: 0, max: 0, value: 0, step: "any", "aria-label": "Position",
      oninput: () => this.#player.seek(this.slider.valueAsNumber * this.#rate),
    });
    this.time = el("span", { class: "time" });
    this.status = el("p", { class: "status", role: "status" });
    this.element = el(
      "section", { class: "deck", "aria-label": "Player" },
      this.toggle,
      el("div", { class: "wave" }, this.canvas, this.slider),
      this.time, this.replay, this.status,
    );
    for (const kind of ["change", "grow", "move"]) {
      player.addEventListener(kind, () => this.#schedule());
    }
    this.resized = new ResizeObserver(() => this.#schedule());
    this.resized.observe(this.canvas);
    this.#show();
  }

  get #rate() {
    return this.#player.recording?.rate ?? 1;
  }

  #press() {
    if (this.#player.state === "playing") this.#player.pause();
    else this.#player.play();
  }

  #again() {
    if (this.#player.recording) this.#player.seek(0);
    else this.#player.play();
  }

  #scheduled = false;

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // A hidden page gets no animation frames; the numbers are updated anyway.
    const show = () => {
      this.#scheduled = false;
      this.#show();
    };
    if (document.hidden) setTimeout(show, 100);
    else requestAnimationFrame(show);
  }

  #show() {
    const { state, error, recording, position, received, complete } = this.#player;
    const label = LABELS[state] ?? (state === "ended" ? "Play again" : "Play");
    set(this.toggle, "aria-label", label);
    set(this.toggle, "title", label);
    set(this.toggle, "data-state", state);
    set(this.toggle, "disabled", state === "loading");
    set(this.replay, "disabled", !recording);
    const total = received / this.#rate;
    set(this.slider, "disabled", !recording);
    set(this.slider, "max", total);
    this.slider.value = position / this.#rate;
    const progress = `${clock(position / this.#rate)} of ${clock(total)}${complete ? "" : "…"}`;
    set(this.slider, "aria-valuetext", progress);
    write(this.time, recording ? progress : "");
    write(this.status, error?.message ?? STATUS[state]);
    set(this.status, "data-error", Boolean(error));
    this.#measure();
    this.#draw();
    this.#moved(["playing", "paused"].includes(state) ? position : null);
  }

  /** Show the counts of samples as attributes, for tests and for diagnosis. */
  #measure() {
    const { state, received, played, underruns, firstSound, complete } = this.#player;
    const counts = { state, received, played, underruns, complete };
    for (const [name, value] of Object.entries(counts)) set(this.element, `data-${name}`, value);
    set(this.element, "data-first-sound", firstSound === null ? null : firstSound.toFixed(1));
  }

  #draw() {
    const { canvas } = this;
    const scale = window.devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== width * scale || canvas.height !== height * scale) {
      [canvas.width, canvas.height] = [width * scale, height * scale];
    }
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(canvas);
    const [heardColor, aheadColor] = ["--accent", "--faint"].map((name) => style.getPropertyValue(name));
    const peaks = this.#player.recording?.peaks ?? [];
    const bars = Math.floor(width / (BAR + 1));
    const playhead = (this.#player.position / (this.#player.received || 1)) * bars;
    for (let bar = 0; bar < bars; bar++) {
      const from = Math.floor((bar / bars) * peaks.length);
      const to = Math.max(from + 1, Math.floor(((bar + 1) / bars) * peaks.length));
      const peak = peaks.length ? Math.max(...peaks.slice(from, to)) : 0;
      const tall = Math.max(2, peak * height);
      context.fillStyle = peaks.length && bar < playhead ? heardColor : aheadColor;
      context.fillRect(bar * (BAR + 1), (height - tall) / 2, BAR, tall);
    }
  }

  close() {
    this.resized.disconnect();
    this.#player.close();
  }
}
