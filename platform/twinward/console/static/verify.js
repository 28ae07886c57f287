// The page's side of proof.js: fetches proofs, checks them, writes the badges. Nothing here asks the server whether a
// row is right; the server only hands over leaf, path and checkpoint, and the row itself carries what opens its leaf.
// What this browser saw last is kept in this browser: the server cannot make it forget.
"use strict";

import { base64Of, bytesOf, equal, openCheckpoint, verifyConsistency, verifyInclusion, verifyOpening } from "./proof.js";
import { visible } from "./visible.js";
import { fault, say } from "./words.js";

const AT_ONCE = 6;          // requests under way, as many as a browser opens to one host anyway
const SLOT = "twinward:log";

const page = document.body.dataset;

class AnotherLog extends Error {}

function remembered() {
  const seen = JSON.parse(localStorage.getItem(SLOT) || "null");
  if (seen && seen.origin !== page.origin) throw anotherLog();
  return seen;
}

const anotherLog = () => new AnotherLog(say("this is another log, or signed with another key, than the one this browser remembers"));

// From the key this browser remembers to the page's: each change is a checkpoint that both keys signed.
async function followKeys(seen, changes) {
  let known = seen.key;
  for (const { key, note } of changes) {
    if (known === page.logKey) break;
    try {
      await openCheckpoint(note, page.origin, bytesOf(known));
      await openCheckpoint(note, page.origin, bytesOf(key));
      known = key;
    } catch { /* a change before the one this browser remembers */ }
  }
  if (known !== page.logKey) throw anotherLog();
}

// A checkpoint of this log: signed with the key that counts for its size. Keys are [key, until], the newest last.
async function openOwn(note) {
  const keys = JSON.parse(page.logKeys);
  let fault;
  for (let at = keys.length - 1; at >= 0; at -= 1) {
    try {
      const checkpoint = await openCheckpoint(note, page.origin, bytesOf(keys[at][0]));
      if (checkpoint.size < (at ? keys[at - 1][1] : 0)) throw new Error("signed with a key that counts for larger sizes only");
      if (keys[at][1] !== null && checkpoint.size > keys[at][1]) throw new Error("signed with a key that the log has replaced");
      return checkpoint;
    } catch (error) { fault = fault ?? error; }
  }
  throw fault;
}

function remember({ size, root }) {
  localStorage.setItem(SLOT, JSON.stringify({ origin: page.origin, key: page.logKey, size, root: base64Of(root) }));
}

async function ask(address) {
  const answer = await fetch(address, { credentials: "same-origin", headers: { accept: "application/json" } });
  if (answer.status === 401) throw new Error("you are signed out; sign in again");
  return { found: answer.ok, told: await answer.json() };
}

// The newest checkpoint, held against what this browser saw before. Resolves to null where nothing is signed yet.
export async function checkGrowth() {
  const seen = remembered();
  const { found, told } = await ask(`/console/consistency?old=${seen ? seen.size : 1}`);
  if (!found && !seen) return null;
  if (seen && seen.key !== page.logKey) await followKeys(seen, (found && told.key_changes) || []);
  if (!found) throw new Error(say("this browser saw {size} signed events; the server shows no log that continues them", { size: seen.size }));
  const now = await openOwn(told.checkpoint);
  if (seen) await verifyConsistency(seen.size, now.size, told.path.map(bytesOf), bytesOf(seen.root), now.root);
  remember(now);
  return { seen, now };
}

// A proof may come under an older, anchored checkpoint: that one must be a prefix of the log this browser remembers.
async function checkSameLog(checkpoint, head) {
  if (!head || (checkpoint.size === head.size && equal(checkpoint.root, head.root))) return;
  const { found, told } = await ask(`/console/consistency?old=${checkpoint.size}&new=${head.size}`);
  if (!found) throw new Error("the proof's checkpoint is not part of the log this browser remembers");
  await verifyConsistency(checkpoint.size, head.size, told.path.map(bytesOf), checkpoint.root, head.root);
}

