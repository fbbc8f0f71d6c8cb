// The overview: rows that change in place, sparklines of those in sight, search and filter kept in the address.

import { follow, get, make, number, refresh, replace, words } from "./page.js";
import { band, line } from "./paths.js";

const WIDTH = 192, HEIGHT = 40;
const list = document.getElementById("services");
const form = document.getElementById("filter");
let sparks = null;
let quarter = null;

function draw(row) {
  const own = sparks?.services[row.dataset.service];
  const svg = row.querySelector(".spark");
  if (!own || svg.childElementCount) return;
  const spread = own.usual.map((usual) =>
    usual === null || own.dispersion === null ? null : 2 * Math.sqrt(own.dispersion * usual));
  const high = own.usual.map((usual, index) => (spread[index] === null ? null : usual + spread[index]));
  const low = own.usual.map((usual, index) => (spread[index] === null ? null : Math.max(0, usual - spread[index])));
  const highest = Math.max(0, ...own.window);
  // three times the band at least, so that the noise of a quiet day looks as quiet as it is
  const top = Math.max(highest, 3 * Math.max(0, ...high), 4);
  const scale = { width: WIDTH, height: HEIGHT, top, length: own.window.length };
  svg.append(
    make("path", { class: "band", d: band(low, high, scale) }),
    make("path", { class: "line", d: line(own.window, scale) }),
  );
  svg.setAttribute("aria-label", words.sparkline.replace("{n}", number(highest)));
}

const sight = new IntersectionObserver(
  (entries) => entries.filter((each) => each.isIntersecting).forEach((each) => draw(each.target)),
  { rootMargin: "400px" },
);

function watch() {
  sight.disconnect();
  for (const row of list.children) sight.observe(row);
}

async function fetchSparks() {
  sparks = await get("/api/v1/sparklines");
  for (const svg of list.querySelectorAll(".spark")) svg.replaceChildren();
  watch();
}

const idle = () => new Promise((done) => setTimeout(done, 0));

async function update() {
  const fresh = await refresh();
  const rows = [...fresh.getElementById("services").children];
  const old = new Map([...list.children].map((row) => [row.id, row]));
  let since = performance.now();
  let before = null;
  for (const own of rows) {
    const had = old.get(own.id);
    old.delete(own.id);
    let row = had;
    if (!had) {
      row = document.importNode(own, true);
      replace(row, own);
    } else {
      row = replace(had, own);
      // the line lasts until the next quarter of an hour
      if (row !== had) row.querySelector(".spark").replaceChildren(...had.querySelector(".spark").childNodes);
    }
    const next = before ? before.nextElementSibling : list.firstElementChild;
    if (next !== row) list.insertBefore(row, next);
    before = row;
    if (performance.now() - since > 12) {
      await idle();
      since = performance.now();
    }
  }
  for (const gone of old.values()) gone.remove();
  const now = Math.floor(Date.parse(document.querySelector("#asof time")?.dateTime) / 900_000);
  if (now !== quarter) {
    quarter = now;
    await fetchSparks();
  } else watch();
}

async function ask() {
  const asked = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  const lang = new URLSearchParams(location.search).get("lang");
  if (lang) asked.set("lang", lang);
  history.replaceState(null, "", asked.size ? `?${asked}` : location.pathname);
  await update();
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

fetchSparks().catch(() => {});
follow(update);
