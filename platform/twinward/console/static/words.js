// What scripts say, in the language of the page, which carries the words (console/script_words.py). English stands here.
"use strict";

const known = JSON.parse(document.body.dataset.words || "{}");

// A message of a script: named in the code where it is said, with its values' names in braces.
export const say = (text, values = {}) => (known[text] ?? text).replace(/{(\w+)}/g, (whole, name) => values[name] ?? whole);

// A fault of proof.js or bundle.js, which speak to nobody: their messages are looked up here. Others stay as they are.
export const fault = (error) => say(String(error.message || error));
