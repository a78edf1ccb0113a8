// A job's text, its segments lighting up as they are made and as they are spoken.

import { el, set } from "./dom.js";

/** Offsets of the text are code points, of the audio samples. */
export class Passage {
  #text = []; // code points
  #segments = new Map(); // index → { start, end, from, to, element }
  #speaking = null;
  #seek;
  #frame = null;

  constructor(seek) {
    this.#seek = seek;
    this.element = el("div", { class: "passage", dir: "auto" });
  }

  write(text) {
    this.#text = [...text];
    this.#segments.clear();
    this.#schedule();
  }

  /** Segments as /jobs/{id} has them: all that are known, instead of what was known. */
  know(segments) {
    this.#segments.clear();
    for (const one of segments) this.#keep(one);
    this.#schedule();
  }

  /** One more, at its end. */
  add({ index, offset, text_start, text_end }) {
    const before = this.#segments.get(index - 1);
    this.#keep({ index, start: before ? 2 * before.end : 0, end: offset, text_start, text_end });
    this.#schedule();
  }

  /** What lies past `offset` (bytes) is void. */
  rewind(offset) {
    for (const [index, one] of this.#segments) {
      if (2 * one.end > offset) this.#segments.delete(index);
    }
    this.#schedule();
  }

  /** Light up what is spoken at that sample; null: nothing. */
  light(position) {
    let found = null;
    if (position !== null) {
      for (const one of this.#segments.values()) {
        if (one.start <= position && position < one.end) found = one;
      }
    }
    if (found?.element === this.#speaking) return;
    if (this.#speaking) set(this.#speaking, "aria-current", false);
    this.#speaking = found?.element ?? null;
    if (this.#speaking) {
      set(this.#speaking, "aria-current", "true");
      this.#reveal(this.#speaking);
    }
  }

  /** Within the text alone: the page stays where its reader has it. */
  #reveal(element) {
    const box = this.element.getBoundingClientRect();
    const { top, bottom } = element.getBoundingClientRect();
    if (top < box.top) this.element.scrollTop -= box.top - top;
    else if (bottom > box.bottom) this.element.scrollTop += Math.min(bottom - box.bottom, top - box.top);
  }

  #keep({ index, start, end, text_start, text_end }) {
    const known = this.#segments.get(index);
    if (known?.to === text_end && known.end === end / 2) return;
    const play = () => this.#seek(start / 2);
    const pressed = (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      play();
    };
    const element = el("span", {
      class: "segment", role: "button", tabindex: "0", title: "Play from here",
      onclick: play, onkeydown: pressed,
    });
    this.#segments.set(index, {
      start: start / 2, end: end / 2, from: text_start, to: text_end, element,
    });
  }

  /** Once a frame, however many segments came with it. */
  #schedule() {
    this.#frame ??= requestAnimationFrame(() => this.#lay());
  }

  #lay() {
    this.#frame = null;
    const parts = [];
    let at = 0;
    const cut = (from, to) => this.#text.slice(from, to).join("");
    for (const one of [...this.#segments.values()].sort((a, b) => a.from - b.from)) {
      if (one.from > at) parts.push(el("span", {}, cut(at, one.from)));
      if (!one.element.firstChild) one.element.textContent = cut(one.from, one.to);
      parts.push(one.element);
      at = one.to;
    }
    if (at < this.#text.length) parts.push(el("span", { class: "ahead" }, cut(at)));
    this.element.replaceChildren(...parts);
  }
}
