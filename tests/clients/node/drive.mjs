// Runs every function that one client's script exports, and writes what each gave as JSON.
// Called as `node drive.mjs SCRIPT REPORT ADDRESS ASKED`; the script gets the address and what to ask as `address`, `asked`.
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [script, report, address, asked] = process.argv.slice(2);
globalThis.address = address;
globalThis.asked = JSON.parse(asked);

const outcomes = {};
for (const [name, step] of Object.entries(await import(pathToFileURL(script)))) {
  try {
    outcomes[name] = { gave: await step() };
  } catch (error) {
    outcomes[name] = { raised: error.constructor.name, said: String(error.message), at: String(error.stack) };
  }
}
writeFileSync(report, JSON.stringify(outcomes));
