// A click on a head sorts by its column: numbers largest first, names from A. A second one turns it.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const value = (row, at) => {
    const text = row.cells[at].textContent;
    const number = parseFloat(text);
    return heads[at].classList.contains("n") ? (Number.isNaN(number) ? -1 : number) : text;
  };
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numeric = head.classList.contains("n");
      const now = head.getAttribute("aria-sort");
      const order = now ? (now === "ascending" ? -1 : 1) : numeric ? -1 : 1;
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [value(a, at), value(b, at)];
        return order * (numeric ? x - y : x.localeCompare(y));
      });
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order === 1 ? "ascending" : "descending");
      body.append(...rows);
    });
  });
}
