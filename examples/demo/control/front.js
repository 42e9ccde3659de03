// The front door of `make demo`: one address before several apps, one after the other, as a Service would be.
// A backend that refuses the connection is passed over, nothing of the request has been read by then; so is one that ends
// before it has answered who only looks.

import http from 'node:http';
import { pipeline } from 'node:stream';

// Longer than the silence between two comments of a stream of events.
const SILENCE_MS = 30_000;
// The side that sends requests should be the one that closes.
const KEEP_MS = 75_000;
const MAX_CONNECTIONS = 4_096;

/** Twice is as good as once: it counts no visit. */
const looksOnly = ({ method, url }) => method === 'GET' && !['/', '/visit'].includes(url.split('?', 1)[0]);

export class Front {
  /** `backends` gives the ports of the apps that serve now; `control` answers what is none of theirs. */
  constructor(backends, control) {
    this.backends = backends;
    this.control = control;
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 256 });
    // The ledger asks all the time; a visitor's next request goes to the next app all the same.
    this.turns = { page: 0, api: 0 };
    this.server = http.createServer((req, res) => this.route(req, res));
    this.server.maxConnections = MAX_CONNECTIONS;
    this.server.keepAliveTimeout = KEEP_MS;
  }

  listen(port) {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, '127.0.0.1', () => {
        this.port = this.server.address().port;
        resolve();
      });
    });
  }

  route(req, res) {
    if (req.url.startsWith('/control/')) {
      this.control(req, res);
      return;
    }
    const kind = req.url.startsWith('/api/') || req.url.startsWith('/leader') ? 'api' : 'page';
    const turn = this.turns[kind]++;
    const ports = this.backends();
    this.offer(req, res, ports.map((_, i) => ports[(turn + i) % ports.length]));
  }

  offer(req, res, [port, ...others]) {
    if (port === undefined) {
      res.writeHead(503, { 'Content-Type': 'text/plain; charset=utf-8', 'Retry-After': '1' });
      res.end('No app answers right now.\n');
      return;
    }
    let answered = false;
    const options = { agent: this.agent, host: '127.0.0.1', port, method: req.method, path: req.url, headers: req.headers };
    const upstream = http.request({ ...options, timeout: SILENCE_MS }, (response) => {
      answered = true;
      hand(response, res);
    });
    upstream.on('timeout', () => upstream.destroy(new Error('timeout')));
    upstream.on('error', (error) => {
      if (answered || res.destroyed) return;
      const untouched = error.code === 'ECONNREFUSED' || (upstream.reusedSocket && req.method === 'GET');
      this.offer(req, res, untouched || looksOnly(req) ? others : []);
    });
    upstream.on('socket', (socket) => {
      const send = () => req.pipe(upstream);
      if (socket.connecting) socket.once('connect', send); else send();
    });
    res.once('close', () => { if (!res.writableFinished) upstream.destroy(); });
  }

  stop() {
    return new Promise((resolve) => {
      this.server.close(resolve);
      setTimeout(() => this.server.closeAllConnections(), 500);
      this.agent.destroy();
    });
  }
}

/** A stream of events whose app has died has ended, and the browser opens it anew; anything else was cut short. */
function hand(response, res) {
  const { connection, 'transfer-encoding': framing, ...headers } = response.headers;
  res.writeHead(response.statusCode, headers);
  if (headers['content-type'] !== 'text/event-stream') {
    pipeline(response, res, () => {});
    return;
  }
  res.flushHeaders();
  response.pipe(res);
  response.on('error', () => res.end());
}
