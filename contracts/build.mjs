// Compiles src/ with solcjs into twinward_contracts/compiled/NAME.json, the same bytes every time.
//   node build.mjs            write them
//   node build.mjs --check    compare only: print what differs, exit 1
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "twinward_contracts", "compiled");
const libraries = new Set(["Bls12381", "Rfc6962"]);
const abstracts = new Set(["Changes", "Members"]);

// No metadata hash: it covers comments, so a reworded one would change the bytecode.
// Foundry reads the same settings from foundry.toml; tests/unit/contracts holds the two together.
const settings = {
  evmVersion: "prague",
  viaIR: true,
  optimizer: { enabled: true, runs: 1000 },
  metadata: { bytecodeHash: "none", appendCBOR: false },
};

function sources() {
  const names = readdirSync(join(here, "src")).filter((name) => name.endsWith(".sol")).sort();
  return Object.fromEntries(names.map((name) => [`src/${name}`, { content: readFileSync(join(here, "src", name), "utf8") }]));
}

function findImport(path) {
  const file = path.startsWith("@") ? join(here, "node_modules", path) : join(here, path);
  return existsSync(file) ? { contents: readFileSync(file, "utf8") } : { error: `${path} is missing: run npm ci` };
}

function compile() {
  const solc = createRequire(import.meta.url)("solc");
  const input = {
    language: "Solidity",
    sources: sources(),
    settings: { ...settings, outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } } },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
  const problems = (output.errors ?? []).filter((entry) => entry.severity !== "info");
  if (problems.length > 0) {
    console.error(problems.map((entry) => entry.formattedMessage).join("\n"));
    process.exit(1);
  }
  const compiler = solc.version().replace(/\.Emscripten\.clang$/, "");
  return Object.fromEntries(
    Object.entries(output.contracts)
      .filter(([path]) => path.startsWith("src/"))
      .flatMap(([, contracts]) => Object.entries(contracts))
      .filter(([name]) => !libraries.has(name) && !abstracts.has(name))
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([name, contract]) => [
        `${name}.json`,
        JSON.stringify({ name, compiler, settings, abi: contract.abi, bytecode: `0x${contract.evm.bytecode.object}` }, null, 1) + "\n",
      ]),
  );
}

function stale(artefacts) {
  const present = existsSync(target) ? readdirSync(target).filter((name) => name.endsWith(".json")) : [];
  const read = (name) => (present.includes(name) ? readFileSync(join(target, name), "utf8") : undefined);
  const changed = Object.keys(artefacts).filter((name) => read(name) !== artefacts[name]);
  return { changed, extra: present.filter((name) => !(name in artefacts)) };
}

const artefacts = compile();
const { changed, extra } = stale(artefacts);
if (process.argv.includes("--check")) {
  for (const name of changed) console.error(`${name} is not what src/ compiles to`);
  for (const name of extra) console.error(`${name} has no source`);
  process.exit(changed.length + extra.length > 0 ? 1 : 0);
}
mkdirSync(target, { recursive: true });
for (const name of changed) writeFileSync(join(target, name), artefacts[name]);
for (const name of extra) rmSync(join(target, name));
console.log(`${Object.keys(artefacts).length} artefacts, ${changed.length} written, ${extra.length} removed`);
