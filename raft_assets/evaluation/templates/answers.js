"use strict";
// Hides and reorders the rows that are in the page. Nothing here makes markup: texts are read, never written.
const list = document.getElementById("answers");
const rows = [...list.children];
const selects = [...document.querySelectorAll("select[data-field]")];
const search = document.getElementById("search");
const sort = document.getElementById("sort");
const reasoning = document.getElementById("reasoning");
const shown = document.getElementById("shown");
const texts = new Map();

const fold = (text) => text.normalize("NFKC").toLowerCase();

function textOf(row) {
  if (!texts.has(row)) texts.set(row, fold(row.textContent));
  return texts.get(row);
}

function matches(row, wanted, words) {
  const fits = wanted.every(([field, value]) =>
    value === "changed" ? row.dataset[field] !== "same" : row.dataset[field] === value);
  return fits && words.every((word) => textOf(row).includes(word));
}

function filter() {
  const wanted = selects.filter((one) => one.value).map((one) => [one.dataset.field, one.value]);
  const words = fold(search.value).split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    row.hidden = !matches(row, wanted, words);
    count += row.hidden ? 0 : 1;
  }
  shown.textContent = count.toLocaleString("en");
}

const number = (field) => (row) => Number(row.dataset[field]);
const orders = {
  given: null,
  gain: (row) => -number("gain")(row),
  loss: number("gain"),
  worst: number("f1"),
  document: number("document"),
};

function reorder() {
  const key = orders[sort.value];
  const sorted = key ? rows.toSorted((one, other) => key(one) - key(other)) : rows;
  list.replaceChildren(...sorted);
}

function reset() {
  for (const one of [...selects, search]) one.value = "";
  sort.value = "given";
  reorder();
  filter();
}

function unfold() {
  list.classList.toggle("short", !reasoning.value);
}

// a link of the report chooses by its fragment: #source=golden&change=lost
function choose() {
  const chosen = new URLSearchParams(location.hash.slice(1));
  for (const one of selects) {
    const value = chosen.get(one.dataset.field) ?? "";
    if ([...one.options].some((option) => option.value === value)) one.value = value;
  }
  filter();
}

for (const one of selects) one.addEventListener("change", filter);
search.addEventListener("input", filter);
sort.addEventListener("change", reorder);
reasoning.addEventListener("change", unfold);
document.getElementById("reset").addEventListener("click", reset);
addEventListener("hashchange", choose);
document.getElementById("controls").hidden = false;
unfold();
choose();
