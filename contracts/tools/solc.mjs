#!/usr/bin/env node
// What forge takes for a native solc: the compiler of node_modules/solc, offline. Understands just what forge asks:
//   solc --version
//   solc --standard-json [--base-path P] [--include-path P] [--allow-paths P]   (input on stdin)
// Forge hands in every source's text, so no import has to be looked up here.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const solc = createRequire(import.meta.url)("solc");

if (process.argv.includes("--version")) {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}`);
} else if (process.argv.includes("--standard-json")) {
  process.stdout.write(solc.compile(readFileSync(0, "utf8")));
} else {
  console.error("only --version and --standard-json are understood");
  process.exit(1);
}
