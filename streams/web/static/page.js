// What all pages share: times in the viewer's zone, the stream of changes, and new parts of the page in place of old ones.

const root = document.documentElement;
export const words = JSON.parse(document.getElementById("words").textContent);
// the viewer's own form of the page's language: en-GB has the day before the month
const spoken = navigator.languages.find((each) => each.split("-")[0] === root.lang.split("-")[0]) ?? root.lang;
const locale = `${spoken}-u-nu-${root.dataset.numerals}`;
const numbers = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const clocks = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const moments = new Intl.DateTimeFormat(locale, {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
});
const days = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", year: "numeric" });

/** Return a number as people of the page's language write it. */
export const number = (value) => numbers.format(value);

/** Return a time in the viewer's zone: `clock`, `moment` (with its day) or `day`. */
export function time(timeMs, shown = "clock") {
  return { clock: clocks, moment: moments, day: days }[shown].format(new Date(timeMs));
}

/** Write all times of a part of the page in the viewer's zone; the server has written them in UTC, which stays on hover. */
export function localise(part) {
  const times = part.matches?.("time") ? [part] : part.querySelectorAll("time[data-shown]");
  for (const each of times) each.textContent = time(Date.parse(each.dateTime), each.dataset.shown);
}

/** Make an element. */
export function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "use", "rect", "title"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Fetch a document of the API. */
export async function get(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer.json();
}

// Of each live part, what the server last said; scripts and the zone change what is shown.
const said = new WeakMap();

/** Put a part that has changed in place of the old one, without taking the keyboard from where it is. */
export function replace(old, fresh) {
  const now = fresh.outerHTML;
  if ((said.get(old) ?? "") === now) return old;
  const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const made = document.importNode(fresh, true);
  localise(made);
  said.set(made, now);
  old.replaceWith(made);
  if (focused !== null) made.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  return made;
}

/** Replace all parts that are live by those of another document that has them too. */
export function renew(fresh) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const own = fresh.getElementById(old.id);
    if (own) replace(old, own);
  }
}

/** Fetch this page anew, and replace all parts that are live. */
export async function refresh() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) throw new Error(`${location.href}: ${answer.status}`);
  renew(new DOMParser().parseFromString(await answer.text(), "text/html"));
}

const banner = document.getElementById("status");
let health = banner.dataset.state;
let lost = false;

function warn() {
  const text = lost ? banner.dataset.lost : banner.getAttribute(`data-${health}`) ?? "";
  if (banner.textContent !== text) banner.textContent = text;
  banner.dataset.state = lost ? "lost" : health;
}

/**
 * Follow the stream of changes for as long as the page is there.
 *
 * @param {() => Promise<void>} update Brings the page up to date. It is called after each run of changes, never twice at a time.
 */
export function follow(update) {
  let after = document.body.dataset.after;
  let running = false;
  let due = false;

  async function bring() {
    if (running) {
      due = true;
      return;
    }
    running = true;
    do {
      due = false;
      try {
        await update();
        document.body.dataset.updated = after;
      } catch {
        setTimeout(bring, 3000);
      }
      await new Promise((done) => setTimeout(done, 250));
    } while (due);
    running = false;
  }

  function open() {
    const address = new URL(document.body.dataset.stream, location.href);
    address.searchParams.set("after", after);
    const source = new EventSource(address);
    source.addEventListener("open", () => {
      lost = false;
      warn();
    });
    source.addEventListener("error", () => {
      lost = true;
      warn();
      // the browser comes again by itself unless the answer was no stream, as from a proxy without its server
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 2000);
    });
    source.addEventListener("status", (event) => {
      health = JSON.parse(event.data).state;
      lost = false;
      warn();
    });
    source.addEventListener("revision", (event) => {
      if (event.lastEventId) after = event.lastEventId;
      bring();
    });
    source.addEventListener("reset", bring);
    addEventListener("pagehide", () => source.close(), { once: true });
  }

  addEventListener("pageshow", (event) => event.persisted && location.reload());
  open();
}

warn();
localise(document.body);
for (const part of document.querySelectorAll("[data-live]")) said.set(part, "");
document.getElementById("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
