// Tables that sort and filter.
function compareCells(a, b) {
  const [x, y] = [Number(a), Number(b)];
  if (Number.isNaN(x) || Number.isNaN(y)) return a.localeCompare(b, undefined, { numeric: true });
  return x - y;
}

function sortTable(table, column, down) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [row.cells[column].dataset.order ?? "", row]);
  rows.sort(([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return down ? compareCells(b, a) : compareCells(a, b);
  });
  body.append(...rows.map(([, row]) => row));
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sortTable(table, column, down);
    });
  });
}

function makeFilterable(table, box) {
  const [words, state] = [box.querySelector("input"), box.querySelector("select")];
  const told = box.querySelector("output");
  const rows = [...table.tBodies[0].rows];
  const names = new Map(rows.map((row) => [row, row.cells[0].textContent.toLowerCase()]));
  const fits = (row) => state.value === "" || state.value.split(" ").includes(row.dataset.state);
  function filter() {
    const wanted = words.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !(names.get(row).includes(wanted) && fits(row));
      shown += row.hidden ? 0 : 1;
    }
    told.textContent = `${shown} of ${rows.length} cases`;
  }
  box.addEventListener("input", filter);
  box.hidden = false;
  filter();
}
