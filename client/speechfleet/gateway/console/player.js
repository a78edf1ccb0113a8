// Plays a job while it is made: fetch → whole samples → AudioWorklet.

import { jobPath, request } from "./api.js";
import { Recording, Samples, toFloat } from "./pcm.js";

const EARLY = 0.06; // seconds held before the first sound, against a network's jitter
const AHEAD = 5; // seconds that the audio thread holds at most
const PIECE = 4096; // samples a message

const REMEMBERED = "speechfleet.rate";
let warm = null;

/**
 * Start to open the audio output at its last sample rate, because that takes as long as the
 * first audio of a job. Browsers allow it only within a click.
 */
export function warmUp() {
  warm?.close();
  warm = open(Number(localStorage.getItem(REMEMBERED)) || 24000);
  warm.module.catch(() => {});
}

function open(rate) {
  const context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
  const module = context.audioWorklet.addModule("playback.js");
  return { context, module, rate, close: () => context.close() };
}

/** Return an audio context at a rate with the module in it; reuse the one that was warmed up. */
function take(rate) {
  const fits = warm?.rate === rate;
  if (!fits) warm?.close();
  const taken = fits ? warm : open(rate);
  warm = null;
  localStorage.setItem(REMEMBERED, rate);
  return taken;
}

/**
 * States: idle → loading → playing ⇄ paused → ended; failed from anywhere.
 *
 * Dispatches "change" (a new state), "grow" (more audio) and "move" (a new position). All
 * positions are samples. Received audio is kept, so that any part can be played again.
 */
export class Player extends EventTarget {
  state = "idle";
  error = null;
  recording = null;
  complete = false; // all of it has been received
  firstSound = null; // ms from the click to the first sample
  underruns = 0;
  #id;
  #began = 0;
  #context = null;
  #node = null;
  #abort = null;
  #run = 0;
  #base = 0; // where the present run began
  #sent = 0; // up to where the audio thread has been sent the recording
  #played = 0; // of the present run
  #announced = -1; // the run whose end the audio thread knows

  constructor(id) {
    super();
    this.#id = id;
  }

  get position() {
    return this.#base + this.#played;
  }

  /** The samples heard since playing began at `#base`. */
  get played() {
    return this.#played;
  }

  get received() {
    return this.recording?.length ?? 0;
  }

  /** Play from the start, or from the pause. `began`: the time of the click. */
  async play(began = performance.now()) {
    if (this.state === "paused") return this.#resume();
    if (this.state === "ended") return this.seek(0);
    if (this.state === "idle" || this.state === "failed") return this.#load(began);
  }

  async pause() {
    if (this.state !== "playing") return;
    await this.#context.suspend();
    this.#become("paused");
  }

  /** Continue at a sample. */
  async seek(position) {
    if (!this.#node) return;
    this.#base = Math.max(0, Math.min(Math.floor(position), this.received));
    this.#sent = this.#base;
    this.#played = 0;
    this.#run += 1;
    this.#node.port.postMessage({ do: "begin", run: this.#run });
    this.#feed();
    this.dispatchEvent(new Event("move"));
    await this.#resume();
  }

  /** Stop and release everything. */
  close() {
    this.#abort?.abort();
    this.#context?.close();
    if (this.#node) this.#node.port.onmessage = null;
    this.#context = this.#node = null;
    this.#become("idle");
  }

  async #resume() {
    await this.#context.resume();
    this.#become("playing");
  }

  async #load(began) {
    this.#began = began;
    this.#abort = new AbortController();
    this.error = null;
    this.#become("loading");
    try {
      const { signal } = this.#abort;
      const response = await request(`${jobPath(this.#id)}/audio?format=pcm`, { signal });
      const rate = Number(response.headers.get("x-sample-rate"));
      this.recording = new Recording(rate);
      await this.#open(rate);
      await this.#receive(response.body.getReader());
    } catch (error) {
      if (error.name !== "AbortError") this.#fail(error);
    }
  }

  /** Play what was received to its end. */
  #fail(error) {
    const some = this.received > 0;
    this.error = some ? new Error("The audio broke off before its end.") : error;
    if (some) this.#finish();
    this.#become(some ? this.state : "failed");
  }

  async #open(rate) {
    await this.#context?.close();
    const { context, module } = take(rate);
    this.#context = context;
    await module;
    if (this.#context !== context) return; // closed meanwhile
    const options = { outputChannelCount: [1], processorOptions: { early: EARLY * rate } };
    this.#node = new AudioWorkletNode(this.#context, "playback", options);
    this.#node.port.onmessage = ({ data }) => data.run === this.#run && this.#moved(data);
    this.#node.connect(this.#context.destination);
    // Without a click on the page a browser keeps the context suspended: wait for one.
    this.#become(this.#context.state === "suspended" ? await this.#woken() : "playing");
  }

  async #woken() {
    const patience = new Promise((resolve) => setTimeout(resolve, 300));
    await Promise.race([this.#context.resume(), patience]);
    return this.#context.state === "running" ? "playing" : "paused";
  }

  async #receive(reader) {
    const samples = new Samples();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const more = samples.feed(value);
      if (more.length === 0) continue;
      this.recording.append(more);
      this.#feed();
      this.dispatchEvent(new Event("grow"));
    }
    this.#finish();
  }

  #finish() {
    this.complete = true;
    this.#feed();
    this.dispatchEvent(new Event("grow"));
  }

  /** Send the next samples that the audio thread has room for. */
  #feed() {
    if (this.#node === null) return; // closed
    const end = Math.min(this.received, this.position + AHEAD * this.recording.rate);
    while (this.#sent < end) {
      const samples = this.recording.read(this.#sent, Math.min(PIECE, end - this.#sent));
      this.#sent += samples.length;
      const floats = toFloat(samples);
      this.#node.port.postMessage({ do: "add", floats }, [floats.buffer]);
    }
    if (this.complete && this.#sent === this.received && this.#announced !== this.#run) {
      this.#announced = this.#run;
      this.#node.port.postMessage({ do: "end" });
    }
  }

  #moved({ first, played, underruns, ended }) {
    if (first) {
      this.firstSound ??= performance.now() - this.#began;
      return;
    }
    this.#played = played;
    this.underruns = underruns;
    this.#feed();
    this.dispatchEvent(new Event("move"));
    if (ended) {
      this.#context.suspend();
      this.#become("ended");
    }
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}
