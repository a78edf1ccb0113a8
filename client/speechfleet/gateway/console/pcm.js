// PCM (s16le) from the network.

/** Cuts bytes into whole samples, because a network may split one. */
export class Samples {
  #odd = null;

  /** Return the new whole samples (Int16Array). */
  feed(bytes) {
    let joined = bytes;
    if (this.#odd !== null) {
      joined = new Uint8Array(bytes.length + 1);
      joined[0] = this.#odd;
      joined.set(bytes, 1);
    }
    const even = joined.length & ~1;
    this.#odd = joined.length > even ? joined[even] : null;
    const view = new DataView(joined.buffer, joined.byteOffset, even);
    const samples = new Int16Array(even / 2);
    for (let n = 0; n < samples.length; n++) samples[n] = view.getInt16(2 * n, true);
    return samples;
  }
}

export function toFloat(samples) {
  const floats = new Float32Array(samples.length);
  for (let n = 0; n < samples.length; n++) floats[n] = samples[n] / 32768;
  return floats;
}

/** All audio so far, in pieces; can be read from anywhere and drawn as peaks. */
export class Recording {
  #pieces = [];
  #peakOf;
  #peak = 0;
  #inPeak = 0;

  constructor(rate) {
    this.rate = rate;
    this.length = 0;
    this.peaks = [];
    this.#peakOf = Math.round(rate / 20);
  }

  append(samples) {
    this.#pieces.push({ start: this.length, samples });
    this.length += samples.length;
    for (const sample of samples) {
      this.#peak = Math.max(this.#peak, Math.abs(sample));
      if (++this.#inPeak === this.#peakOf) {
        this.peaks.push(this.#peak / 32768);
        this.#peak = this.#inPeak = 0;
      }
    }
  }

  /** Return the samples at `start`: at most `count`, from one piece. */
  read(start, count) {
    let low = 0;
    let high = this.#pieces.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#pieces[middle].start <= start) low = middle;
      else high = middle - 1;
    }
    const piece = this.#pieces[low];
    if (piece === undefined) return new Int16Array(0);
    return piece.samples.subarray(start - piece.start, start - piece.start + count);
  }
}
