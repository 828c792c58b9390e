"use strict";
// The two tables of models, for the chosen data set and metric.
{
  const choice = document.getElementById("choice");

  // The lines of a table of the data as objects, for the chosen data set and metric.
  function chosen(table) {
    const lines = table.lines.map((line) => Object.fromEntries(table.columns.map((name, i) => [name, line[i]])));
    return lines.filter((line) => line.group === report.group && line.metric === report.metric);
  }

  function fill(id, headings, lines) {
    const head = element("tr", {}, ...headings.map(([words, number], i) => element("th", { scope: "col", class: `${number ? "number" : "words"}${i ? "" : " frozen"}` }, words)));
    const rows = lines.map((cells) =>
      element("tr", {}, ...cells.map((cell, i) =>
        i === 0 ? element("th", { scope: "row" }, ...cell) : element("td", { class: headings[i][1] ? "number" : "words" }, ...[cell].flat()))),
    );
    document.getElementById(id).replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  }

  const best = (line, by) =>
    line[by] === null ? ["-", "-"] : [`${line[by]}`, `${shown(line[`${by}_mean`])}${interval(line[`${by}_ci_low`], line[`${by}_ci_high`])}`];

  // A model's name, and its likelihood where it has several.
  const named = (line, lines) =>
    lines.filter((other) => other.model === line.model).length > 1 ? `${line.model} (${line.reconstruction_likelihood})` : line.model;

  function tables() {
    const models = chosen(report.data.summary).sort((a, b) => (b.hypervolume ?? -1) - (a.hypervolume ?? -1));
    fill(
      "summary",
      [["model"], ["hypervolume", 1], ["on the front", 1], ["settings", 1], ["seeds", 1], ["failed", 1],
        ["best setting by ELBO"], [report.title(), 1], ["best setting by the metric"], [report.title(), 1]],
      models.map((line) => [
        [sign(line.model), named(line, models)], shown(line.hypervolume), `${line.settings_on_front}`, `${line.n_settings}`, `${line.n_seeds}`, `${line.n_failed}`,
        ...best(line, "best_by_elbo"), ...best(line, "best_by_labels"),
      ]),
    );
    const pairs = chosen(report.data.improvement).filter((line) => line.chosen_by === choice.value);
    fill(
      "improvement",
      [["model A"], ["model B"], ["A better than B", 1], ["p-value (Holm)", 1], ["runs", 1], ["failed", 1]],
      pairs.map((line) => [
        [sign(line.model_a), `${line.model_a} ${line.setting_a}`.trim()], [sign(line.model_b), `${line.model_b} ${line.setting_b}`.trim()],
        `${shown(line.probability)}${interval(line.ci_low, line.ci_high)}`, shown(line.p_holm), `${line.n_a}, ${line.n_b}`, `${line.n_failed_a}, ${line.n_failed_b}`,
      ]),
    );
  }

  choice.addEventListener("change", tables);
  report.follow(tables);
}
