// The page on which an officer, or a patient beside her, checks a file. Nothing leaves this browser.
"use strict";

import { readTrust, verifyFile } from "./bundle.js";
import { utf8 } from "./proof.js";
import { visible } from "./visible.js";

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
  cell(row, event ? `${event.subtype[0].code} for ${event.purposeOfEvent[0].coding[0].code}: ${event.outcomeDesc}` : "not disclosed, or erased; that it happened stands");
  cell(row, event ? (event.outcome === "0" ? "permitted" : "refused") : "");
  at("#rows").append(row);
}

function summary(told) {
  const names = told.checkpoint.cosigned.map((one) => one.name).join(", ");
  const what = told.kind === "proof" ? "This event is in the log."
    : `These are all ${told.rows.length} accesses to ${told.subject} among the first ${told.through} entries of the log, as of ${minute(told.minute)} UTC.`;
  return `${what} ${told.checkpoint.origin}, ${told.checkpoint.size} entries, co-signed by ${names}. Anchor: ${told.anchor}.`;
}

async function check() {
  const verdict = at("#verdict"), data = await bytesOfFile(at("#file"));
  if (!data) return;
  at("#rows").replaceChildren();
  delete verdict.dataset.checked;
  let kind, mark, say;
  try {
    const trust = await readTrust((await bytesOfFile(at("#trust"))) ?? utf8(at("#own-trust").dataset.trust));
    const told = await verifyFile(data, trust);
    told.rows.forEach(showRow);
    [kind, mark, say] = ["good", "✓", summary(told)];
  } catch (error) { [kind, mark, say] = ["bad", "✗", `This file does NOT hold: ${error.message || error}`]; }
  at("#outcome").className = `card light ${kind}`;
  at("#outcome .lamp").textContent = mark;
  verdict.textContent = visible(say);
  verdict.dataset.checked = kind;
  at("#outcome").hidden = false;
  at("#proven").hidden = kind !== "good";
}

for (const input of document.querySelectorAll("input[type=file]")) input.addEventListener("change", check);
