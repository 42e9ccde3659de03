// How this app answers: whole texts with the headers that keep a page to itself, and one cookie.

const COOKIE = 'hyperpage-session';
const COOKIE_SECONDS = 86_400;
const POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
  + "form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

export const TEXT = 'text/plain; charset=utf-8';
export const HTML = 'text/html; charset=utf-8';
export const JSON_TYPE = 'application/json';

export function answer(res, status, type, body, headers = {}) {
  const bytes = Buffer.from(body);
  res.writeHead(status, {
    'Content-Type': type,
    'Content-Length': bytes.length,
    'Cache-Control': 'no-store',
    'Content-Security-Policy': POLICY,
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'same-origin',
    ...headers,
  });
  res.end(bytes);
}

export function json(value) {
  return `${JSON.stringify(value)}\n`;
}

export function cookie(req) {
  const pairs = (req.headers.cookie ?? '').split(';').map((pair) => pair.trim().split('='));
  const value = pairs.find(([name]) => name === COOKIE)?.[1];
  return value !== undefined && /^[a-zA-Z0-9._-]{1,128}$/.test(value) ? value : undefined;
}

export function setCookie(req, id) {
  const secure = req.headers['x-forwarded-proto'] === 'https' ? '; Secure' : '';
  return `${COOKIE}=${id}; Path=/; Max-Age=${COOKIE_SECONDS}; HttpOnly; SameSite=Lax${secure}`;
}

/** A form of another site's page is none of ours. */
export function ownPage(req) {
  try {
    return new URL(req.headers.origin).host === req.headers.host;
  } catch {
    return false;
  }
}
