// What breaks things, for the page of the one person who runs the demo. It ends processes: so it listens to pages of
// its own origin only, that show a token which nobody else was given, under names that only this machine has.

import { timingSafeEqual } from 'node:crypto';

const LOOPBACK = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/;
const MAX_BODY = 1_024;
const BODY_MS = 2_000;

/** `state` tells the ledger; `actions` are what can be asked for, by name, each with the form that was sent. */
export function buttons({ token, state, actions, tell }) {
  return (req, res) => {
    const path = req.url.split('?', 1)[0].slice('/control/'.length);
    const known = LOOPBACK.test(req.headers.host ?? '');
    // A foreign name that leads here is how a foreign page would read ours.
    if (!known) answer(res, 421, { error: 'Only under 127.0.0.1 or localhost.' });
    else if (path === 'ledger' && req.method === 'GET') answer(res, 200, state());
    else if (!Object.hasOwn(actions, path)) answer(res, 404, { error: 'Nothing here.' });
    else if (req.method !== 'POST') answer(res, 405, { error: 'Only POST here.' }, { Allow: 'POST' });
    else if (req.headers.origin !== `http://${req.headers.host}`) answer(res, 403, { error: 'Only from the page of the demo.' });
    else act(req, res, { token, action: actions[path], tell, path });
  };
}

async function act(req, res, { token, action, tell, path }) {
  try {
    const form = new URLSearchParams(await body(req));
    if (!same(form.get('token') ?? '', token)) {
      answer(res, 403, { error: 'The token is not that of the page; reload it.' });
      return;
    }
    await action(form);
    tell(`asked to: ${path} ${form.get('pod') ?? ''}`.trimEnd());
    // Without JavaScript the browser is to show the page again.
    if (req.headers.accept?.includes('text/html')) answer(res, 303, {}, { Location: '/' });
    else answer(res, 202, {});
  } catch (error) {
    answer(res, error instanceof Refused ? 400 : 503, { error: error.message });
  }
}

/** The asker's own fault. */
export class Refused extends Error {}

async function body(req) {
  const late = setTimeout(() => req.destroy(), BODY_MS);
  const chunks = [];
  let size = 0;
  try {
    for await (const chunk of req) {
      size += chunk.length;
      if (size > MAX_BODY) throw new Refused('The form is too large.');
      chunks.push(chunk);
    }
  } finally {
    clearTimeout(late);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function same(given, token) {
  const [a, b] = [Buffer.from(given), Buffer.from(token)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function answer(res, status, value, headers = {}) {
  if (res.headersSent || res.destroyed) return;
  const plain = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' };
  res.writeHead(status, { ...plain, ...headers });
  res.end(`${JSON.stringify(value)}\n`);
}
