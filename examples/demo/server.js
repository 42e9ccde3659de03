// A plain web app. It keeps one session per visitor, and knows nothing of Redis, of Kubernetes or of the other
// pods: sessions are HTTP on localhost.
//
//   GET /          the page; counts a visit          GET /visit     counts a visit, answers JSON
//   GET /session   the visitor without counting      GET /healthz   the process answers
//   /api/sessions* the sidecar's own API, passed through unchanged

import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import { readFileSync } from 'node:fs';
import { page, unavailablePage } from './page.js';
import { passThrough, Unavailable } from './sidecar.js';
import { look, visit } from './visits.js';

const PORT = Number(process.env.PORT || 3000);
const HOST = process.env.HOST; // unset: every interface
const POD = process.env.POD_NAME || os.hostname();
const COOKIE = 'hyperpage-session';
const COOKIE_SECONDS = 86_400;
// After SIGTERM: how long a quiet connection may still bring a request, and when we leave in any case.
const IDLE_MS = 2_000;
const LEAVE_MS = 20_000;

const files = new Map(['style.css', 'live.js'].map((name) => [`/${name}`, {
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
  } else if (req.method !== 'GET' && req.method !== 'HEAD') {
    answer(res, 405, 'text/plain; charset=utf-8', 'Only GET here.\n', { Allow: 'GET, HEAD' });
  } else if (path === '/healthz') {
    answer(res, 200, 'text/plain; charset=utf-8', 'ok\n');
  } else if (files.has(path)) {
    const { type, bytes } = files.get(path);
    answer(res, 200, type, bytes, { 'Cache-Control': 'public, max-age=60' });
  } else if (path === '/visit') {
    await visited(req, res, (visitor) => answer(res, 200, 'application/json', json(visitor)));
  } else if (path === '/') {
    await visited(req, res, (visitor) => answer(res, 200, 'text/html; charset=utf-8', page(visitor)));
  } else if (path === '/session') {
    const found = await look(cookie(req));
    answer(res, found ? 200 : 404, 'application/json', json(found ? { pod: POD, ...found } : { pod: POD }));
  } else {
    answer(res, 404, 'text/plain; charset=utf-8', 'Nothing here. Try /\n');
  }
}

/** HEAD looks, GET counts. The cookie is renewed with every visit, as the session's life is. */
async function visited(req, res, show) {
  const known = cookie(req);
  const visitor = req.method === 'HEAD' ? await look(known) : await visit(known);
  if (visitor !== undefined) res.setHeader('Set-Cookie', setCookie(req, visitor.sessionId));
  show({ pod: POD, ...(visitor ?? { sessionId: null, visits: 0, ageSeconds: 0 }) });
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
    answer(res, status, 'text/html; charset=utf-8', unavailablePage({ pod: POD, retryAfter }), headers);
  } else {
    answer(res, status, 'application/json', json({ pod: POD, error: error.message, retryAfter }), headers);
  }
}

function answer(res, status, type, body, headers = {}) {
  const bytes = Buffer.from(body);
  res.writeHead(status, {
    'Content-Type': type,
    'Content-Length': bytes.length,
    'Cache-Control': 'no-store',
    'Content-Security-Policy': "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:",
    'X-Content-Type-Options': 'nosniff',
    ...headers,
  });
  res.end(bytes);
}

function cookie(req) {
  const pairs = (req.headers.cookie ?? '').split(';').map((pair) => pair.trim().split('='));
  const value = pairs.find(([name]) => name === COOKIE)?.[1];
  return value !== undefined && /^[a-zA-Z0-9._-]{1,128}$/.test(value) ? value : undefined;
}

function setCookie(req, id) {
  const secure = req.headers['x-forwarded-proto'] === 'https' ? '; Secure' : '';
  return `${COOKIE}=${id}; Path=/; Max-Age=${COOKIE_SECONDS}; HttpOnly; SameSite=Lax${secure}`;
}

function json(value) {
  return `${JSON.stringify(value)}\n`;
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
server.listen(PORT, HOST, () => log('info', 'listening', { port: server.address().port }));
