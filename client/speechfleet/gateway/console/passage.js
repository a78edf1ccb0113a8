// The text of a job; its segments and words are highlighted when they are heard.

import { el, set } from "./dom.js";

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };

/** Offsets in the text are code points, offsets in the audio are samples. */
export class Passage {
  #text = []; // code points
  #segments = new Map(); // index → { start, end, from, to, element }
  #words = new Map(); // index → words of the segment: { start, end, from, to, element }, in order
  #speaking = null;
  #spoken = null; // the element of the word that is heard
  #tabStop = null;
  #seek;
  #frame = null;

  constructor(seek) {
    this.#seek = seek;
    this.element = el("div", { class: "passage", dir: "auto" });
  }

  write(text) {
    this.#text = [...text];
    this.#segments.clear();
    this.#words.clear();
    this.#schedule();
  }

  /** Replace the segments by those of /jobs/{id}. */
  know(segments) {
    const indices = new Set(segments.map(({ index }) => index));
    for (const index of this.#segments.keys()) {
      if (!indices.has(index)) this.#segments.delete(index);
    }
    for (const segment of segments) this.#keep(segment); // one that is known keeps the focus
    this.#schedule();
  }

  /** Add a segment at the end. */
  add({ index, offset, text_start, text_end }) {
    const before = this.#segments.get(index - 1);
    this.#keep({ index, start: before ? 2 * before.end : 0, end: offset, text_start, text_end });
    this.#schedule();
  }

  /** Add the words of a segment: [text_start, text_end, start, end], in code points and bytes. */
  tell({ index, words }) {
    this.#words.set(index, words.map(([from, to, start, end]) => (
      { from, to, start: start / 2, end: end / 2, element: el("span", { class: "word" }) }
    )));
    this.#segments.get(index)?.element.replaceChildren();
    this.#schedule();
  }

  /** Add the words of all segments, in code points and seconds. */
  tellAll(words, rate) {
    for (const [index, { from, to }] of this.#segments) {
      const own = words.filter((word) => from <= word.text_start && word.text_start < to);
      this.tell({
        index,
        words: own.map(({ text_start, text_end, start, end }) => (
          [text_start, text_end, 2 * Math.round(start * rate), 2 * Math.round(end * rate)]
        )),
      });
    }
  }

  /** Remove the segments after `offset` (bytes). */
  rewind(offset) {
    for (const [index, segment] of this.#segments) {
      if (2 * segment.end <= offset) continue;
      this.#segments.delete(index);
      this.#words.delete(index);
    }
    this.#schedule();
  }

  /** Highlight the segment and the word at a sample; null: none. */
  light(position) {
    let element = null;
    let word = null;
    if (position !== null) {
      for (const [index, segment] of this.#segments) {
        if (!(segment.start <= position && position < segment.end)) continue;
        ({ element } = segment);
        word = this.#words.get(index)?.findLast(({ start }) => start <= position)?.element ?? null;
      }
    }
    if (word !== this.#spoken) {
      this.#spoken?.classList.remove("heard");
      this.#spoken = word;
      this.#spoken?.classList.add("heard");
    }
    if (element === this.#speaking) return;
    if (this.#speaking) set(this.#speaking, "aria-current", false);
    this.#speaking = element;
    if (this.#speaking) {
      set(this.#speaking, "aria-current", "true");
      this.#reveal(this.#speaking);
    }
  }

  /** Scroll within the text only, not the page. */
  #reveal(element) {
    const box = this.element.getBoundingClientRect();
    const { top, bottom } = element.getBoundingClientRect();
    if (top < box.top) this.element.scrollTop -= box.top - top;
    else if (bottom > box.bottom) this.element.scrollTop += Math.min(bottom - box.bottom, top - box.top);
  }

  #keep({ index, start, end, text_start, text_end }) {
    const known = this.#segments.get(index);
    if (known?.to === text_end && known.end === end / 2) return;
    const play = (event) => {
      const at = event?.target.closest(".word");
      const word = at && this.#words.get(index)?.find((each) => each.element === at);
      this.#seek(word ? word.start : start / 2);
    };
    const pressed = (event) => {
      const step = STEPS[event.key];
      if (step === undefined && event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      if (step === undefined) this.#seek(start / 2);
      else this.#move(event.currentTarget, step);
    };
    const element = el("span", {
      class: "segment", role: "button", tabindex: "-1", title: "Play from here",
      onclick: play, onkeydown: pressed, onfocus: (event) => this.#stopAt(event.currentTarget),
    });
    this.#segments.set(index, {
      start: start / 2, end: end / 2, from: text_start, to: text_end, element,
    });
  }

  /** Make a segment the one that Tab reaches: arrow keys reach the others. */
  #stopAt(element) {
    if (this.#tabStop) set(this.#tabStop, "tabindex", "-1");
    this.#tabStop = element;
    if (element) set(element, "tabindex", "0");
  }

  /** Focus the segment that is `step` segments further. */
  #move(element, step) {
    const elements = [...this.element.querySelectorAll(".segment")];
    const index = elements.indexOf(element) + step;
    elements[Math.min(Math.max(index, 0), elements.length - 1)].focus();
  }

  /** Return the text of a segment, each word that has a time in an element of its own. */
  #spell(index, from, to) {
    const parts = [];
    let at = from;
    for (const word of this.#words.get(index) ?? []) {
      if (word.from < at || word.to > to) continue;
      if (word.from > at) parts.push(this.#text.slice(at, word.from).join(""));
      word.element.textContent = this.#text.slice(word.from, word.to).join("");
      parts.push(word.element);
      at = word.to;
    }
    if (at < to) parts.push(this.#text.slice(at, to).join(""));
    return parts;
  }

  /** Draw once a frame, however many segments came. */
  #schedule() {
    this.#frame ??= requestAnimationFrame(() => this.#lay());
  }

  #lay() {
    this.#frame = null;
    const parts = [];
    let at = 0;
    const cut = (from, to) => this.#text.slice(from, to).join("");
    const segments = [...this.#segments].map(([index, segment]) => ({ index, ...segment }));
    segments.sort((a, b) => a.from - b.from);
    for (const { index, from, to, element } of segments) {
      if (from > at) parts.push(el("span", {}, cut(at, from)));
      if (!element.firstChild) element.append(...this.#spell(index, from, to));
      parts.push(element);
      at = to;
    }
    if (!segments.some(({ element }) => element === this.#tabStop)) {
      this.#stopAt(segments[0]?.element ?? null);
    }
    if (at < this.#text.length) parts.push(el("span", { class: "ahead" }, cut(at)));
    const { activeElement } = document;
    const focused = this.element.contains(activeElement) ? activeElement : null;
    this.element.replaceChildren(...parts);
    focused?.focus({ preventScroll: true }); // which it lost with its place
  }
}
