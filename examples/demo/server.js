// A plain web app. It keeps one session per visitor, and knows nothing of Redis, of Kubernetes or of the other
// pods: sessions are HTTP on localhost.
//
//   GET /          the page; counts a visit          GET /visit     counts a visit, answers JSON
//   GET /session   the visitor without counting      GET /healthz   the process answers
//   GET /view      all that the page shows, JSON     GET /events    what pods tell each other, as it happens
//   GET /leader    who leads                         POST /broadcast    tells all pods something
//   POST /invalidate   tells all pods to forget something, and answers when they have
//   /api/sessions* the sidecar's own API, passed through unchanged

import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import { readFileSync } from 'node:fs';
import { answer, cookie, HTML, JSON_TYPE, json, ownPage, setCookie, TEXT } from './answers.js';
import * as feed from './feed.js';
import { greetedAt, kinds, tell } from './messages.js';
import { page, unavailablePage } from './page.js';
import { call, passThrough, Unavailable } from './sidecar.js';
import { cluster, faults, view } from './view.js';
import { look, visit } from './visits.js';

const PORT = Number(process.env.PORT || 3000);
const HOST = process.env.HOST; // unset: every interface
const POD = process.env.POD_NAME || os.hostname();
// After SIGTERM: how long a quiet connection may still bring a request, and when we leave in any case.
const IDLE_MS = 2_000;
const LEAVE_MS = 20_000;

const files = new Map(['style.css', 'live.js', 'render.js'].map((name) => [`/${name}`, {
  type: name.endsWith('.css') ? 'text/css; charset=utf-8' : 'text/javascript; charset=utf-8',
  bytes: readFileSync(new URL(`public/${name}`, import.meta.url)),
}]));

const server = http.createServer((req, res) => {
  if (stopping) res.setHeader('Connection', 'close');
  const path = req.url.split('?', 1)[0];
  route(req, res, path).catch((error) => report(res, path, error));
});
// Longer than the idle time of the proxies before us: the side that sends requests should be the one that closes.
server.keepAliveTimeout = 75_000;
server.maxConnections = 4_096;
server.on('clientError', (error, socket) => {
  if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
});

async function route(req, res, path) {
  if (path === '/api/sessions' || path.startsWith('/api/sessions/')) {
    passThrough(req, res);
  } else if (req.method === 'POST' && kinds.includes(path.slice(1))) {
    await told(req, res, path.slice(1));
  } else if (req.method !== 'GET' && req.method !== 'HEAD') {
    answer(res, 405, TEXT, 'Only GET here.\n', { Allow: 'GET, HEAD' });
  } else if (path === '/healthz') {
    answer(res, 200, TEXT, 'ok\n');
  } else if (files.has(path)) {
    const { type, bytes } = files.get(path);
    answer(res, 200, type, bytes, { 'Cache-Control': 'public, max-age=60' });
  } else if (path === '/visit') {
    await visited(req, res, (visitor) => answer(res, 200, JSON_TYPE, json(visitor)));
  } else if (path === '/') {
    await visited(req, res, async (visitor) => {
      const [seen, control] = await Promise.all([cluster(), faults(req.headers.host)]);
      answer(res, 200, HTML, page({ ...visitor, cluster: seen, faults: control, entries: feed.recent(), made: { [POD]: greetedAt() } }));
    });
  } else if (path === '/session') {
    const found = await look(cookie(req));
    answer(res, found ? 200 : 404, JSON_TYPE, json(found ? { pod: POD, ...found } : { pod: POD }));
  } else if (path === '/view') {
    answer(res, 200, JSON_TYPE, json(await view(POD, cookie(req))));
  } else if (path === '/leader') {
    const { status, body } = await call('GET', '/v1/leader');
    answer(res, status, JSON_TYPE, json(body ?? {}));
  } else if (path === '/events' && req.method === 'GET') {
    if (!feed.stream(res, req.headers['last-event-id'])) throw new Unavailable('too many look on');
  } else {
    answer(res, 404, TEXT, 'Nothing here. Try /\n');
  }
}

/** Tells all pods; a form without JavaScript gets the page again. */
async function told(req, res, kind) {
  req.resume();
  if (!ownPage(req)) {
    answer(res, 403, JSON_TYPE, json({ error: 'Only from a page of this app.' }));
    return;
  }
  const { status, body } = await tell(kind);
  if (req.headers.accept?.includes('text/html')) answer(res, 303, TEXT, '', { Location: '/' });
  else answer(res, status, JSON_TYPE, json(body));
}

/** HEAD looks, GET counts. The cookie is renewed with every visit, as the session's life is. */
async function visited(req, res, show) {
  const known = cookie(req);
  const visitor = req.method === 'HEAD' ? await look(known) : await visit(known);
  if (visitor !== undefined) res.setHeader('Set-Cookie', setCookie(req, visitor.sessionId));
  await show({ pod: POD, ...(visitor ?? { sessionId: null, visits: 0, ageSeconds: 0 }) });
}

function report(res, path, error) {
  const calm = error instanceof Unavailable;
  if (!calm) log('error', 'request failed', { path, error: error.message });
  if (res.headersSent) {
    res.destroy();
    return;
  }
  const retryAfter = calm ? error.retryAfter : 1;
  const status = calm ? 503 : 500;
  // The cookie stays as it is: the session is out of reach, not gone.
  const headers = { 'Retry-After': String(retryAfter) };
  if (path === '/') {
    answer(res, status, HTML, unavailablePage({ pod: POD, retryAfter }), headers);
  } else {
    answer(res, status, JSON_TYPE, json({ pod: POD, error: error.message, retryAfter }), headers);
  }
}

function log(level, message, fields = {}) {
  console.log(JSON.stringify({ time: new Date().toISOString(), level, message, pod: POD, ...fields }));
}

// Stop in three steps, so that nobody is reset: no new connections; open ones carry what they still have to say,
// each answer with `Connection: close`; then those that stay quiet are closed and the process ends.
let stopping = false;

function stop(signal) {
  if (stopping) return;
  stopping = true;
  log('info', 'stopping', { signal });
  feed.stop();
  // http.Server's own close would cut idle connections at once, also one whose request is on its way.
  net.Server.prototype.close.call(server, () => {
    log('info', 'stopped');
    process.exit(0);
  });
  setTimeout(() => setInterval(() => server.closeIdleConnections(), 200), IDLE_MS);
  setTimeout(() => server.closeAllConnections(), LEAVE_MS);
}

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => stop(signal));
server.on('error', (error) => {
  log('error', `failed to listen on port ${PORT}`, { error: error.message });
  process.exit(1);
});
feed.follow();
server.listen(PORT, HOST, () => log('info', 'listening', { port: server.address().port }));
