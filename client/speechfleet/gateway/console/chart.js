// Charts of the last hour: a bar or a line a minute, in a few lines of SVG.

import { el, set, write } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 360;
const HEIGHT = 96;
const WIDEST_BAR = 16;

function shape(tag, attributes = {}) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  return element;
}

/** Return the smallest round number that is not less. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value);
}

/**
 * A chart of `series`: [{ name, value(point), mark }], where `mark` is a class of the style sheet.
 * `kind`: "bars", which are stacked, or "lines", which leave out points without a value (null).
 * `unit(value)` writes a value, `when(point)` the time of a point; the last one is now. The arrow keys and the mouse
 * tell the values of each point.
 */
export function makeChart({ title, kind, series, unit, when, least = 1 }) {
  const heading = el("h3", {}, title);
  const top = el("span", { class: "scale" });
  const told = el("p", { class: "told" });
  const beginning = el("span");
  const legend = el(
    "ul", { class: "legend" }, ...series.map(({ name, mark }) => el("li", { class: mark }, name)),
  );
  legend.hidden = series.length === 1;
  const drawing = shape("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true",
  });
  const plot = el("div", { class: "plot", tabindex: "0", role: "group", "aria-label": title }, top, drawing);
  const element = el(
    "section", { class: "chart" },
    el("div", { class: "over" }, heading, legend), plot,
    el("div", { class: "axis" }, beginning, told, el("span", {}, "now")),
  );
  let points = [];
  let chosen = null;

  const inWords = (name, value) => {
    if (series.length === 1) return value;
    return kind === "bars" ? `${value} ${name}` : `${name} ${value}`;
  };
  const wordsOf = (point) => {
    const values = series.map(({ name, value }) => [name, value(point)]);
    const known = values.filter(([, value]) => value);
    const parts = known.map(([name, value]) => inWords(name, unit(value)));
    return `${when(point)}: ${parts.join(", ") || "none"}`;
  };

  function choose(at) {
    chosen = at === null ? null : Math.min(points.length - 1, Math.max(0, at));
    set(told, "aria-live", chosen === null ? "off" : "polite"); // figures that change by themselves are not read out
    draw();
  }

  function draw() {
    const sums = points.map((point) => {
      const values = series.map(({ value }) => value(point) ?? 0);
      return kind === "bars" ? values.reduce((a, b) => a + b, 0) : Math.max(...values);
    });
    const most = roundUp(Math.max(least, ...sums));
    write(top, unit(most));
    write(beginning, points.length ? when(points[0]) : "");
    const step = WIDTH / Math.max(1, points.length);
    const y = (value) => HEIGHT - (value / most) * (HEIGHT - 2);
    const shapes = [];
    if (chosen !== null) {
      shapes.push(shape("rect", { class: "cursor", x: chosen * step, y: 0, width: step, height: HEIGHT }));
    }
    if (kind === "bars") points.forEach((point, at) => shapes.push(...bars(point, at, step, y)));
    else series.forEach((each) => shapes.push(...lines(each, step, y)));
    drawing.replaceChildren(...shapes);
    const point = points[chosen ?? points.length - 1];
    write(told, point ? wordsOf(point) : "");
  }

  function bars(point, at, step, y) {
    let below = 0;
    return series.flatMap(({ value, mark }) => {
      const height = y(below) - y(below + value(point));
      below += value(point);
      if (height <= 0) return [];
      const width = Math.min(step - Math.min(1.5, step / 4), WIDEST_BAR);
      return [shape("rect", { class: mark, x: (at + 0.5) * step - width / 2, y: y(below), width, height })];
    });
  }

  function lines({ value, mark }, step, y) {
    const shapes = [];
    let path = "";
    points.forEach((point, at) => {
      if (value(point) === null) return;
      const x = (at + 0.5) * step;
      path += `${path ? "L" : "M"}${x.toFixed(1)} ${y(value(point)).toFixed(1)}`;
      shapes.push(shape("line", {
        class: `dot ${mark}`, x1: x, x2: x, y1: y(value(point)), y2: y(value(point)),
      }));
    });
    shapes.unshift(shape("path", { class: `line ${mark}`, d: path || "M0 0" }));
    return shapes;
  }

  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    choose(Math.floor(((event.clientX - box.left) / box.width) * points.length));
  });
  plot.addEventListener("pointerleave", () => choose(null));
  plot.addEventListener("blur", () => choose(null));
  plot.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in moves)) return;
    event.preventDefault();
    choose((chosen ?? points.length - 1) + moves[event.key]);
  });
  return {
    element,
    show(newPoints) {
      points = newPoints;
      draw();
    },
  };
}
