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
  const choose = () => {
    report.group = Number(group.value);
    report.metric = metric.value;
    for (const part of document.querySelectorAll("[data-group]:not(tr)")) {
      const other = part.dataset.metric !== undefined && part.dataset.metric !== report.metric;
      part.hidden = other || Number(part.dataset.group) !== report.group;
    }
    for (const draw of report.listeners) draw();
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
