// Opens COUNT sessions through the sidecar and writes their ids to SESSIONS, one in each line.
//
//   node seed.js SIDECAR_URL SESSIONS COUNT

import { writeFileSync } from 'node:fs';
import { document } from './document.js';

const [url, file, count] = process.argv.slice(2);
const headers = { 'Content-Type': 'application/json' };
const ids = [];
for (let n = 0; n < Number(count); n += 1) {
  const answer = await fetch(`${url}/v1/sessions`, { method: 'POST', headers, body: JSON.stringify(document()) });
  if (answer.status !== 201) throw new Error(`the sidecar answered ${answer.status}: ${await answer.text()}`);
  await answer.arrayBuffer();
  ids.push(answer.headers.get('location').split('/').pop());
}
writeFileSync(file, `${ids.join('\n')}\n`);
