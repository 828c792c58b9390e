"use strict";
// What all parts of the page share: the numbers, the chosen data set and metric, and the theme.

const report = {
  data: JSON.parse(document.getElementById("data").textContent),
  group: 0,
  metric: "",
  listeners: [],
  // Call `draw` now and whenever another data set or metric is chosen.
  follow(draw) {
    this.listeners.push(draw);
    draw();
  },
  measure(key) {
    return this.data.measures.findIndex((measure) => measure.key === key);
  },
  // The metric by the name that people know.
  title() {
    return this.data.measures[this.measure(this.metric)].title;
  },
  rows() {
    return this.data.rows.filter((row) => row.group === this.group);
  },
};

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children); // strings become text, never markup
  return made;
}

function draw(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A model's marker in its colour.
function marker(model, attributes = {}) {
  const [colour, shape] = report.data.styles[model];
  return draw("use", { href: `#shape${shape}`, ...attributes, class: `m${colour} ${attributes.class ?? ""}` });
}

const sign = (model) => draw("svg", { class: "sign", viewBox: "-8 -8 16 16", "aria-hidden": "true" }, marker(model));

function shown(value, digits = 3) {
  if (value === null || value === undefined) return "-";
  return value.toFixed(Math.abs(value) < 10 ? digits : 1);
}

function interval(low, high) {
  return low === null || high === null ? "" : ` [${shown(low)}, ${shown(high)}]`;
}

{
  const group = document.getElementById("group");
  const metric = document.getElementById("metric");
  const parts = [...document.querySelectorAll("[data-group], tr[data-metric]")].filter((part) => !part.closest("#board"));
  const choose = () => {
    report.group = Number(group.value);
    report.metric = metric.value;
    for (const part of parts) {
      const otherMetric = part.dataset.metric !== undefined && part.dataset.metric !== report.metric;
      const otherGroup = part.dataset.group !== undefined && Number(part.dataset.group) !== report.group;
      part.hidden = otherMetric || otherGroup;
    }
    for (const listener of report.listeners) listener();
  };
  group.addEventListener("change", choose);
  metric.addEventListener("change", choose);
  choose();

  const button = document.getElementById("theme");
  const root = document.documentElement;
  const paint = (dark) => {
    root.dataset.theme = dark ? "dark" : "light";
    button.setAttribute("aria-pressed", String(dark));
  };
  button.setAttribute("aria-pressed", String(matchMedia("(prefers-color-scheme: dark)").matches));
  button.addEventListener("click", () => paint(button.getAttribute("aria-pressed") !== "true"));
}
