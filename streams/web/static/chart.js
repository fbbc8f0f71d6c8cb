// A chart of reports against what is normal, drawn by uPlot, and its twin as a table.

import { make, number, time, words } from "./page.js";

const MOST_ROWS = 100;
const charts = new WeakMap();
const loaded = new Promise((done, failed) => {
  const script = make("script", { src: "/static/vendor/uplot-1.6.32/uPlot.iife.min.js" });
  script.addEventListener("load", done);
  script.addEventListener("error", failed);
  document.head.append(script);
});

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const isKnown = (values) => values?.some((each) => each !== null) ?? false;

const limits = (own) => [[words.raise, "limit", own.raise_above], [words.clear, "limit-clear", own.clear_below]]
  .filter(([, , limit]) => limit !== null);

/** Return the stretches of time in which nothing is known, by the states of the first series. */
function unseen({ startMs, stepMs, series }) {
  const stretches = [];
  (series[0].state ?? []).forEach((state, index) => {
    if (state !== "unobserved" && state !== "sensor-lost") return;
    const fromMs = startMs + index * stepMs;
    if (stretches.at(-1)?.[1] === fromMs) stretches.at(-1)[1] += stepMs;
    else stretches.push([fromMs, fromMs + stepMs]);
  });
  return stretches;
}

function hatch(ctx, left, top, width, height) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.strokeStyle = colour("line");
  ctx.globalAlpha = 0.45;
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  for (let x = left - height; x < left + width; x += 7 * devicePixelRatio) {
    ctx.moveTo(x, top + height);
    ctx.lineTo(x + height, top);
  }
  ctx.stroke();
  ctx.restore();
}

function options(place, own) {
  const { stepMs, incidents, series, blind } = own;
  const axis = { stroke: colour("quiet"), grid: { stroke: colour("rule"), width: 1 }, ticks: { show: false }, font: "13px Plex, 'Plex Arabic', system-ui, sans-serif" };
  const figure = (chart, value) => (value === null || value === undefined ? "–" : number(value));
  // without a pointer on the chart its legend reads the newest values
  const latest = (chart) => {
    const shown = series.length === 1 ? [chart.data.at(-1)] : chart.data.slice(1);
    const newest = chart.data[0].findLastIndex((_, index) => shown.some((each) => each[index] !== null));
    chart.setLegend({ idx: newest < 0 ? chart.data[0].length - 1 : newest }, false);
  };
  // what is not known at any time has no place in the legend
  const unless = (known) => (known ? {} : { class: "hidden" });
  const lengthMs = own.times.length * stepMs;
  const lines = series.length === 1
    ? [
      { label: words.band, ...unless(isKnown(series[0].high)), stroke: "transparent", value: (chart, value, column, index) => index === null || chart.data[column + 1][index] === null ? "–" : `${number(chart.data[column + 1][index])}–${number(value)}`, points: { show: false } },
      { label: "low", stroke: "transparent", points: { show: false }, class: "hidden" },
      { label: words.usual, ...unless(isKnown(series[0].usual)), stroke: colour("usual"), width: 1.5, dash: [5, 4], value: figure, points: { show: false } },
      ...limits(series[0]).map(([label, name]) => ({ label, stroke: colour(name), width: 1, dash: [2, 3], value: figure, points: { show: false } })),
      { label: words.reports, stroke: colour("ink"), width: 2, value: figure, points: { show: false } },
    ]
    : series.map((each, index) => ({ label: each.name, stroke: colour(`series-${index + 1}`), width: index === 0 ? 2.5 : 1.5, value: figure, points: { show: false } }));
  return {
    width: place.clientWidth,
    height: Math.max(220, Math.min(380, Math.round(place.clientWidth * 0.36))),
    padding: [12, 20, 0, 0],
    scales: { y: { range: (chart, low, high) => [0, Math.max(5, (high ?? 5) * 1.08)] } },
    axes: [
      { ...axis, space: 76, values: (chart, splits) => splits.map((each) => time(each * 1000, lengthMs > 129_600_000 ? "moment" : "clock")) },
      { ...axis, size: 64, values: (chart, splits) => splits.map((each) => number(each)) },
    ],
    series: [{ value: (chart, value) => (value === null ? "–" : time(value * 1000, "moment")), label: words.time }, ...lines],
    bands: series.length === 1 ? [{ series: [1, 2], fill: colour("band") }] : [],
    cursor: { points: { size: 7 }, drag: { x: false, y: false } },
    legend: { live: true },
    hooks: {
      setCursor: [(chart) => chart.cursor.idx === null && latest(chart)],
      ready: [latest],
      setData: [latest],
      drawClear: [(chart) => {
        const { ctx, bbox } = chart;
        ctx.save();
        ctx.fillStyle = colour("shade");
        for (const each of incidents) {
          const from = Math.max(bbox.left, chart.valToPos(each.opened_ms / 1000, "x", true));
          const until = each.closed_ms === null ? bbox.left + bbox.width : chart.valToPos(each.closed_ms / 1000, "x", true);
          if (until > from) ctx.fillRect(from, bbox.top, Math.min(until, bbox.left + bbox.width) - from, bbox.height);
        }
        for (const [fromMs, untilMs] of blind) {
          const from = Math.max(bbox.left, chart.valToPos(fromMs / 1000, "x", true));
          const until = Math.min(bbox.left + bbox.width, chart.valToPos(untilMs / 1000, "x", true));
          if (until > from) hatch(ctx, from, bbox.top, until - from, bbox.height);
        }
        ctx.restore();
      }],
    },
  };
}

