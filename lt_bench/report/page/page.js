"use strict";
const by = (id) => document.getElementById(id);
const made = (name, content = "", attributes = {}) => {
  const element = document.createElement(name);
  element.textContent = content;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

// Colours: those of the system, until somebody chooses others.
const root = document.documentElement, theme = by("theme"), system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
const showTheme = () => theme.setAttribute("aria-pressed", isDark());
const stored = (value) => {
  try {
    if (value) localStorage.setItem("lt_bench-theme", value);
    return localStorage.getItem("lt_bench-theme");
  } catch { return value; } // a browser may keep nothing for files
};
if (["light", "dark"].includes(stored())) root.dataset.theme = stored();
theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; stored(root.dataset.theme); showTheme(); });
system.addEventListener("change", showTheme);
showTheme();

// A link leads into a part that may be closed.
const openTarget = () => {
  const target = by(location.hash.slice(1));
  if (!target) return;
  for (let part = target.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
  target.scrollIntoView();
  target.focus({ preventScroll: true });
};
addEventListener("hashchange", openTarget);
openTarget();

// The table of all rows: sorted by the heading that was pressed, numbers by size, and what is not known last.
const body = by("rows").tBodies[0], all = [...body.rows], heads = [...by("rows").tHead.rows[0].cells];
const key = (row, column) => {
  const cell = row.cells[column], shown = cell.dataset.v ?? cell.textContent.trim();
  return shown === "" || shown === "–" ? null : Number.isNaN(Number(shown)) ? shown : Number(shown);
};
const compare = (one, other) =>
  typeof one === "number" && typeof other === "number" ? one - other : typeof one === "number" ? -1
    : typeof other === "number" ? 1 : one.localeCompare(other, "en", { numeric: true });
const sort = (column) => {
  const head = heads[column], numbers = all.some((row) => row.cells[column].dataset.v);
  const was = head.getAttribute("aria-sort"), first = numbers ? "descending" : "ascending";
  const order = was === "none" ? first : was === "ascending" ? "descending" : "ascending";
  heads.forEach((one) => one.setAttribute("aria-sort", one === head ? order : "none"));
  const keyed = all.map((row) => [key(row, column), row]), sign = order === "ascending" ? 1 : -1;
  keyed.sort(([one], [other]) => (one === null) - (other === null) || (one === null ? 0 : sign * compare(one, other)));
  body.append(...keyed.map(([, row]) => row));
};
heads.forEach((head, column) => head.firstChild.addEventListener("click", () => sort(column)));

const selects = [...document.querySelectorAll("[data-column]")], words = by("words");
const filter = () => {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of all) {
    const text = row.textContent.toLowerCase() + " " + row.querySelector("a").getAttribute("aria-label").toLowerCase();
    const chosen = selects.every((one) => !one.value || row.cells[one.dataset.column].textContent === one.value);
    row.hidden = !(chosen && wanted.every((word) => text.includes(word)));
  }
  by("count").textContent = `${all.filter((row) => !row.hidden).length} of ${all.length} rows`;
};
[...selects, words].forEach((one) => one.addEventListener("input", filter));
by("all").addEventListener("click", () => { [...selects, words].forEach((one) => { one.value = ""; }); filter(); });

// Two rows: what Python computed is looked up and drawn.
const data = JSON.parse(by("pairs").textContent), first = by("first"), second = by("second");
const rows = data.tables.flatMap((table, number) => table.rows.map((row, place) => ({ table, number, row, place })));
const option = (one) => made("option", one.row[0], { value: rows.indexOf(one) });
const fill = (select, some, chosen) => {
  select.replaceChildren(...data.tables.flatMap((table) => {
    const own = some.filter((one) => one.table === table);
    if (!own.length) return [];
    const group = made("optgroup", "", { label: table.name });
    group.append(...own.map(option));
    return [group];
  }));
  if (some.includes(rows[chosen])) select.value = chosen;
};
const points = (value) => {
  const size = Math.abs(value), told = size.toFixed(2);
  return (value > 0 ? "+" : value < 0 ? "−" : "") + (size && !Number(told) ? size : told);
};
const looked = (one, other) => {
  const straight = one.place < other.place, name = straight ? [one, other] : [other, one];
  const found = one.table.pairs[name.map((side) => side.place).join("-")];
  if (!found) return found;
  const turned = ([mean, low, high]) => (low === undefined ? [-mean] : [-mean, -high, -low]);
  const listed = found.slice(2).map((told) => (typeof told === "number" ? [told] : told));
  return [found[0], found[1], ...(straight ? listed : listed.map((told) => told && turned(told)))];
};
const verdict = (told) =>
  !told ? "not known" : told.length < 2 ? "one pair: no interval"
    : told[1] > 0 ? "the first is better" : told[2] < 0 ? "the second is better" : "cannot be told apart";
