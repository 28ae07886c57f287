// The page on which an officer, or a patient beside her, checks a file. Nothing leaves this browser.
"use strict";

import { readTrust, verifyFile } from "./bundle.js";
import { utf8 } from "./proof.js";
import { visible } from "./visible.js";
import { fault, say } from "./words.js";

const at = (selector) => document.querySelector(selector);

async function bytesOfFile(input) {
  const file = input.files[0];
  return file ? new Uint8Array(await file.arrayBuffer()) : null;
}

function cell(row, text) { const one = document.createElement("td"); one.textContent = visible(text); row.append(one); }

function minute(minutes) { return new Date(60000 * minutes).toISOString().slice(0, 16).replace("T", " "); }

function showRow({ index, minute: when, event }) {
  const row = document.createElement("tr"), agent = event?.agent[0];
  cell(row, String(index));
  cell(row, event ? event.recorded.slice(0, 19).replace("T", " ") : minute(when));
  cell(row, event ? `${agent.who.identifier.value} (${agent.role[0].coding[0].code})` : "");
  const deed = event && { action: event.subtype[0].code, purpose: event.purposeOfEvent[0].coding[0].code, reason: event.outcomeDesc };
  cell(row, event ? say("{action} for {purpose}: {reason}", deed) : say("not disclosed, or erased; that it happened stands"));
  cell(row, event ? (event.outcome === "0" ? say("permitted") : say("refused")) : "");
  at("#rows").append(row);
}

function summary(told) {
  const names = told.checkpoint.cosigned.map((one) => one.name).join(", ");
  const what = told.kind === "proof" ? say("This event is in the log.")
    : say("These are all {count} accesses to {subject} among the first {through} entries of the log, as of {at} UTC.", { count: told.rows.length, subject: told.subject, through: told.through, at: minute(told.minute) });
  return say("{what} {origin}, {size} entries, co-signed by {names}. Anchor: {anchor}.", { what, origin: told.checkpoint.origin, size: told.checkpoint.size, names, anchor: told.anchor });
}

async function check() {
  const verdict = at("#verdict"), data = await bytesOfFile(at("#file"));
  if (!data) return;
  at("#rows").replaceChildren();
  delete verdict.dataset.checked;
  let kind, mark, outcome;
  try {
    const trust = await readTrust((await bytesOfFile(at("#trust"))) ?? utf8(at("#own-trust").dataset.trust));
    const told = await verifyFile(data, trust);
    told.rows.forEach(showRow);
    [kind, mark, outcome] = ["good", "✓", summary(told)];
  } catch (error) { [kind, mark, outcome] = ["bad", "✗", say("This file does NOT hold: {why}", { why: fault(error) })]; }
  at("#outcome").className = `card light ${kind}`;
  at("#outcome .lamp").textContent = mark;
  verdict.textContent = visible(outcome);
  verdict.dataset.checked = kind;
  at("#outcome").hidden = false;
  at("#proven").hidden = kind !== "good";
}

for (const input of document.querySelectorAll("input[type=file]")) input.addEventListener("change", check);