const detail = (event, type) => event.entity[0].detail.filter((one) => one.type === type).map((one) => one.valueString);

// What each marked cell must show, read from the event's own bytes (an AuditEvent, audit/event_format.py).
const SAYS = {
  at: (event) => event.recorded.slice(0, 19).replace("T", " "),
  agent: (event) => event.agent[0].who.identifier.value,
  role: (event) => event.agent[0].role[0].coding[0].code,
  unit: (event) => event.agent[0].location?.display ?? "",
  action: (event) => event.subtype[0].code,
  purpose: (event) => event.purposeOfEvent[0].coding[0].code,
  twin: (event) => event.entity[0].what?.identifier.value ?? "",
  categories: (event) => detail(event, "category").join(", "),
  consent: (event) => detail(event, "consent-version").join(),
  decision: (event) => (event.outcome === "0" ? "permit" : "deny"),
  reason: (event) => event.outcomeDesc,
  account: (event) => detail(event, "x-account").join(),
  change: (event) => detail(event, "x-change").join(),
  justification: (event) => detail(event, "x-justification").join(),
};

const ALWAYS = ["at", "agent", "role", "action", "purpose", "decision", "reason"];

// A cell shows its value, made visible as the server makes it, or names it in data-code and shows it in words; both are
// the cell's claim about the event.
const said = (name, event) => (name.startsWith("x-") ? detail(event, name).join() : SAYS[name](event));

// The time is shown by the viewer's clock: this browser reads its own off the instant that was signed.
function checkTime(cell, event) {
  const parts = new Intl.DateTimeFormat("en-GB", {
    timeZone: page.zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
  }).formatToParts(new Date(event.recorded));
  const part = (type) => parts.find((one) => one.type === type).value;
  const day = page.language === "de" ? `${part("day")}.${part("month")}.${part("year")},` : `${part("year")}-${part("month")}-${part("day")}`;
  const own = `${day} ${part("hour")}:${part("minute")}:${part("second")}`;
  if (!cell.textContent.trim().startsWith(`${own} `)) throw new Error(say("the row shows another {name} than the log", { name: "at" }));
}

function checkCells(row, event) {
  for (const name of ALWAYS) if (!row.querySelector(`[data-field="${name}"]`)) throw new Error(say("the row does not show: {name}", { name }));
  checkTime(row.querySelector('[data-field="at"]'), event);
  for (const cell of row.querySelectorAll("[data-field]")) {
    const claimed = cell.dataset.code ?? cell.textContent.trim();
    if (claimed !== visible(said(cell.dataset.field, event)).trim()) throw new Error(say("the row shows another {name} than the log", { name: cell.dataset.field }));
  }
}

// What is claimed of one event: its line in a table, or the whole page that is about it.
const rowOf = (badge) => badge.closest("[data-row]") ?? badge.closest("tr");

async function verifyRow(badge, checkpoints) {
  const { found, told } = await ask(badge.dataset.proof);
  if (!found) throw new Error("the server gave no proof");
  if (!checkpoints.has(told.checkpoint)) checkpoints.set(told.checkpoint, checkpoints.open(told.checkpoint));
  const checkpoint = await checkpoints.get(told.checkpoint);
  const leaf = bytesOf(told.leaf);
  await verifyInclusion(Number(badge.dataset.index), checkpoint.size, leaf, told.path.map(bytesOf), checkpoint.root);
  if (!badge.dataset.event) {
    if (rowOf(badge).querySelector("[data-field]")) throw new Error("the row shows an event, but not what opens its leaf");
    return "erased";
  }
  const opening = { key: bytesOf(badge.dataset.key), salt: bytesOf(badge.dataset.salt), event: bytesOf(badge.dataset.event) };
  await verifyOpening(leaf, opening);
  checkCells(rowOf(badge), JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(opening.event)));
  return "proven";
}

function show(badge, kind, text, title) {
  badge.className = `badge ${kind}`;
  badge.textContent = text;
  badge.title = title;
}

