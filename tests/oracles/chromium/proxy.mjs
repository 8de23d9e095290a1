// A browser and servers of others, with the example `reverse_proxy` between them: node proxy.mjs PROXY MODULES OUT (see run).
// MODULES has what the servers need. The proxy has no compression of its own: what the page and the server agree on, passes.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { check, run, startServer } from '../harness.mjs';
import { echoes, launch, LIMIT } from './browser.mjs';

const here = import.meta.dirname;
const [proxy, modules, out] = process.argv.slice(2).map((path) => resolve(path));

const BEHIND = {
  ws: { start: [process.execPath, [join(here, 'behind.mjs'), modules]], agreed: 'permessage-deflate' },
  websockets: {
    start: ['python3', ['-B', join(here, 'behind.py')]],
    agreed: 'permessage-deflate; server_max_window_bits=12; client_max_window_bits=12',
  },
};

async function throughTheProxy(context, name, { start: [program, args], agreed }) {
  const server = await startServer(program, args, join(out, `chromium-behind-${name}.log`), LIMIT);
  const log = join(out, `chromium-proxy-${name}.log`);
  const { url, running } = await startServer(proxy, [server.url.replace('http', 'ws'), '127.0.0.1:0'], log, LIMIT);
  console.log(`${name}: ${url} leads to ${server.url}`);
  const page = await context.newPage();
  // The proxy has no page: that of the server connects to the proxy.
  await page.goto(`${server.url}/`);
  await page.evaluate((origin) => { oracle.origin = origin; }, url);
  await echoes(page, agreed);
  for (const [offered, protocol] of [[[], ''], [['echo.v2'], 'echo.v2'], [['echo.v9', 'echo.v1'], 'echo.v1']]) {
    await check(`${name}: subprotocols [${offered}]: '${protocol}'`, async () => {
      const outcome = await page.evaluate(([offered]) => oracle.close('/echo', offered, [3001, 'seen é']), [offered]);
      assert.deepEqual(outcome, { opened: true, protocol, code: 3001, reason: 'seen é', wasClean: true });
    });
  }
  for (const [code, reason] of [[1000, ''], [1011, 'broken'], [4001, 'no more 🧦']]) {
    await check(`${name}: close by the server: ${code} '${reason}'`, async () => {
      const outcome = await page.evaluate((closing) => oracle.closeByRequest('/echo', closing), [code, reason]);
      assert.deepEqual(outcome, { opened: true, protocol: '', code, reason, wasClean: true });
    });
  }
  await check(`${name}: the server's pings pass, and the page's pongs`, async () => {
    assert.equal(await page.evaluate(() => oracle.idle('/echo', 2500)), true);
  });
  await check(`${name}: a path that the server does not have`, async () => {
    const outcome = await page.evaluate(() => oracle.watch('/nowhere', []));
    assert.deepEqual(outcome, { opened: false, protocol: '', code: 1006, reason: '', wasClean: false });
  });
  await check(`${name}: the proxy is still running and nothing in it panicked`, async () => {
    assert.ok(running(), `it ended; its log: ${log}`);
    assert.doesNotMatch(await readFile(log, 'utf8'), /panicked at/);
  });
}

async function main() {
  const { context, pageErrors } = await launch(modules, out);
  console.log(`Chromium ${context.browser()?.version() ?? ''}`);
  for (const [name, behind] of Object.entries(BEHIND)) await throughTheProxy(context, name, behind);
  await check('no uncaught error in any page', () => assert.deepEqual(pageErrors, []));
}

await run('chromium (proxy)', 120_000, main);
