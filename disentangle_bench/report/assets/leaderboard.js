"use strict";
// The leaderboard sorts by a press on a heading and is filtered by data set, model, text and Pareto front.
// Controls stay below: they are filtered with their data set and never sorted among the models.
{
  const table = document.getElementById("board");
  const body = table.querySelector("tbody.ranked");
  const headings = [...table.tHead.rows[0].cells];
  const model = document.getElementById("model");
  const text = document.getElementById("text");
  const frontOnly = document.getElementById("front-only");
  const count = document.getElementById("count");
  const first = headings.findIndex((cell) => cell.textContent.trim() === "failed") + 1; // of the measures

  const lines = [...body.rows].map((row) => ({
    row,
    group: Number(row.dataset.group),
    likelihood: row.dataset.likelihood,
    model: row.cells[1].textContent,
    words: `${row.cells[1].textContent} ${row.cells[2].textContent}`.toLowerCase(),
    keys: [...row.cells].map((cell, i) => {
      if (headings[i].querySelector("button").dataset.number === "0") return cell.textContent;
      return cell.dataset.v === "" ? null : Number(cell.dataset.v);
    }),
    stars: [...row.cells].map((cell) => cell.querySelector(".star") !== null),
  }));
  const controls = [...table.querySelectorAll("tbody.controls tr[data-group]")];

  function filter() {
    const wanted = text.value.trim().toLowerCase();
    const column = first + report.measure(report.metric);
    let visible = 0;
    for (const line of lines) {
      const keep =
        line.group === report.group &&
        (model.value === "" || line.model === model.value) &&
        line.words.includes(wanted) &&
        (!frontOnly.checked || line.stars[column]);
      line.row.hidden = !keep;
      visible += keep;
    }
    for (const row of controls) row.hidden = Number(row.dataset.group) !== report.group;
    const heading = table.querySelector("tbody.controls tr.heading");
    if (heading) heading.hidden = controls.every((row) => row.hidden);
    count.value = `${visible} setting${visible === 1 ? "" : "s"}`;
  }

  function sort(column, up) {
    const sign = up ? 1 : -1;
    const apart = headings[column].querySelector("button").dataset.apart === "1"; // nats of two likelihoods do not mix
    const order = (a, b) => {
      if (apart && a.likelihood !== b.likelihood) {
        if (!a.likelihood || !b.likelihood) return a.likelihood ? -1 : 1; // a row without reconstruction goes last
        return a.likelihood < b.likelihood ? -1 : 1;
      }
      const x = a.keys[column];
      const y = b.keys[column];
      if (x === y) return 0;
      if (x === null) return 1; // what is missing goes last, either way
      if (y === null) return -1;
      return sign * (typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y);
    };
    body.append(...lines.toSorted(order).map((line) => line.row));
    headings.forEach((cell, i) => {
      if (i === column) cell.setAttribute("aria-sort", up ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    });
  }

  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const column = Number(button.dataset.key);
    const now = headings[column].getAttribute("aria-sort");
    const upFirst = button.dataset.up === "1"; // the best at the top first
    sort(column, now === null ? upFirst : now !== "ascending");
  });
  model.addEventListener("change", filter);
  text.addEventListener("input", filter);
  frontOnly.addEventListener("change", filter);
  report.follow(filter);
}