async function settle(badge, checkpoints) {
  if (badge.dataset.state === "damaged") { show(badge, "bad", say("✗ damaged"), say("what is stored for this row is not what the log committed to")); return "bad"; }
  if (badge.dataset.sealed === "no") { show(badge, "plain", say("not signed yet"), say("newer than the newest signed checkpoint")); return "waiting"; }
  try {
    const outcome = await verifyRow(badge, checkpoints);
    if (outcome === "erased") show(badge, "good", say("✓ in the log"), say("the content was erased; your browser checked leaf, path and signature"));
    else show(badge, "good", say("✓ proven"), say("your browser checked this row's words against its leaf, the leaf's path and the log's signature"));
    return "good";
  } catch (error) { show(badge, "bad", say("✗ refused"), fault(error)); return "bad"; }
}

function sum(counts, total) {
  if (counts.bad) return ["bad", say("✗ {bad} of {total} rows do NOT verify", { bad: counts.bad, total })];
  const waiting = counts.waiting ? say("{waiting} not signed yet", { waiting: counts.waiting }) : "";
  if (!counts.good) return ["plain", waiting || say("no rows to prove")];
  const proven = counts.good === 1 ? say("✓ 1 row proven by this browser") : say("✓ {good} rows proven by this browser", { good: counts.good });
  return ["good", [proven, waiting].filter(Boolean).join(", ")];
}

export async function verifyTable(summary) {
  const badges = [...document.querySelectorAll("[data-proof]")], counts = { good: 0, bad: 0, waiting: 0 };
  let kind, text;
  try {
    const growth = badges.length ? await checkGrowth() : null;
    const checkpoints = new Map();
    checkpoints.open = async (note) => {
      const checkpoint = await openOwn(note);
      await checkSameLog(checkpoint, growth && growth.now);
      return checkpoint;
    };
    const queue = badges.slice();
    const work = async () => { for (let badge; (badge = queue.shift());) counts[await settle(badge, checkpoints)] += 1; };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    [kind, text] = sum(counts, badges.length);
  } catch (error) {
    for (const badge of badges) show(badge, "bad", say("✗ refused"), fault(error));
    [kind, text] = ["bad", say("✗ NOT verified: {why}", { why: fault(error) })];
  }
  summary.textContent = text;
  summary.className = `badge ${kind}`;
  summary.dataset.checked = kind;
}

function alarm(message) {
  document.querySelector("#light").className = "card light bad";
  document.querySelector("#light .lamp").textContent = "✗";
  document.querySelector("#lamp").textContent = say("No. Your own browser contradicts this server. Keep this page and call the data office.");
  return say("NOT append-only: {why}", { why: message });
}

async function showGrowth(line) {
  const sign = document.querySelector("#append-only-sign");
  let kind = "good", mark = "✓", told;
  try {
    const growth = await checkGrowth(), number = new Intl.NumberFormat(document.documentElement.lang);
    if (!growth) [kind, mark, told] = ["warn", "!", say("nothing is signed yet that this browser could remember")];
    else if (!growth.seen) told = say("This browser now remembers the log at {size} events, and will check that it only grows", { size: number.format(growth.now.size) });
    else told = say("Append-only: this browser checked that the {seen} events it saw last are the first of today's {size}", { seen: number.format(growth.seen.size), size: number.format(growth.now.size) });
  } catch (error) {
    [kind, mark, told] = ["bad", "✗", alarm(fault(error))];
    if (error instanceof AnotherLog) document.querySelector("#another-log").hidden = false;
  }
  sign.className = `tick ${kind}`;
  sign.textContent = mark;
  line.textContent = told;
  line.dataset.checked = kind;
}

const summary = document.querySelector("#verified"), line = document.querySelector("#append-only");
if (summary) verifyTable(summary);
if (line) showGrowth(line);
document.querySelector("#forget-log")?.addEventListener("click", () => { localStorage.removeItem(SLOT); location.reload(); });
