// WebSockets over HTTP/2 in headless Chromium: node http2.mjs SERVER MODULES OUT CERTIFICATES (see run). SERVER is the example
// `http2`. A browser speaks RFC 8441 to a server that it has loaded a page from by HTTP/2.

import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { check, run, startServer } from '../harness.mjs';
import { echoes, FORGETTING, launch, LIMIT } from './browser.mjs';

const [server, modules, out, certificates] = process.argv.slice(2).map((path) => resolve(path));
const log = join(out, 'chromium-http2-server.log');

async function main() {
  await mkdir(out, { recursive: true });
  const [cert, key] = [join(certificates, 'cert.pem'), join(certificates, 'key.pem')];
  const { url, running } = await startServer(server, ['--listen', '127.0.0.1:0', '--cert', cert, '--key', key], log, LIMIT);
  const { context, pageErrors } = await launch(modules, out, cert);
  console.log(`Chromium ${context.browser()?.version() ?? ''} against ${url}`);

  const page = context.pages()[0] ?? await context.newPage();
  await check('the page comes over HTTP/2', async () => {
    const response = await page.goto(`${url}/`);
    assert.equal(response.status(), 200);
    const navigation = () => performance.getEntriesByType('navigation')[0].nextHopProtocol;
    assert.equal(await page.evaluate(navigation), 'h2');
  });
  await check('its WebSocket comes over HTTP/2', async () => {
    await page.locator('#version', { hasText: 'HTTP/2.0' }).waitFor();
  });
  await check('a WebSocket that the server closes ends cleanly', async () => {
    const outcome = await page.evaluate(() => oracle.watch('/version', []));
    assert.deepEqual(outcome, { opened: true, protocol: '', code: 1000, reason: '', wasClean: true });
  });
  await check('the page says something, and it comes back', async () => {
    await page.fill('#text', 'Is anybody there? 🧦');
    await page.press('#text', 'Enter');
    await page.locator('#echo', { hasText: 'Is anybody there? 🧦' }).waitFor();
  });
  await echoes(page, FORGETTING);
  for (const [code, reason] of [[1000, 'done'], [3000, 'registered é'], [4999, 'private 🦀']]) {
    await check(`close by the client: ${code} '${reason}'`, async () => {
      const outcome = await page.evaluate((closing) => oracle.close('/echo', [], closing), [code, reason]);
      assert.deepEqual(outcome, { opened: true, protocol: '', code, reason, wasClean: true });
    });
  }
  await check('a path that is not served fails the connection', async () => {
    const outcome = await page.evaluate(() => oracle.watch('/nowhere', []));
    assert.deepEqual(outcome, { opened: false, protocol: '', code: 1006, reason: '', wasClean: false });
  });
  await check('no uncaught error in any page', () => assert.deepEqual(pageErrors, []));
  await check('the server is still running and nothing in it panicked', async () => {
    assert.ok(running(), `it ended; its log: ${log}`);
    assert.doesNotMatch(await readFile(log, 'utf8'), /panicked at/);
  });
}

await run('chromium (http2)', 120_000, main);
