// One service: its chart, its regions on one scale, and what is new.

import { draw } from "./chart.js";
import { multiples } from "./multiples.js";
import { follow, get, refresh } from "./page.js";

const place = document.getElementById("chart");
const ranges = document.getElementById("ranges");

async function show() {
  const { service, range } = place.dataset;
  const regions = await get(`/api/v1/services/${service}/levels?range=${range}&region=*`);
  const whole = await get(`/api/v1/services/${service}/levels?range=${range}`);
  if (range !== place.dataset.range) return;
  draw(place, document.getElementById("chart-table"), {
    startMs: whole.start_ms, stepMs: whole.step_ms, series: whole.regions.slice(0, 1), incidents: whole.incidents,
  });
  multiples(regions.regions.filter((each) => each.region !== "_all"));
}

ranges.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-range]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  place.dataset.range = link.dataset.range;
  for (const each of ranges.querySelectorAll("a")) each.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  const asked = new URLSearchParams(location.search);
  asked.set("range", link.dataset.range);
  history.replaceState(null, "", `?${asked}`);
  show();
});

follow(async () => {
  await refresh();
  await show();
});
show().catch(() => {});
