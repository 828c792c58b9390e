"use strict";
// Reconstruction against a metric as SVG: seeds, means with intervals, the front of the means, a tip on hover and focus.
{
  const SIZE = { width: 0, height: 0, left: 62, right: 16, top: 14, bottom: 48 }; // follows the page's width
  const svg = document.getElementById("plot");
  const tip = document.getElementById("tip");
  const legend = document.getElementById("legend");
  const showSeeds = document.getElementById("show-seeds");
  const showIntervals = document.getElementById("show-intervals");
  const likelihood = document.getElementById("likelihood");
  const hidden = new Set();

  // Nats of two likelihoods have two scales: one is drawn at a time.
  function offer() {
    const names = [...new Set(report.rows().map((line) => line.likelihood))].sort();
    const now = names.includes(likelihood.value) ? likelihood.value : names[0];
    likelihood.replaceChildren(...names.map((name) => element("option", {}, name)));
    likelihood.value = now;
    likelihood.parentElement.hidden = names.length < 2;
  }

  const colour = (model) => `m${report.data.styles[model][0]}`;

  // Round numbers that span the values: about `count` ticks, 1, 2 or 5 times a power of ten apart.
  function ticks(low, high, count) {
    const rough = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push(i * step);
    return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  }

  function scale(values, from, to) {
    let low = Math.min(...values);
    let high = Math.max(...values);
    const margin = (high - low || Math.abs(high) || 1) * 0.06;
    low -= margin;
    high += margin;
    return { low, high, at: (value) => from + ((value - low) / (high - low)) * (to - from) };
  }

  function axes(x, y) {
    const lower = report.data.measures[report.measure(report.metric)].lower;
    const bottom = SIZE.height - SIZE.bottom;
    const made = [];
    const across = ticks(x.low, x.high, SIZE.width / 80);
    for (const value of across.found) {
      made.push(draw("line", { class: "grid", x1: x.at(value), x2: x.at(value), y1: SIZE.top, y2: bottom }));
      made.push(draw("text", { class: "tick middle", x: x.at(value), y: bottom + 17 }, value.toFixed(across.digits)));
    }
    const up = ticks(y.low, y.high, 6);
    for (const value of up.found) {
      made.push(draw("line", { class: "grid", x1: SIZE.left, x2: SIZE.width - SIZE.right, y1: y.at(value), y2: y.at(value) }));
      made.push(draw("text", { class: "tick end", x: SIZE.left - 7, y: y.at(value) + 4 }, value.toFixed(up.digits)));
    }
    const middle = (SIZE.top + bottom) / 2;
    const words = SIZE.width < 500 ? "reconstruction (nats, low is good)" : "reconstruction (nats per image, lower is better)";
    made.push(draw("text", { class: "label middle", x: (SIZE.left + SIZE.width - SIZE.right) / 2, y: SIZE.height - 10 }, words));
    const side = { class: "label middle", x: 14, y: middle, transform: `rotate(-90 14 ${middle})` };
    made.push(draw("text", side, `${report.title()} (${lower ? "lower" : "higher"} is better)`));
    return made;
  }

  function arms(line, x, y, column) {
    const [cost, costLow, costHigh] = line.numbers[0];
    const [gain, low, high] = line.numbers[column];
    const made = [];
    const add = (x1, x2, y1, y2) => made.push(draw("line", { class: "arm", x1, x2, y1, y2 }));
    if (costLow !== null) add(x.at(costLow), x.at(costHigh), y.at(gain), y.at(gain));
    if (low !== null) add(x.at(cost), x.at(cost), y.at(low), y.at(high));
    return made;
  }

  function mark(line, x, y, column) {
    const [cost, costLow, costHigh] = line.numbers[0];
    const [gain, low, high] = line.numbers[column];
    const unbeaten = line.unbeaten[report.data.metrics.indexOf(report.metric)];
    const words = [
      `${line.model} ${line.setting}`.trim(),
      `${report.title()} ${shown(gain)}${interval(low, high)}`,
      `reconstruction ${shown(cost)}${interval(costLow, costHigh)} nats`,
      `${line.seeds.length} seeds, ${line.failed} failed${unbeaten ? "; no row significantly beats it" : ""}`,
    ];
    return marker(line.model, {
      class: "mark",
      transform: `translate(${x.at(cost)} ${y.at(gain)}) scale(1.15)`,
      tabindex: "0",
      role: "img",
      "aria-label": words.join(", "),
      "data-tip": words.join("\n"),
    });
  }

  function plot() {
    const column = report.measure(report.metric);
    svg.replaceChildren();
    tip.hidden = true;
    if (column < 0) return;
    offer();
    SIZE.width = Math.max(300, svg.parentElement.clientWidth);
    SIZE.height = Math.min(520, Math.max(320, Math.round(SIZE.width * 0.5)));
    svg.setAttribute("viewBox", `0 0 ${SIZE.width} ${SIZE.height}`);
    const drawn = report
      .rows()
      .filter((line) => line.likelihood === likelihood.value && !hidden.has(line.model) && line.numbers[0][0] !== null && line.numbers[column][0] !== null);
    if (!drawn.length) {
      svg.append(draw("text", { class: "label middle", x: SIZE.width / 2, y: SIZE.height / 2 }, "no finished run with this score to show"));
      return;
    }
    const pairs = drawn.flatMap((line) => [
      [line.numbers[0][0], line.numbers[column][0]],
      ...(showSeeds.checked ? line.seeds.map((seed) => [seed[1], seed[column + 1]]) : []),
      ...(showIntervals.checked ? [1, 2].map((end) => [line.numbers[0][end], line.numbers[column][end]]) : []),
    ]).filter(([cost, gain]) => cost !== null && gain !== null);
    const x = scale(pairs.map((pair) => pair[0]), SIZE.left, SIZE.width - SIZE.right);
    const y = scale(pairs.map((pair) => pair[1]), SIZE.height - SIZE.bottom, SIZE.top);
    svg.append(...axes(x, y));

    const metric = report.data.metrics.indexOf(report.metric);
    const front = drawn.filter((line) => line.front[metric]).sort((a, b) => a.numbers[0][0] - b.numbers[0][0]);
    const corners = front.map((line) => `${x.at(line.numbers[0][0])},${y.at(line.numbers[column][0])}`);
    svg.append(draw("polyline", { class: "front", points: corners.join(" ") }));
    if (showSeeds.checked) {
      for (const line of drawn) {
        const dots = draw("g", { class: `seeds ${colour(line.model)}` });
        for (const seed of line.seeds) {
          if (seed[1] === null || seed[column + 1] === null) continue;
          const words = `${line.model} ${line.setting}, seed ${seed[0]}\n${report.title()} ${shown(seed[column + 1])}\nreconstruction ${shown(seed[1])} nats`;
          dots.append(draw("circle", { cx: x.at(seed[1]).toFixed(1), cy: y.at(seed[column + 1]).toFixed(1), r: 2.4, "data-tip": words }));
        }
        svg.append(dots);
      }
    }
    for (const line of drawn) {
      if (showIntervals.checked) svg.append(draw("g", { class: `arms ${colour(line.model)}` }, ...arms(line, x, y, column)));
    }
    svg.append(...drawn.map((line) => mark(line, x, y, column)));
  }

  function show(target) {
    const words = target && target.getAttribute && target.getAttribute("data-tip");
    tip.hidden = !words;
    if (!words) return;
    tip.textContent = words;
    const frame = svg.parentElement.getBoundingClientRect();
    const box = target.getBoundingClientRect();
    const left = box.left - frame.left + box.width / 2;
    tip.style.left = `${Math.min(Math.max(left - tip.offsetWidth / 2, 0), frame.width - tip.offsetWidth)}px`;
    const above = box.top - frame.top - tip.offsetHeight - 8;
    tip.style.top = `${above > 0 ? above : box.bottom - frame.top + 8}px`;
  }

  svg.addEventListener("pointerover", (event) => show(event.target));
  svg.addEventListener("pointerleave", () => show(null));
  svg.addEventListener("focusin", (event) => show(event.target));
  svg.addEventListener("focusout", () => show(null));
  svg.addEventListener("keydown", (event) => event.key === "Escape" && show(null));
  showSeeds.addEventListener("change", plot);
  showIntervals.addEventListener("change", plot);
  likelihood.addEventListener("change", plot);

  const drawn = new Set(report.data.rows.map((line) => line.model));
  for (const model of Object.keys(report.data.styles).sort().filter((name) => drawn.has(name))) {
    const button = element("button", { type: "button", "aria-pressed": "true" }, sign(model), model);
    button.addEventListener("click", () => {
      const on = hidden.delete(model);
      if (!on) hidden.add(model);
      button.setAttribute("aria-pressed", String(on));
      plot();
    });
    legend.append(button);
  }
  report.follow(plot);
  new ResizeObserver(() => svg.parentElement.clientWidth !== SIZE.width && plot()).observe(svg.parentElement);
}
