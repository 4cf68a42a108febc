// What pages need beyond htmx: colours, live rows, keys of the review, charts. No page holds a script of its own.
"use strict";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const say = (text) => { $("#said").textContent = text; };

// Colours: as the system, dark, light.
const THEMES = { "": "as the system", dark: "dark", light: "light" };
function showTheme() {
  const theme = document.documentElement.dataset.theme || "";
  $("#theme").setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
  $("#theme").textContent = { "": "◐", dark: "●", light: "○" }[theme];
}
$("#theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme || "") + 1) % names.length];
  if (next) document.documentElement.dataset.theme = next; else delete document.documentElement.dataset.theme;
  localStorage.setItem("pointsman-theme", next);
  showTheme();
  drawCharts();
});
showTheme();

// Whatever says data-confirm asks first.
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm || event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

const charts = [];
function drawCharts() {
  for (const chart of charts.splice(0)) chart.destroy();
  for (const place of $$(".chart[data-chart]")) draw(place);
}

function draw(place) {
  const given = JSON.parse(place.dataset.chart);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 } };
  const dollars = (value) => value == null ? "–" : `$${value.toFixed(2)}`;
  // Whole dollars where all ticks are; else every tick has its cents.
  const ticks = (_, values) => values.map((value) => values.every(Number.isInteger) ? `$${value}` : dollars(value));
  place.textContent = "";
  const isTime = given.kind === "days";
  const options = {
    width: place.clientWidth,
    height: 260,
    scales: { x: { time: isTime } },
    legend: { live: false, markers: { fill: (_, index) => index ? colour(given.series[index - 1].colour) : "transparent" } },
    axes: [
      isTime ? { ...axis, values: [[86400, "{D} {MMM}", "\n{YYYY}"]], space: 70, incrs: [1, 2, 7, 14, 28, 84].map((days) => days * 86400) } : { ...axis, label: given.x, stroke: colour("soft"), values: ticks },
      { ...axis, size: 64, label: given.y, values: isTime ? ticks : (_, values) => values.map((value) => `${value}%`) },
    ],
    series: [
      { label: isTime ? "Day" : given.x, value: isTime ? "{YYYY}-{MM}-{DD}" : (_, value) => dollars(value) },
      ...given.series.map((line) => ({
        label: line.label, stroke: colour(line.colour), width: line.points ? 0 : 2, spanGaps: true,
        paths: line.points ? () => null : undefined,
        points: { show: true, size: line.points ? 11 : 6, fill: colour(line.colour), stroke: colour(line.colour) },
        value: (_, value) => isTime ? dollars(value) : value == null ? "–" : `${value.toFixed(1)}%`,
      })),
    ],
  };
  charts.push(new uPlot(options, given.data, place));
}
if (window.uPlot) {
  drawCharts();
  let width = window.innerWidth;
  window.addEventListener("resize", () => { if (width !== window.innerWidth) { width = window.innerWidth; drawCharts(); } });
}
document.addEventListener("htmx:afterSwap", () => { if (window.uPlot && $(".chart[data-chart]")) drawCharts(); });

// Playground: which form is shown, turns before, share links.
document.addEventListener("change", (event) => {
  const shows = event.target.dataset?.shows;
  if (shows) for (const part of $$("[data-form]")) part.hidden = part.id !== shows;
});
document.addEventListener("keydown", (event) => {
  const form = (event.ctrlKey || event.metaKey) && event.key === "Enter" && event.target.closest("#ask, #draft");
  if (form) { event.preventDefault(); form.requestSubmit(); }
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.id === "add-turn") {
    $("#before").append($("#turn-before").content.cloneNode(true));
    const added = $$("#before .turn-before");
    $("select", added.at(-1)).value = added.length % 2 ? "user" : "assistant";
    $("textarea", added.at(-1)).focus();
  } else if (button?.classList.contains("remove-turn")) {
    button.closest(".turn-before").remove();
    $("#add-turn").focus();
  } else if (button?.id === "copy-link") {
    const given = $("#share").dataset;
    const text = $("#with-text")?.checked ? given.shareText : given.share;
    const code = btoa(String.fromCharCode(...new TextEncoder().encode(text))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    const link = $("#link");
    link.value = `${location.origin}${location.pathname}#d=${code}`;
    link.hidden = false;
    link.select();
    const copied = navigator.clipboard?.writeText(link.value);
    if (copied) copied.then(() => say("The link is copied."), () => say("Copy the link from the field."));
  }
});
window.addEventListener("load", () => {
  const place = $("[data-shared]");
  if (!place || !location.hash.startsWith("#d=")) return;
  try {
    const bytes = atob(location.hash.slice(3).replaceAll("-", "+").replaceAll("_", "/"));
    const shared = new TextDecoder().decode(Uint8Array.from(bytes, (one) => one.charCodeAt(0)));
    htmx.ajax("POST", place.dataset.shared, { target: "#result", values: { shared } });
  } catch {
    htmx.ajax("POST", place.dataset.shared, { target: "#result", values: { shared: "" } });
  }
});

