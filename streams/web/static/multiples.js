// Regions as small charts on one absolute scale: a normalised one makes 200 reports look like 75,000.

import { make, number, words } from "./page.js";
import { line } from "./paths.js";

const WIDTH = 200, HEIGHT = 60;

/** Draw all regions, the highest first. */
export function multiples(regions) {
  const list = document.getElementById("multiples");
  const highest = Math.max(5, ...regions.flatMap((each) => each.window));
  const peaks = new Map(regions.map((each) => [each.region, Math.max(0, ...each.window)]));
  document.getElementById("scale").textContent = words.scale.replace("{n}", number(highest));
  const items = [...list.children].sort((a, b) => (peaks.get(b.dataset.region) ?? 0) - (peaks.get(a.dataset.region) ?? 0));
  items.forEach((item, index) => {
    const own = regions.find((each) => each.region === item.dataset.region);
    if (!own) return;
    const scale = { width: WIDTH, height: HEIGHT, top: highest, length: own.window.length };
    const path = line(own.window, scale);
    const last = own.window.findLast((value) => value !== null);
    item.querySelector(".figure").textContent = number(list.dataset.shows === "peak" ? peaks.get(own.region) : last ?? 0);
    item.querySelector("svg").replaceChildren(
      make("line", { class: "floor", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 }),
      make("path", { class: "line", d: path }),
    );
    if (list.children[index] !== item) list.insertBefore(item, list.children[index]);
  });
}
