"use strict";
// The leaderboard: another metric ranks and sorts it anew and puts its column beside the models. A press on a heading sorts.
// Controls stay below: they are filtered with their data set and never sorted among the models.
{
  const table = document.getElementById("board");
  const body = table.querySelector("tbody.ranked");
  const head = table.tHead.rows[0];
  const model = document.getElementById("model");
  const text = document.getElementById("text");
  const frontOnly = document.getElementById("front-only");
  const count = document.getElementById("count");
  // Columns by their place in the file, which stays theirs wherever they are shown.
  const headings = [...head.cells];
  const buttons = headings.map((cell) => cell.querySelector("button"));
  const place = Object.fromEntries(buttons.map((button, i) => [button.dataset.key, i]));
  const cells = new Map([...table.rows].filter((row) => row.cells.length === headings.length).map((row) => [row, [...row.cells]]));

  const lines = [...body.rows].map((row) => {
    const own = cells.get(row);
    const name = own[place.model].querySelector(".name").textContent;
    return {
      row,
      group: Number(row.dataset.group),
      likelihood: row.dataset.likelihood,
      model: name,
      words: own[place.model].textContent.toLowerCase(),
      keys: own.map((cell, i) => {
        if (buttons[i].dataset.number === "0") return cell.textContent;
        return cell.dataset.v === "" ? null : Number(cell.dataset.v);
      }),
      ranks: own.map((cell) => cell.dataset.rank),
      stars: own.map((cell) => cell.querySelector(".star") !== null),
    };
  });
  const controls = [...table.querySelectorAll("tbody.controls tr[data-group]")];

  function filter() {
    const wanted = text.value.trim().toLowerCase();
    const column = place[report.metric];
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
    count.value = `${visible} row${visible === 1 ? "" : "s"}`;
  }

  function sort(column, up) {
    const sign = up ? 1 : -1;
    const apart = buttons[column].dataset.apart === "1"; // nats of two likelihoods do not mix
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

  // Rank, sort and mark by the chosen metric, whose column comes after the model's.
  function choose() {
    const chosen = place[report.metric];
    if (chosen !== undefined) {
      const order = [...headings.keys()].filter((i) => i !== chosen);
      order.splice(place.model + 1, 0, chosen);
      for (const [row, own] of cells) row.append(...order.map((i) => own[i]));
      for (const own of cells.values()) own.forEach((cell, i) => cell.classList.toggle("chosen", i === chosen));
      for (const line of lines) {
        const rank = line.ranks[chosen] ?? "";
        cells.get(line.row)[place.rank].textContent = rank;
        line.keys[place.rank] = rank === "" ? null : parseInt(rank, 10);
      }
      sort(place.rank, true);
    }
    filter();
  }

  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const column = place[button.dataset.key];
    const now = headings[column].getAttribute("aria-sort");
    const upFirst = button.dataset.up === "1"; // the best at the top first
    sort(column, now === null ? upFirst : now !== "ascending");
  });
  model.addEventListener("change", filter);
  text.addEventListener("input", filter);
  frontOnly.addEventListener("change", filter);
  report.follow(choose);
}