const ask = $("#ask");
if (ask) {
  const typing = $("#typing");
  let timer = 0;
  typing.checked = localStorage.getItem("pointsman-typing") !== "off";
  typing.addEventListener("change", () => localStorage.setItem("pointsman-typing", typing.checked ? "on" : "off"));
  ask.addEventListener("input", (event) => {
    clearTimeout(timer);
    const isPrompt = !$("#prompt-form").hidden && $("#prompt").value.trim().length > 3;
    if (typing.checked && isPrompt && event.target.matches("textarea, select, #tokens")) timer = setTimeout(() => ask.requestSubmit(), 700);
  });
  ask.addEventListener("submit", () => clearTimeout(timer));
  document.addEventListener("htmx:afterSwap", (event) => {
    const model = event.target.id === "result" && $("#decided h2");
    if (model) say(`Decided: ${model.textContent.trim()}`);
  });
}

// Live: rows as the server sends them; the browser opens the stream again by itself and says what it saw last.
const rows = $("[data-stream]");
if (rows) {
  const MOST = 200;
  const pause = $("#pause");
  let source = null;
  const show = (text, on) => { $("#pause-text").textContent = text; $(".live-dot", pause).classList.toggle("on", on); };
  const open = () => {
    source = new EventSource(rows.dataset.stream);
    source.onopen = () => show("Live, press to pause", true);
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) show("Not connected, reload the page", false); };
    source.onmessage = (event) => {
      if (!event.data) return;
      const made = document.createElement("template");
      made.innerHTML = event.data;
      const row = made.content.firstElementChild;
      if ($(`tr[data-id="${CSS.escape(row.dataset.id)}"]`, rows)) return;
      $("#none")?.remove();
      rows.prepend(row);
      while (rows.children.length > MOST) rows.lastElementChild.remove();
    };
  };
  pause.addEventListener("click", () => {
    const isPaused = pause.getAttribute("aria-pressed") === "true";
    pause.setAttribute("aria-pressed", String(!isPaused));
    if (isPaused) open(); else { source.close(); show("Paused, press to go on", false); }
  });
  addEventListener("pagehide", () => source?.close());
  open();
}

// Review: one key per label, while no field has the focus and the person wants keys.
const labels = $("#labels");
if (labels) {
  const wants = $("#keys");
  wants.checked = localStorage.getItem("pointsman-keys") !== "off";
  wants.addEventListener("change", () => localStorage.setItem("pointsman-keys", wants.checked ? "on" : "off"));
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("textarea, select, summary, button, a, input:not([type=radio]):not([type=checkbox])");
    if (!wants.checked || event.ctrlKey || event.metaKey || event.altKey || (isTyping && event.key === "Enter") || event.target.matches("textarea, select, input:not([type=radio]):not([type=checkbox])")) return;
    if (event.key === "g" || event.key === "h") {
      const part = $(event.key === "g" ? "#guide" : "#guess");
      part.open = !part.open;
      return;
    }
    const meant = $$("[data-key]", labels).find((one) => one.dataset.key === event.key);
    if (!meant) return;
    event.preventDefault();
    if (meant.type === "radio") { meant.checked = true; say(`${meant.name}: ${meant.value}`); } else labels.requestSubmit(meant);
  });
}
