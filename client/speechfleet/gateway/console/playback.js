// Runs on the audio thread: plays the samples that it is sent, and reports its position.

const REPORT_EVERY = 0.05; // seconds

class Playback extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.early = processorOptions.early; // samples to hold before the first sound
    this.port.onmessage = ({ data }) => this[data.do](data);
    this.begin({ run: 0 });
  }

  /** Drop all waiting samples, before playing from another position. */
  begin({ run }) {
    this.run = run;
    this.waiting = [];
    this.held = 0;
    this.played = 0;
    this.underruns = 0;
    this.complete = false;
    this.sounding = false;
    this.unreported = 0;
    this.done = false;
  }

  add({ floats }) {
    this.waiting.push({ floats, at: 0 });
    this.held += floats.length;
  }

  end() {
    this.complete = true;
  }

  process(_, [[output]]) {
    if (!this.sounding && this.held > 0 && (this.complete || this.held >= this.early)) {
      this.sounding = true;
    }
    if (this.sounding) this.fill(output);
    this.unreported += output.length;
    const ended = this.complete && this.held === 0 && !this.done;
    if (ended || this.unreported >= REPORT_EVERY * sampleRate) this.report(ended);
    return true;
  }

  fill(output) {
    let at = 0;
    while (at < output.length && this.waiting.length > 0) {
      const first = this.waiting[0];
      const part = first.floats.subarray(first.at, first.at + output.length - at);
      output.set(part, at);
      at += part.length;
      first.at += part.length;
      if (first.at === first.floats.length) this.waiting.shift();
    }
    if (this.played === 0 && at > 0) this.port.postMessage({ run: this.run, first: true });
    this.held -= at;
    this.played += at;
    if (at < output.length && !this.complete) {
      this.underruns += 1;
      this.sounding = false;
    }
  }

  report(ended) {
    this.unreported = 0;
    this.done = this.done || ended;
    const { run, played, held, underruns } = this;
    this.port.postMessage({ run, played, held, underruns, ended });
  }
}

registerProcessor("playback", Playback);
