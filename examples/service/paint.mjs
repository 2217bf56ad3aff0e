// Paints a photograph through a running `impasto serve`: node paint.mjs PHOTO STYLE OUT. The same works in a browser
// whose page the service allows (--origin). STYLE is a picture, or an id such as museum:436535.

import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { basename } from "node:path";

const service = process.env.IMPASTO_SERVICE ?? "http://127.0.0.1:8000";
const headers = process.env.IMPASTO_KEY ? { Authorization: `Bearer ${process.env.IMPASTO_KEY}` } : {};
const [photo, style, out] = process.argv.slice(2);

async function call(path, more = {}) {
  const answer = await fetch(service + path, { headers, ...more });
  if (!answer.ok) {
    const told = await answer.json();
    throw new Error(`${told.error}; ${told.hint}`);
  }
  return answer;
}

async function* eventsOf(answer) {
  let text = "";
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
    const blocks = (text + piece).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const lines = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s)));
      if (lines.event) yield { kind: lines.event, data: JSON.parse(lines.data) };
    }
  }
}

async function picture(path) {
  return [new Blob([await readFile(path)]), basename(path)];
}

const form = new FormData();
form.append("content", ...(await picture(photo)));
if (existsSync(style)) form.append("style", ...(await picture(style)));
else form.append("style", style);
form.append("quality", "draft");

try {
  const job = await (await call("/v1/jobs", { method: "POST", body: form })).json();
  for await (const { kind, data } of eventsOf(await call(`/v1/jobs/${job.id}/events`))) {
    if (kind === "progress") console.log(`${data.stage}: ${Math.round(100 * data.share)} %`);
    if (kind === "failed" || kind === "cancelled") throw new Error(data.error.error);
  }
  const result = await call(`/v1/jobs/${job.id}/result`);
  await writeFile(out, Buffer.from(await result.arrayBuffer()));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
