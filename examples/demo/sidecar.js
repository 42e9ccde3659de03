// All that this app knows about the sidecar: one address on localhost, plain HTTP.
// `call` asks for ourselves; `passThrough` lends the sidecar's own API to our clients, byte for byte.

import http from 'node:http';
import { pipeline } from 'node:stream';

const BASE = new URL(process.env.HYPERPAGE_URL || 'http://127.0.0.1:4100');
// The sidecar answers within about a second whatever Redis does; more than this is a dead sidecar.
const ANSWER_MS = 3_000;
const MAX_IN_FLIGHT = 1_024;
const MAX_BODY = 1 << 20;

const agent = new http.Agent({ keepAlive: true, maxSockets: 128, maxFreeSockets: 32, scheduling: 'lifo' });
let inFlight = 0;

/** The sidecar could not serve us now; `retryAfter` seconds is when asking again makes sense. */
export class Unavailable extends Error {
  constructor(message, retryAfter = 1) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

/** One request, JSON in and out. Resolves with any answer but 503, which is `Unavailable` like no answer. */
export function call(method, path, { headers = {}, body } = {}) {
  const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  const length = bytes ? { 'Content-Length': bytes.length } : {};
  return new Promise((resolve, reject) => {
    const fail = (error) => reject(new Unavailable(`no answer from the sidecar at ${BASE.host}: ${error.message}`));
    const request = send(method, path, { ...headers, ...length }, (response) => {
      collect(response).then((text) => {
        if (response.statusCode !== 503) {
          resolve({ status: response.statusCode, headers: response.headers, body: parse(text) });
          return;
        }
        const problem = parse(text);
        const reason = problem?.detail ?? problem?.error?.message ?? 'the session store does not answer';
        reject(new Unavailable(reason, Number(response.headers['retry-after']) || 1));
      }, fail);
    });
    request.on('error', fail);
    request.end(bytes);
  });
}

/** Reads an answer that lasts, piece by piece, until it ends or is silent for too long. */
export function listen(path, headers, silenceMs, onText) {
  return new Promise((resolve, reject) => {
    const options = { hostname: BASE.hostname, port: BASE.port || 80, path, headers, timeout: silenceMs, agent: false };
    const request = http.get(options, (response) => {
      if (response.statusCode !== 200) {
        response.resume();
        reject(new Error(`the sidecar answered ${response.statusCode}`));
        return;
      }
      response.setEncoding('utf8');
      response.on('data', (text) => {
        try {
          onText(text);
        } catch (error) {
          request.destroy(error);
        }
      });
      response.on('error', reject);
      response.on('close', resolve);
    });
    request.on('timeout', () => request.destroy(new Error('silence')));
    request.on('error', reject);
  });
}

/** Sends `req` to the sidecar and its answer back: method, path, headers, status and bytes unchanged. */
export function passThrough(req, res) {
  if (inFlight >= MAX_IN_FLIGHT) {
    refuse(res, 'too many requests at once');
    return;
  }
  inFlight += 1;
  res.once('close', () => { inFlight -= 1; });
  forward(req, res, false);
}

function forward(req, res, again) {
  let answered = false;
  const upstream = send(req.method, req.url, requestHeaders(req), (response) => {
    answered = true;
    res.writeHead(response.statusCode, response.statusMessage, responseHeaders(response));
    pipeline(response, res, () => {});
  });
  upstream.on('error', (error) => {
    // What we could not send no longer matters: read it away, so that our answer is not lost in a reset.
    req.unpipe(upstream);
    req.resume();
    if (answered || res.destroyed) return;
    if (!again && upstream.reusedSocket && error.code === 'ECONNRESET' && hasNoBody(req)) {
      // A kept-alive connection was closed before the sidecar saw anything of the request.
      forward(req, res, true);
    } else {
      refuse(res, `no answer from the sidecar at ${BASE.host}`);
    }
  });
  res.once('close', () => { if (!res.writableFinished) upstream.destroy(); });
  if (hasNoBody(req)) {
    upstream.end();
  } else {
    req.pipe(upstream);
  }
}

function send(method, path, headers, onResponse) {
  const request = http.request({ agent, host: BASE.hostname, port: BASE.port || 80, method, path, headers });
  const patience = setTimeout(() => request.destroy(new Error(`nothing within ${ANSWER_MS} ms`)), ANSWER_MS);
  request.once('close', () => clearTimeout(patience));
  request.once('response', (response) => {
    clearTimeout(patience);
    // From here a stream may take its time, but not stand still for ever.
    request.setTimeout(60_000, () => request.destroy(new Error('the answer stopped half-way')));
    onResponse(response);
  });
  return request;
}

// RFC 9110 §7.6.1: these belong to one connection, not to the message; so do those that Connection names. Expect
// was answered by our own server before we saw the request.
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'upgrade', 'expect'];

function requestHeaders(req) {
  return without(req.rawHeaders, HOP_BY_HOP, req.headers.connection);
}

// Chunks are framed anew for the client, who may speak HTTP/1.0 and not know them.
function responseHeaders(response) {
  return without(response.rawHeaders, [...HOP_BY_HOP, 'transfer-encoding'], response.headers.connection);
}

function without(rawHeaders, dropped, connection = '') {
  const names = new Set([...dropped, ...connection.toLowerCase().split(',').map((name) => name.trim())]);
  const kept = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (!names.has(rawHeaders[i].toLowerCase())) kept.push(rawHeaders[i], rawHeaders[i + 1]);
  }
  return kept;
}

function hasNoBody(req) {
  return req.headers['content-length'] === undefined && req.headers['transfer-encoding'] === undefined;
}

function refuse(res, message) {
  res.writeHead(503, { 'Content-Type': 'application/json', 'Retry-After': '1' });
  res.end(JSON.stringify({ success: false, error: { code: 'SIDECAR_UNREACHABLE', message } }));
}

/** The body, if it is not too large. */
export async function collect(response) {
  const chunks = [];
  let size = 0;
  for await (const chunk of response) {
    size += chunk.length;
    if (size > MAX_BODY) throw new Error('the answer is larger than 1 MiB');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
