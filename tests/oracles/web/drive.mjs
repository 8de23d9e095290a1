// Runs sockless-web in headless Chromium: node drive.mjs DEMO STREAM-SERVER MODULES PAGES OUT (see run). DEMO and STREAM-SERVER are the
// servers' binaries, MODULES the directory with node_modules, PAGES the one with the WebAssembly of `page` and of examples/web and
// their JavaScript, OUT where the logs go. The scenarios are in `page`.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';

import { check, onEnd, run, startServer, within } from '../harness.mjs';
import { launch, LIMIT } from '../chromium/browser.mjs';

const [demoBinary, streamBinary, modules, pages, out] = process.argv.slice(2).map((path) => resolve(path));
const KINDS = [{ name: 'WebSocket', stream: false }, { name: 'WebSocketStream', stream: true }];
const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript', wasm: 'application/wasm' };

const PAGE = `<!doctype html><title>sockless-web</title><script type="module">
  import init, { run } from './sockless_oracle_web.js';
  await init();
  globalThis.progress = [];
  // What fails is a value, so that its text arrives as it is.
  globalThis.scenario = (...arguments_) => run(...arguments_).then(() => null, (error) => String(error?.message ?? error));
</script>`;

const WORKER = `import init, { run } from './sockless_oracle_web.js';
  await init();
  postMessage('ready');
  onmessage = ({ data }) => run(...data).then(() => postMessage(null), (error) => postMessage(String(error?.message ?? error)));`;

// Files of the oracle at the path /web/ of every server, since the servers accept pages of their own origin only.
async function serveFiles(context) {
  const example = resolve(import.meta.dirname, '../../../examples/web/index.html');
  const made = { 'index.html': PAGE, 'worker.js': WORKER };
  await context.route(/\/web\//, async (route) => {
    const name = new URL(route.request().url()).pathname.split('/').pop();
    const body = name === 'example.html' ? await readFile(example) : made[name] ?? await readFile(join(pages, name));
    await route.fulfill({ body, contentType: TYPES[name.split('.').pop()] });
  });
}

async function open(page, url) {
  await page.goto(`${url}/web/index.html`);
  await page.waitForFunction(() => globalThis.scenario !== undefined);
}

// Returns what differs. That it fails is a value too: it may be awaited late.
function scenario(page, name, url, { stream }) {
  const outcome = page.evaluate((it) => globalThis.scenario(...it), [name, url.replace(/^http/, 'ws'), stream]);
  return outcome.catch((error) => error.message);
}

async function passes(page, name, url, kind) {
  await check(`${kind.name}: ${name}`, async () => assert.equal(await scenario(page, name, url, kind), null));
}

// Waits until the page has reported this step.
function progress(page, step) {
  return page.waitForFunction((it) => globalThis.progress.some((done) => done.startsWith(it)), step);
}

