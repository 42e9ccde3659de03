// The front door of `make demo`: one address before several apps, one after the other, as a Service would be.
// A backend that refuses the connection is passed over; nothing of the request has been read by then.
//
//   node front.js PORT BACKEND_PORT...

import http from 'node:http';
import { pipeline } from 'node:stream';

const [port, ...backends] = process.argv.slice(2).map(Number);
const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });
let turn = 0;

const server = http.createServer((req, res) => {
  turn += 1;
  offer(req, res, backends.map((_, i) => backends[(turn + i) % backends.length]));
});
server.maxConnections = 4_096;

function offer(req, res, [backend, ...others]) {
  if (backend === undefined) {
    res.writeHead(503, { 'Content-Type': 'text/plain; charset=utf-8', 'Retry-After': '1' });
    res.end('No app answers right now.\n');
    return;
  }
  let answered = false;
  const options = { agent, host: '127.0.0.1', port: backend, method: req.method, path: req.url, headers: req.headers };
  const upstream = http.request({ ...options, timeout: 30_000 }, (response) => {
    answered = true;
    const { connection, 'transfer-encoding': framing, ...headers } = response.headers;
    res.writeHead(response.statusCode, headers);
    pipeline(response, res, () => {});
  });
  upstream.on('timeout', () => upstream.destroy(new Error('timeout')));
  upstream.on('error', (error) => {
    if (answered || res.destroyed) return;
    const untouched = error.code === 'ECONNREFUSED' || (upstream.reusedSocket && req.method === 'GET');
    offer(req, res, untouched ? others : []);
  });
  upstream.on('socket', (socket) => {
    const send = () => req.pipe(upstream);
    if (socket.connecting) socket.once('connect', send); else send();
  });
  res.once('close', () => { if (!res.writableFinished) upstream.destroy(); });
}

server.on('error', (error) => {
  console.error(`failed to listen on 127.0.0.1:${port}: ${error.message}`);
  process.exit(1);
});
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    server.close(() => process.exit(0));
    setTimeout(() => server.closeAllConnections(), 1_000);
  });
}
server.listen(port, '127.0.0.1', () => console.log(JSON.stringify({ message: 'listening', port: server.address().port })));
