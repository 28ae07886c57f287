// Shows how far a work on the server is, and its page anew once that is through. Without this script a link does.
"use strict";

import { say } from "./words.js";

const EVERY_MS = 1000;
const part = (name) => document.getElementById(name);
const COUNTED = {
  leaves: (values) => say("{done} of {of} leaves", values),
  entries: (values) => say("{done} of {of} entries", values),
  decisions: (values) => say("{done} of {of} decisions", values),
  patients: (values) => say("{done} of {of} patients", values),
};

async function look() {
  try {
    const answer = await fetch(part("running").dataset.progress, { credentials: "same-origin" });
    const { running, done, of } = answer.ok ? await answer.json() : { running: false };
    if (!running) { location.reload(); return; }
    if (of) {
      part("progress").max = of;
      part("progress").value = done;
    }
    const written = new Intl.NumberFormat(document.documentElement.lang);
    const said = COUNTED[part("running").dataset.parts];
    part("count").textContent = !of ? "" : said({ done: written.format(done), of: written.format(of) });
  } catch { /* the node is being restarted, or the network is away: looked at again */ }
  setTimeout(look, EVERY_MS);
}

setTimeout(look, EVERY_MS);
