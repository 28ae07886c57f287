// Keeps what somebody entered where it was not taken: a form that was refused, or a page that first asked who it is.
// On the way back it stands in its form again. It is kept in this tab alone, for a quarter of an hour, and sealed under
// a key that this account's pages carry and no others: nobody else opens it, nor anybody who is not signed in. It is gone
// with the first page that says it was taken. Passwords, files, hidden fields and whom an officer looks up by name are
// never kept.
"use strict";

import { base64Of, bytesOf, joined, utf8 } from "./proof.js";
import { say } from "./words.js";

const SLOT = "twinward:entered";
const KEPT_MS = 15 * 60_000;
const ANSWERED_MS = 2 * 60_000; // a page that refuses comes soon after the form was sent
const NONCE_BYTES = 12;
const NEVER = new Set(["hidden", "password", "file", "submit", "button", "reset", "image"]);

const here = location.pathname + location.search;
const isDetour = document.body.dataset.detour !== undefined;
const carried = document.body.dataset.keptKey;
const key = carried ? await crypto.subtle.importKey("raw", bytesOf(carried), "AES-GCM", false, ["encrypt", "decrypt"]) : null;

const fieldsOf = (form) => [...form.elements].filter((one) => one.name && !NEVER.has(one.type));
const isChoice = (one) => one.type === "checkbox" || one.type === "radio";

// A form by where it leads and by what its hidden fields say: a newer version of what is changed is another form.
const named = (form) => JSON.stringify([
  form.getAttribute("action"),
  ...[...form.elements].filter((one) => one.type === "hidden" && one.name !== "csrf").map((one) => [one.name, one.value]),
]);

async function sealed(said) {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const content = await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce }, key, utf8(JSON.stringify(said)));
  return base64Of(joined(nonce, new Uint8Array(content)));
}

async function opened(text) {
  const bytes = bytesOf(text), iv = bytes.slice(0, NONCE_BYTES);
  try {
    const content = await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, bytes.slice(NONCE_BYTES));
    return JSON.parse(new TextDecoder().decode(content));
  } catch { return null; } // another account's
}

// Sealed while it is entered, so that it is there at the moment the form is sent.
const entered = new WeakMap();

async function follow(form) {
  if (!key || isDetour || form.dataset.kept === "no") return;
  const values = fieldsOf(form).map((one) => [one.name, isChoice(one) ? one.value : "", isChoice(one) ? one.checked : one.value]);
  const turn = (entered.get(form)?.turn ?? 0) + 1;
  entered.set(form, { ...entered.get(form), turn });
  const text = await sealed({ path: here, form: named(form), values });
  if (entered.get(form).turn === turn) entered.set(form, { turn, text });
}

function enterAgain({ form: name, values }) {
  const form = [...document.forms].find((one) => named(one) === name);
  if (!form) return;
  for (const [field, which, value] of values) {
    const found = fieldsOf(form).find((one) => one.name === field && (!isChoice(one) || one.value === which));
    if (found && isChoice(found)) found.checked = value;
    else if (found) found.value = value;
  }
  const note = document.createElement("p");
  note.className = "alert";
  note.setAttribute("role", "status");
  note.textContent = say("What you entered is here again. It was not taken yet.");
  form.before(note);
  form.closest("details")?.setAttribute("open", "");
  follow(form);
}

// On the page that came in between: the way back leads to the form.
function leadBack(path) {
  const back = document.querySelector("#back");
  if (back) {
    back.href = path;
    back.textContent = say("Back to what you entered");
  }
  for (const next of document.querySelectorAll('input[name="next"]')) next.value = path;
}

// On the first page after a sign-in, which is another than the one that was left.
function offerBack(path) {
  const note = document.createElement("p"), back = document.createElement("a");
  note.className = "alert";
  note.setAttribute("role", "status");
  back.href = path;
  back.textContent = say("Back to what you entered");
  note.append(say("What you entered was not taken, and is kept for a while."), " ", back);
  document.querySelector("main").prepend(note);
}

async function look() {
  const kept = JSON.parse(sessionStorage.getItem(SLOT) || "null");
  if (!kept) return;
  const age = Date.now() - kept.at;
  const said = key && age < KEPT_MS ? await opened(kept.text) : null;
  if (age > KEPT_MS || (key && !said) || (!key && !isDetour)) sessionStorage.removeItem(SLOT);
  else if (isDetour && (kept.refused || age < ANSWERED_MS)) {
    sessionStorage.setItem(SLOT, JSON.stringify({ ...kept, refused: true }));
    if (said) leadBack(said.path);
  } else if (!kept.refused || said.path === here) {
    sessionStorage.removeItem(SLOT);
    if (kept.refused) enterAgain(said);
  } else if (!kept.offered) {
    sessionStorage.setItem(SLOT, JSON.stringify({ ...kept, offered: true }));
    offerBack(said.path);
  }
}

for (const event of ["input", "change"]) document.addEventListener(event, ({ target }) => { if (target.form) follow(target.form); });
document.addEventListener("submit", (event) => {
  const text = event.defaultPrevented ? null : entered.get(event.target)?.text;
  if (text) sessionStorage.setItem(SLOT, JSON.stringify({ at: Date.now(), refused: false, text }));
});
await look();
