// Shows a page of live twins anew by itself: fetches it as it would be shown, and puts its live part in the old one's
// place. It waits while somebody fills in a form, while nobody looks, and once nobody has been here for a while: what
// shows itself anew for ever would keep a session from ending by itself.
"use strict";

const LEFT_ALONE_MS = 20 * 60 * 1000;
const RETRY_MS = 5000;
let paused = false;
let touched = Date.now();
let failed = 0;
let shownAt = Date.now();

const part = (name) => document.getElementById(name);
const everyMs = () => Number(document.querySelector("[data-refresh]").dataset.refresh) * 1000;

function isBusy(live) {
  const fields = [...live.querySelectorAll("form input:not([type=hidden])")];
  return live.contains(document.activeElement) && document.activeElement.closest("form")
    || fields.some((one) => one.value !== one.defaultValue);
}

function prepare() {
  const stepped = Date.now() - touched > LEFT_ALONE_MS;
  part("left-alone").hidden = !stepped || paused;
  document.querySelector(".by-itself").hidden = false;
  for (const one of document.querySelectorAll("[data-do]")) {
    one.hidden = (one.dataset.do === "pause") === (paused || stepped);
    one.onclick = () => {
      paused = one.dataset.do === "pause";
      if (!paused) { touched = Date.now(); shownAt = 0; }
      prepare();
      document.querySelector("[data-do]:not([hidden])").focus();
    };
  }
}

function replace(fresh) {
  const live = part("live");
  const open = new Set([...live.querySelectorAll("details[open]")].map((one) => one.id));
  const focused = document.activeElement && live.contains(document.activeElement) ? path(document.activeElement) : "";
  const told = fresh.dataset.tell;
  if (told !== live.dataset.tell) part("told").textContent = told;
  live.replaceWith(document.adoptNode(fresh));
  for (const one of fresh.querySelectorAll("details")) one.open = one.id !== "" && open.has(one.id);
  prepare();
  if (focused) fresh.querySelector(focused)?.focus({ preventScroll: true });
}

function path(one) {
  if (one.dataset.do) return `[data-do="${one.dataset.do}"]`;
  if (one.id) return `#${CSS.escape(one.id)}`;
  const link = one.getAttribute("href");
  if (link) return `a[href="${CSS.escape(link)}"]`;
  return one.tagName === "SUMMARY" && one.parentElement.id ? `#${CSS.escape(one.parentElement.id)} > summary` : "";
}

async function showAnew() {
  const answer = await fetch(location.href, { credentials: "same-origin", headers: { accept: "text/html" } });
  if (answer.redirected || answer.status === 403) { location.reload(); return; }
  if (!answer.ok) throw new Error();
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
  if (!fresh) throw new Error();
  if (!isBusy(part("live"))) replace(fresh);
}

async function look() {
  const wait = failed ? RETRY_MS : everyMs();
  const stepped = Date.now() - touched > LEFT_ALONE_MS;
  if (stepped && part("left-alone").hidden) prepare();
  const due = Date.now() - shownAt >= wait && !paused && !stepped && !document.hidden && !isBusy(part("live"));
  if (due) {
    shownAt = Date.now();
    try {
      await showAnew();
      failed = 0;
    } catch {
      failed += 1;
    }
    part("stale").hidden = failed < 2;
  }
  setTimeout(look, 1000);
}

for (const kind of ["pointerdown", "keydown", "wheel", "touchstart"]) {
  addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
}
prepare();
look();
