// An app that keeps what it hears of its sidecar, says so, and passes on what a test asks of that.
const http = require('node:http');
const base = process.env.HYPERPAGE_URL;
const KEPT = 50000;
const heard = [];
let last = '';
let stream;
const note = (event) => {
  heard.push(event);
  if (heard.length > KEPT) heard.shift();
};

// A later one says what a lost one would have said.
const acknowledge = (id) => {
  const headers = { 'content-type': 'application/json', connection: 'close' };
  http.request(base + '/v1/events/acks', { method: 'POST', headers, agent: false }, (answer) => answer.resume())
    .on('error', () => {}).end(JSON.stringify({ stream, id }));
};

// One event: lines of `name: value` up to an empty one.
const take = (text) => {
  const event = {};
  for (const line of text.split('\n')) {
    const [, name, value] = /^(\w+): ?(.*)$/.exec(line) || [];
    if (name) event[name] = value;
  }
  if (event.id) last = event.id;
  if (!event.event) return;
  const data = JSON.parse(event.data || 'null');
  if (event.event === 'hello') stream = data.stream;
  // Nothing is to be found out from them.
  if (event.event === 'lease') return;
  note({ event: event.event, id: event.id, data });
  if (['message', 'gap', 'resync'].includes(event.event)) acknowledge(event.id);
};

const listen = () => {
  const headers = last ? { 'last-event-id': last } : {};
  const again = () => setTimeout(listen, 100);
  http.get(base + '/v1/events?acks=true', { headers, agent: false }, (answer) => {
    let rest = '';
    answer.setEncoding('utf8').on('data', (text) => {
      const events = (rest + text).split('\n\n');
      rest = events.pop();
      events.forEach(take);
    });
    answer.on('close', again);
  }).on('error', again);
};
listen();

const pass = (req, res, url) => {
  const asked = http.request(url, { method: req.method, headers: { ...req.headers, connection: 'close' }, agent: false });
  asked.on('response', (answer) => {
    res.writeHead(answer.statusCode, answer.headers);
    answer.pipe(res);
  });
  asked.on('error', (error) => res.writeHead(502).end(String(error)));
  req.pipe(asked);
};
const server = http.createServer((req, res) => {
  // No connection is kept that a stop would have to reset.
  res.setHeader('connection', 'close');
  if (req.url === '/heard') return res.end(JSON.stringify(heard));
  if (req.url === '/metrics') return pass(req, res, 'http://127.0.0.1:4101/metrics');
  if (req.url.startsWith('/v1/')) return pass(req, res, base + req.url);
  return res.end('ok');
});
server.listen(3000);
process.on('SIGTERM', () => server.close(() => process.exit(0)));