// A server that answers the opening handshake by hand, unless it is asked for `/`, and then nothing; `/reset` resets the connection,
// `/closing` sends a Close frame with 1000.
async function rawServer() {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (data) => {
      const head = data.toString('latin1');
      const [, path] = head.match(/^GET (\S+) /) ?? [];
      if (path === '/') return;
      const [, key] = head.match(/sec-websocket-key: (\S+)/i);
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      const lines = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${accept}`];
      socket.write(`${lines.join('\r\n')}\r\n\r\n`, () => {
        if (path === '/reset') setTimeout(() => socket.resetAndDestroy(), 50);
        if (path === '/closing') setTimeout(() => socket.write('\x88\x02\x03\xe8', 'latin1'), 50);
      });
    });
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  onEnd(async () => server.close());
  return `http://127.0.0.1:${server.address().port}`;
}

let demos = 0;
function startDemo(listen = '127.0.0.1:0') {
  demos += 1;
  const log = join(out, `web-demo-${demos}.log`);
  return startServer(demoBinary, ['--listen', listen, '--verbose'], log, LIMIT).then((demo) => ({ ...demo, log }));
}

function startStream(messages) {
  const options = { listen: '127.0.0.1:0', messages, len: 256 * 1024, 'ping-interval': 60_000, 'ping-timeout': 30_000 };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  return startServer(streamBinary, args, join(out, `web-stream-${messages}.log`), LIMIT);
}

// The demo's log, once it matches.
async function logged(demo, pattern) {
  const deadline = Date.now() + LIMIT;
  for (;;) {
    const log = await readFile(demo.log, 'utf8');
    if (pattern.test(log)) return;
    if (Date.now() > deadline) throw new Error(`${demo.log} should match ${pattern}`);
    await new Promise((retry) => setTimeout(retry, 50));
  }
}

async function talks(page, demo, raw) {
  for (const kind of KINDS) {
    for (const name of ['echo', 'json', 'order', 'subprotocol', 'refused', 'close by us', 'close by the server', 'sending waits']) {
      await passes(page, name, demo.url, kind);
    }
    for (const name of ['opening timeout', 'closing timeout', 'closing by the server', 'lost']) await passes(page, name, raw, kind);
  }
}

// Each with a demo of its own, in whose log nothing else is.
async function drops(page, kind) {
  const demo = await startDemo();
  await open(page, demo.url);
  await passes(page, 'dropped', demo.url, kind);
  await check(`${kind.name}: a session that is dropped is closed with 1000`, () => logged(demo, /received 1000/));
}

async function backpressure(page) {
  const little = await startStream(24);
  await open(page, little.url);
  await passes(page, 'unread', little.url, KINDS[0]);
  const much = await startStream(256);
  await open(page, much.url);
  await passes(page, 'receiving waits', much.url, KINDS[1]);
}

async function reconnects(page, kind) {
  await check(`${kind.name}: reconnect, when the server was killed and started again`, async () => {
    const first = await startDemo();
    await open(page, first.url);
    const outcome = scenario(page, 'reconnect', first.url, kind);
    await progress(page, 'echoed 1');
    first.kill();
    await progress(page, 'attempt 2');
    await startDemo(new URL(first.url).host);
    assert.equal(await within(LIMIT, 'the scenario', outcome), null);
  });
}

async function online(page) {
  await check('a delay of 10 minutes ends when the browser is online again', async () => {
    const first = await startDemo();
    await open(page, first.url);
    first.kill();
    await first.ended;
    const outcome = scenario(page, 'online', first.url, KINDS[0]);
    await progress(page, 'attempt 1 failed');
    await startDemo(new URL(first.url).host);
    await page.evaluate(() => dispatchEvent(new Event('online')));
    assert.equal(await within(LIMIT, 'the scenario', outcome), null);
  });
}

async function worker(page, demo) {
  await check('a worker echoes, too', async () => {
    const outcome = await page.evaluate((url) => new Promise((done) => {
      const started = new Worker('./worker.js', { type: 'module' });
      started.onerror = (event) => done(event.message);
      started.onmessage = ({ data }) => {
        if (data === 'ready') started.postMessage(['echo', url, false]);
        else done(data);
      };
    }), demo.url.replace(/^http/, 'ws'));
    assert.equal(outcome, null);
  });
}

async function example(page, demo) {
  await check('the example echoes, and ends when it is asked to', async () => {
    await page.goto(`${demo.url}/web/example.html`);
    await page.locator('#state').filter({ hasText: /^connected$/ }).waitFor();
    await page.fill('#input', '<b>hello</b>');
    await page.press('#input', 'Enter');
    await page.locator('#log li').filter({ hasText: /^<b>hello<\/b>$/ }).waitFor();
    await page.fill('#input', '/quit');
    await page.press('#input', 'Enter');
    await page.locator('#log li').filter({ hasText: 'closed by us: the closing handshake is complete' }).waitFor();
    await page.locator('#state').filter({ hasText: 'no further attempt' }).waitFor();
  });
}

async function main() {
  const [demo, raw] = [await startDemo(), await rawServer()];
  const { context, pageErrors } = await launch(modules, out);
  // A page that is not loaded from an address is not a page of this machine.
  await context.grantPermissions(['local-network-access']);
  await serveFiles(context);
  console.log(`Chromium ${context.browser()?.version() ?? ''} against ${demo.url}`);
  const page = context.pages()[0] ?? await context.newPage();
  page.on('console', (message) => { if (/panicked|unreachable/.test(message.text())) pageErrors.push(message.text()); });
  await open(page, demo.url);
  await talks(page, demo, raw);
  await worker(page, demo);
  await example(page, demo);
  await backpressure(page);
  for (const kind of KINDS) {
    await drops(page, kind);
    await reconnects(page, kind);
  }
  await online(page);
  await check('no uncaught error in the page', () => assert.deepEqual(pageErrors, []));
  await check('the demo is still running and nothing in it panicked', async () => {
    assert.ok(demo.running(), `it ended; its log: ${demo.log}`);
    assert.doesNotMatch(await readFile(demo.log, 'utf8'), /panicked at/);
  });
}

await run('web', 240_000, main);
