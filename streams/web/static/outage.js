// One outage: what was counted around it, per region, and what is new while it goes on.

import { draw } from "./chart.js";
import { multiples } from "./multiples.js";
import { follow, get, refresh } from "./page.js";

const LINES = 5;
const place = document.getElementById("chart");
const list = document.getElementById("multiples");

async function show() {
  const id = place.dataset.outage;
  const series = await get(`/api/v1/outages/${id}/series`);
  const { outage } = await get(`/api/v1/outages/${id}`);
  const names = new Map([...list.children].map((item) => [item.dataset.region, item.querySelector("h3").textContent]));
  // the whole service is drawn beside no region of it: it would set the scale of all of them
  const places = series.regions.filter((each) => names.has(each.region));
  const shown = places.slice(0, LINES).map((each) => ({ ...each, name: names.get(each.region) ?? each.region }));
  const shade = { opened_ms: outage.opened_ms, closed_ms: outage.restored_ms ?? (outage.state === "open" ? null : outage.at_ms) };
  await draw(place, document.getElementById("chart-table"), {
    startMs: series.start_ms, stepMs: series.step_ms, series: shown, incidents: [shade],
  });
  multiples(places);
}

follow(async () => {
  await refresh();
  await show();
});
show().catch(() => {});