const draw = (found) => {
  const svg = (name, attributes, text = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };
  const known = found.flatMap((told) => told ?? []), most = Math.max(1, ...known.map(Math.abs)) * 1.1;
  const x = (value) => 80 + 220 * (1 + value / most), height = 26 * found.length + 30;
  const picture = svg("svg", { class: "wide", role: "img", "aria-label": "Differences with their intervals; numbers are in the table", viewBox: `0 0 540 ${height}`, width: 540, height });
  picture.append(svg("path", { class: "border", d: `M300 0V${height - 24}` }), svg("path", { class: "axis", d: `M80 ${height - 24}H520` }));
  for (const value of [-most / 1.1, 0, most / 1.1])
    picture.append(svg("text", { x: x(value), y: height - 8, "text-anchor": "middle" }, points(value)));
  found.forEach((told, place) => {
    const y = 26 * place + 16;
    picture.append(svg("text", { x: 70, y: y + 4, "text-anchor": "end" }, data.metrics[place]));
    if (told && told.length > 1) picture.append(svg("path", { class: "interval", d: `M${x(told[1])} ${y}H${x(told[2])}` }));
    if (told) picture.append(svg("circle", { class: "mark", cx: x(told[0]), cy: y, r: 5 }));
  });
  return picture;
};
const show = () => {
  const one = rows[first.value], other = rows[second.value], place = by("compared");
  by("told").textContent = "";
  if (!other) return place.replaceChildren(made("p", "No table has two rows."));
  const found = looked(one, other);
  if (!found) {
    const why = data.full ? "or they are beyond the pairs that this page holds" : "so that nothing is paired";
    return place.replaceChildren(made("p", `These rows have no runs with equal seeds, ${why}.`));
  }
  const [pairs, units, ...told] = found;
  const table = made("table"), head = table.createTHead().insertRow(), rest = table.createTBody();
  table.createCaption().textContent = `${one.row[0]} less ${other.row[0]}, over ${pairs} pair${pairs > 1 ? "s" : ""} of runs${units < pairs ? ` on ${units} splits` : ""}`;
  ["accuracy", "difference", "95 % interval", "what the data say"].forEach((name) => head.append(made("th", name, { scope: "col" })));
  told.forEach((values, number) => {
    const row = rest.insertRow();
    row.append(made("th", data.metrics[number], { scope: "row" }));
    row.append(made("td", values ? points(values[0]) : "–"));
    row.append(made("td", values?.length > 1 ? `${points(values[1])} to ${points(values[2])}` : "–"));
    row.append(made("td", verdict(values)));
  });
  const said = told.map((values, number) => `${data.metrics[number]} ${values ? points(values[0]) + ", " : ""}${verdict(values)}`);
  by("told").textContent = `${one.row[0]} less ${other.row[0]} in points: ${said.slice(-2).join("; ")}.`;
  const links = made("p", "Runs: ");
  [one, other].forEach((side, number) => {
    if (number) links.append(" and ");
    links.append(made("a", side.row[0], { href: `#${side.row[1]}` }));
  });
  const frame = made("div", "", { class: "scroll", role: "group", tabindex: 0, "aria-label": "Differences" });
  frame.append(table);
  place.replaceChildren(frame, draw(told), links);
};
const choose = (chosen, partner = Number(second.value)) => {
  first.value = chosen;
  const own = rows.filter((one) => one.table === rows[chosen]?.table && one !== rows[chosen]);
  fill(second, own, partner);
  show();
};
fill(first, rows.filter((one) => one.table.rows.length > 1), 0);
first.addEventListener("input", () => choose(Number(first.value)));
second.addEventListener("input", show);
by("swap").addEventListener("click", () => { const [one, other] = [Number(first.value), Number(second.value)]; if (rows[other]) choose(other, one); });
for (const button of document.querySelectorAll("[data-compare]"))
  button.addEventListener("click", () => { choose(Number(button.dataset.compare)); location.hash = "compare"; first.focus(); });
choose(Number(first.value));
