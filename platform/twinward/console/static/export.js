// Fetches a file that is still being made, shows how far it is, and hands it to the browser's downloads. What comes is
// lines of JSON, the last of which says how many bytes of the file follow (console/file_stream.py). Without this script
// the link downloads the same file.
"use strict";

import { visible } from "./visible.js";
import { say } from "./words.js";

const KIND = "application/vnd.twinward.file-in-progress";
const NEWLINE = 10;
const part = (name) => document.getElementById(name);

function tell(text, kind = "") {
  part("told").textContent = visible(text);
  part("export").dataset.state = kind;
}

function interrupted() {
  const why = say("The download was interrupted. Nothing was kept; load this page again to begin anew.");
  return new Error(why);
}

const STEPS = {
  read: (values) => say("{done} of {of} entries of the log are looked through", values),
  proven: (values) => say("{done} of {of} rows are opened and proven", values),
  printed: (values) => say("{done} of {of} rows are on paper", values),
};

function show({ step, done, of }) {
  part("progress").max = of;
  part("progress").value = done;
  const written = new Intl.NumberFormat(document.documentElement.lang);
  part("count").textContent = STEPS[step]({ done: written.format(done), of: written.format(of) });
}

// The lines up to the one with a size or an error, and what of the file came along with it.
async function announced(reader) {
  let held = new Uint8Array();
  for (let { value: piece, done } = await reader.read(); !done; { value: piece, done } = await reader.read()) {
    const joined = new Uint8Array(held.length + piece.length);
    joined.set(held);
    joined.set(piece, held.length);
    held = joined;
    for (let end = held.indexOf(NEWLINE); end >= 0; end = held.indexOf(NEWLINE)) {
      const line = JSON.parse(new TextDecoder().decode(held.subarray(0, end)));
      held = held.slice(end + 1);
      if (line.error) throw new Error(line.error);
      if (line.size !== undefined) return { line, first: held };
      show(line);
    }
  }
  throw interrupted();
}

async function take() {
  const link = part("file");
  const answer = await fetch(link.href, { credentials: "same-origin", headers: { accept: KIND } });
  if (!answer.ok || answer.headers.get("content-type") !== KIND) { location.assign(link.href); return; } // it says why
  tell(say("The file is being made …"), "busy");
  part("bar").hidden = false;
  const reader = answer.body.getReader();
  const { line, first } = await announced(reader);
  const parts = [first];
  let size = first.length;
  for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
    parts.push(value);
    size += value.length;
  }
  if (size !== line.size) throw interrupted();
  link.href = URL.createObjectURL(new Blob(parts, { type: line.type }));
  link.download = line.name;
  part("bar").hidden = true;
  tell(say("{name} is made: {size} bytes. It is in your browser’s downloads; the button saves it once more.", { name: line.name, size: new Intl.NumberFormat(document.documentElement.lang).format(size) }), "done");
  link.click();
}

async function begin() {
  try {
    await take();
  } catch (error) {
    part("bar").hidden = true;
    tell((error instanceof TypeError ? interrupted() : error).message, "failed");
  }
}

begin();
