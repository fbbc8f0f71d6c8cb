// The overview: rows that change in place, sparklines of those in sight, search and filter kept in the address.

import { follow, get, make, number, renew, replace, words } from "./page.js";
import { band, line } from "./paths.js";

const WIDTH = 192, HEIGHT = 40;
// How long the page may be kept busy before the browser gets its turn, in milliseconds; and rows of one question.
const BUSY_MS = 8, AT_ONCE = 50;
// Rows of a group; the page comes with groups of as many.
const GROUP = 20;
const list = document.getElementById("services");
const form = document.getElementById("filter");
const inSight = new Set();
// The revision that the rows are of.
let after = document.body.dataset.after;
let quarter = null;

function draw(row, own) {
  const svg = row.querySelector(".spark");
  const spread = own.usual.map((usual) =>
    usual === null || own.dispersion === null ? null : 2 * Math.sqrt(own.dispersion * usual));
  const high = own.usual.map((usual, index) => (spread[index] === null ? null : usual + spread[index]));
  const low = own.usual.map((usual, index) => (spread[index] === null ? null : Math.max(0, usual - spread[index])));
  const highest = Math.max(0, ...own.window);
  // three times the band at least, so that the noise of a quiet day looks as quiet as it is; without a band, half-way up
  const usually = Math.max(0, ...high);
  const top = Math.max(usually ? highest : 2 * highest, 3 * usually, 4);
  const scale = { width: WIDTH, height: HEIGHT, top, length: own.window.length };
  svg.replaceChildren(
    make("path", { class: "band", d: band(low, high, scale) }),
    make("path", { class: "line", d: line(own.window, scale) }),
  );
  svg.setAttribute("aria-label", words.sparkline.replace("{n}", number(highest)));
}

let drawing = false;

/** Draw the lines of the rows in sight that are not of this quarter of an hour. */
async function drawn() {
  if (drawing) return;
  drawing = true;
  try {
    for (;;) {
      const now = String(quarter);
      const rows = [...inSight].flatMap((group) => [...group.children])
        .filter((row) => row.dataset.drawn !== now).slice(0, AT_ONCE);
      if (rows.length === 0) break;
      const asked = new URLSearchParams(rows.map((row) => ["service", row.dataset.service]));
      const { services } = await get(`/api/v1/sparklines?${asked}`);
      for (const row of rows) {
        const own = services[row.dataset.service];
        if (own) draw(row, own);
        row.dataset.drawn = now;
        // the last quarter is stated a little after the bin that ends it
        if (own && own.window.at(-1) === null) late.add(row);
      }
    }
  } finally {
    drawing = false;
  }
}

const late = new Set();
let soon;
const sight = new IntersectionObserver(
  (entries) => {
    for (const each of entries) {
      if (each.isIntersecting) inSight.add(each.target);
      else inSight.delete(each.target);
    }
    clearTimeout(soon);
    soon = setTimeout(() => drawn().catch(() => {}), 50);
  },
  { rootMargin: "400px" },
);

const idle = () => new Promise((done) => setTimeout(done, 0));

const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

/** Put a new row in place of an old one, with its line, which lasts until the next quarter of an hour. */
function exchange(old, own) {
  const row = replace(old, own);
  if (row === old) return row;
  row.querySelector(".spark").replaceWith(old.querySelector(".spark"));
  if (old.dataset.drawn) row.dataset.drawn = old.dataset.drawn;
  return row;
}

/** Put a row where it belongs, if it is not there yet. */
function put(row, index) {
  let group = list.children[Math.floor(index / GROUP)];
  if (!group) {
    group = make("div", { class: "group" });
    list.append(group);
    sight.observe(group);
  }
  const there = group.children[index % GROUP];
  if (there !== row) group.insertBefore(row, there ?? null);
}

/** Bring all rows up to date: with what has changed since the revision that they are of, or with everything. */
async function change(everything) {
  const asked = new URLSearchParams(location.search);
  if (!everything) asked.set("after", after);
  const answer = await get(`/changes?${asked}`);
  const fresh = new DOMParser().parseFromString(answer.markup, "text/html");
  const rows = new Map([...fresh.getElementById("rows").children].map((row) => [row.id, row]));
  const gone = new Map([...list.querySelectorAll(".row")].map((row) => [row.id, row]));
  if (answer.order.some((name) => !gone.has(`row-${name}`) && !rows.has(`row-${name}`))) return change(true);
  renew(fresh);
  let since = performance.now();
  for (const [index, name] of answer.order.entries()) {
    const id = `row-${name}`;
    const old = gone.get(id);
    const own = rows.get(id);
    gone.delete(id);
    let row = old;
    if (own) row = old ? exchange(old, own) : replace(document.importNode(own, true), own);
    put(row, index);
    const figure = row.lastElementChild;
    setText(figure.firstElementChild, answer.window[index]);
    setText(figure.lastElementChild, answer.usual[index]);
    if (performance.now() - since > BUSY_MS) {
      await idle();
      since = performance.now();
    }
  }
  for (const row of gone.values()) row.remove();
  for (const group of [...list.children].slice(Math.ceil(answer.order.length / GROUP))) {
    sight.unobserve(group);
    inSight.delete(group);
    group.remove();
  }
  after = answer.after;
  for (const row of late) delete row.dataset.drawn;
  late.clear();
  quarter = ofAnHour();
  await drawn();
}

const ofAnHour = () => Math.floor(Date.parse(document.querySelector("#asof time")?.dateTime) / 900_000);

let last = Promise.resolve();

/** One change after the other: an answer that comes late must not undo a newer one. */
function update(everything = false) {
  last = last.catch(() => {}).then(() => change(everything));
  return last;
}

async function ask() {
  const asked = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  const lang = new URLSearchParams(location.search).get("lang");
  if (lang) asked.set("lang", lang);
  history.replaceState(null, "", asked.size ? `?${asked}` : location.pathname);
  await update(true);
}

let waiting;
form.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(ask, 150);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
form.classList.add("lively");

quarter = ofAnHour();
for (const group of list.children) sight.observe(group);
follow(() => update());
