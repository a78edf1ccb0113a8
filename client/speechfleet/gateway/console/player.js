// Plays a job while it is being made: fetch → whole samples → AudioWorklet.

import { jobPath, request } from "./api.js";
import { Recording, Samples, toFloat } from "./pcm.js";

const EARLY = 0.06; // seconds held before the first sound, against a network's jitter
const AHEAD = 5; // seconds that the audio thread holds at most
const PIECE = 4096; // samples a message

const REMEMBERED = "speechfleet.rate";
let warm = null;

/**
 * Begin to open the loudspeaker, at the rate it was last used with: that takes as long as a
 * fleet takes to speak. Called in a click, or the browser keeps it shut.
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

/** A context at that rate, and the module in it: the one that was warmed up where it fits. */
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
 * Dispatches "change" (its state), "grow" (more audio is there) and "move" (the playhead has).
 * All positions are samples. What was received is kept, so that any of it plays again at once.
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
  #told = -1; // the run whose end the audio thread knows

  constructor(id) {
    super();
    this.#id = id;
  }

  get position() {
    return this.#base + this.#played;
  }

  /** Samples that were heard since playing began from `#base`. */
  get played() {
    return this.#played;
  }

  get received() {
    return this.recording?.length ?? 0;
  }

  /** From the start, or on from where it was paused. `began`: the click, on the page's clock. */
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

  /** Play on from that sample. */
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

  /** Stop for good and leave nothing open. */
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

  /** What was received is still played to its end. */
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
    this.#node.port.onmessage = ({ data }) => data.run === this.#run && this.#heard(data);
    this.#node.connect(this.#context.destination);
    // Without a click on this page a browser keeps it suspended: then it waits for one.
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

  /** Send what the audio thread has room for, of what it has not got. */
  #feed() {
    if (this.#node === null) return; // closed
    const end = Math.min(this.received, this.position + AHEAD * this.recording.rate);
    while (this.#sent < end) {
      const samples = this.recording.read(this.#sent, Math.min(PIECE, end - this.#sent));
      this.#sent += samples.length;
      const floats = toFloat(samples);
      this.#node.port.postMessage({ do: "add", floats }, [floats.buffer]);
    }
    if (this.complete && this.#sent === this.received && this.#told !== this.#run) {
      this.#told = this.#run;
      this.#node.port.postMessage({ do: "end" });
    }
  }

  #heard({ first, played, underruns, ended }) {
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
