// An entry script as a careless person writes it: it needs the sidecar from its first line and does not retry.
const http = require('node:http');
const base = process.env.HYPERPAGE_URL;
const json = { 'content-type': 'application/json' };
const call = async (method, path, body) => {
  const answer = await fetch(base + path, { method, headers: json, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer;
};
(async () => {
  const address = (await call('POST', '/v1/sessions', { last: 'none' })).headers.get('location');
  http.createServer(async (req, res) => {
    if (req.url === '/mine') return res.end(address);
    try {
      res.end(await (await call('GET', req.url)).text());
    } catch (error) {
      res.statusCode = 502;
      res.end(String(error));
    }
  }).listen(3000);
  process.on('SIGTERM', async () => {
    await call('PATCH', address, { last: 'act' });
    process.exit(0);
  });
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
