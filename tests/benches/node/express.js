// Sessions as a Node developer keeps them today: express, express-session, connect-redis and ioredis with their defaults.
//
//   node express.js PORT REDIS_URL SESSIONS COUNT
//
// Stores COUNT sessions like those of the sidecar, writes the signed cookie of each as a line to SESSIONS, then serves.

import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import express from 'express';
import session from 'express-session';
import { RedisStore } from 'connect-redis';
import Redis from 'ioredis';
import { document } from './document.js';

const [port, url, file, count] = process.argv.slice(2);
const SECRET = 'bench';

const client = new Redis(url);
// It connects again by itself; without a listener each failure would be printed.
client.on('error', () => {});
const store = new RedisStore({ client, ttl: 86_400 });

const cookies = [];
for (let n = 0; n < Number(count); n += 1) {
  const id = `bench-${n}`;
  const cookie = { originalMaxAge: null, expires: null, httpOnly: true, path: '/' };
  await store.set(id, { cookie, ...document() });
  const signature = createHmac('sha256', SECRET).update(id).digest('base64').replace(/=+$/, '');
  cookies.push(`connect.sid=${encodeURIComponent(`s:${id}.${signature}`)}`);
}
writeFileSync(file, `${cookies.join('\n')}\n`);

const app = express();
app.disable('x-powered-by');
app.set('etag', false);
app.use(express.json());
app.use(session({ store, secret: SECRET, resave: false, saveUninitialized: false }));
app.get('/session', (req, res) => { res.json(req.session); });
app.get('/document', (req, res) => { res.json(document()); });
app.patch('/session', (req, res) => {
  Object.assign(req.session.uiState, req.body.uiState);
  req.session.save(() => res.json({ success: true }));
});
app.delete('/session', (req, res) => {
  req.session.destroy((error) => res.status(error ? 500 : 200).json({ success: !error }));
});
app.listen(Number(port), '127.0.0.1', () => console.log('ready'));
