// The least a Node server can do for a session: one GET by ioredis, and the bytes.
//
//   node bare.js PORT REDIS_URL

import http from 'node:http';
import Redis from 'ioredis';

const [port, url] = process.argv.slice(2);
const redis = new Redis(url);

http.createServer(async (req, res) => {
  const bytes = await redis.getBuffer(`hyperpage:session:${req.url.slice('/sessions/'.length)}`);
  res.writeHead(bytes ? 200 : 404, { 'Content-Type': 'application/json', 'Content-Length': bytes?.length ?? 0 });
  res.end(bytes);
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