// Incidents of several regions shade the same time once.
function united(incidents) {
  const shades = [];
  for (const each of [...incidents].sort((a, b) => a.opened_ms - b.opened_ms)) {
    const last = shades.at(-1);
    if (last && (last.closed_ms === null || each.opened_ms <= last.closed_ms)) {
      last.closed_ms = last.closed_ms === null || each.closed_ms === null ? null : Math.max(last.closed_ms, each.closed_ms);
    } else shades.push({ opened_ms: each.opened_ms, closed_ms: each.closed_ms });
  }
  return shades;
}

function columns({ times, series }) {
  const x = times.map((each) => each / 1000);
  if (series.length !== 1) return [x, ...series.map((each) => each.window)];
  const [own] = series;
  return [x, own.high, own.low, own.usual, ...limits(own).map(([, , limit]) => times.map(() => limit)), own.window];
}

function table(twin, { times, series }) {
  if (!twin.open) return;
  const stride = Math.max(1, Math.ceil(times.length / MOST_ROWS));
  const heads = series.length === 1 ? [words.reports, words.usual, words.state] : series.map((each) => each.name);
  const head = make("tr", {}, make("th", { scope: "col" }, words.time), ...heads.map((each) => make("th", { scope: "col", class: "figure" }, each)));
  const rows = [];
  for (let index = times.length - 1; index >= 0; index -= stride) {
    if (series.every((each) => each.window[index] === null)) continue;
    const shown = (value) => (value === null ? "–" : number(value));
    const cells = series.length === 1
      ? [shown(series[0].window[index]), shown(series[0].usual[index]), words.states[series[0].state[index]] ?? "–"]
      : series.map((each) => shown(each.window[index]));
    const when = make("time", { datetime: new Date(times[index]).toISOString(), title: `${new Date(times[index]).toISOString().slice(0, 16).replace("T", " ")} UTC` }, time(times[index], "moment"));
    rows.push(make("tr", {}, make("th", { scope: "row" }, when), ...cells.map((each) => make("td", { class: "figure" }, each))));
  }
  const place = twin.querySelector("div");
  place.className = "wide";
  place.tabIndex = 0;
  place.setAttribute("role", "region");
  place.setAttribute("aria-label", twin.querySelector("summary").textContent);
  place.replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}

/**
 * Draw a chart, or draw anew what has changed.
 *
 * @param {HTMLElement} place Where.
 * @param {HTMLDetailsElement} twin Holds the same as a table.
 * @param {{startMs: number, stepMs: number, series: object[], incidents: object[]}} shown One series is drawn with its band and limits, several as lines; a value is of the time at which its step ends.
 */
export async function draw(place, twin, shown) {
  const { startMs, stepMs, series } = shown;
  const length = series[0]?.window.length ?? 0;
  if (length === 0) {
    place.textContent = words.none;
    return;
  }
  await loaded;
  const times = Array.from({ length }, (_, index) => startMs + (index + 1) * stepMs);
  const own = { ...shown, times, incidents: united(shown.incidents), blind: unseen(shown) };
  document.getElementById("chart-note").hidden = own.blind.length === 0;
  const known = series.map((each) => [each.region, isKnown(each.high), isKnown(each.usual)]);
  const key = JSON.stringify([own.incidents, own.blind, stepMs, known]);
  const had = charts.get(place);
  if (had && had.key === key) {
    had.own = own;
    had.chart.setData(columns(own));
  } else {
    had?.chart.destroy();
    place.replaceChildren();
    const chart = new window.uPlot(options(place, own), columns(own), place);
    if (!had) {
      const again = () => {
        const now = charts.get(place);
        now.chart.destroy();
        place.replaceChildren();
        now.chart = new window.uPlot(options(place, now.own), columns(now.own), place);
      };
      let width = place.clientWidth;
      new ResizeObserver(() => {
        if (place.clientWidth === width) return;
        width = place.clientWidth;
        again();
      }).observe(place);
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
      document.fonts.ready.then(again);
      twin.addEventListener("toggle", () => table(twin, charts.get(place).own));
    }
    charts.set(place, { chart, key, own });
  }
  table(twin, own);
}
