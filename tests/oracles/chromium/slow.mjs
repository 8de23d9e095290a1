// A page that reads slowly, in headless Chromium: node slow.mjs SERVER MODULES OUT (see run). SERVER is `stream-server`. The page
// reads a WebSocketStream, which passes its backpressure on to the server, so that pings wait behind all that the server, the
// kernels and the browser hold. The server must not close the connection as long as the page goes on reading.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { check, run, startServer } from '../harness.mjs';
import { launch, LIMIT } from './browser.mjs';

const [server, modules, out] = process.argv.slice(2).map((path) => resolve(path));
const SECOND = 1000; // milliseconds

const MESSAGES = 48;
// Longer than the pipe between Chromium's network process and the page: Chromium 156 drops a message that is still in there, unread,
// when the Close frame arrives.
const LEN = 256 * 1024;
const PAUSE = SECOND / 2;

// Both are queued on each path. On `/stream` the Close frame follows the messages, and a ping never finds room in the full queue;
// the kernel accepts more bytes every second only. On `/stream/queued` a ping waits behind all messages. It is answered in time if the
// timeout covers what the kernel and the browser hold, but not what the server holds. They hold about 1 MiB; more where the machine is
// busy, since the kernel makes the browser's receive buffer larger when much of it is read at once. The timeout covers 5 MiB. The
// interval is longer than the rest of the stream, so that no second ping hides the round trip of the first.
const STREAMS = [
  { path: '/stream', confirm: null, pingInterval: 2 * SECOND, pingTimeout: SECOND / 2 },
  { path: '/stream/queued', confirm: MESSAGES, pingInterval: 13 * SECOND, pingTimeout: 10 * SECOND },
];

async function stream(page, { path, confirm, pingInterval, pingTimeout }) {
  const log = join(out, `chromium-slow${path.replaceAll('/', '-')}.log`);
  const options = { listen: '127.0.0.1:0', messages: MESSAGES, len: LEN, 'ping-interval': pingInterval, 'ping-timeout': pingTimeout };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const { url, running } = await startServer(server, args, log, LIMIT);
  await page.goto(`${url}/`);
  const read = ([path, pause, confirm]) => oracle.readSlowly(path, pause, confirm);
  const { indices, lengths, code, reason, error, took } = await page.evaluate(read, [path, PAUSE, confirm]);
  console.log(`${path}: ${indices.length} messages in ${took} ms, then ${code} '${reason}'`);
  await check(`${path}: every message arrives, complete and in order`, () => {
    assert.equal(error, null);
    assert.deepEqual(indices, Array.from({ length: MESSAGES }, (_, index) => index));
    assert.deepEqual([...new Set(lengths)], [LEN]);
  });
  await check(`${path}: the Close frame arrives behind them`, () => {
    assert.deepEqual({ code, reason }, { code: 1000, reason: 'all sent' });
  });
  await check(`${path}: the server is still running and did not panic`, async () => {
    assert.ok(running(), `it ended; its log: ${log}`);
    assert.doesNotMatch(await readFile(log, 'utf8'), /panicked at/);
  });
  return log;
}

async function main() {
  const { context, pageErrors } = await launch(modules, out);
  console.log(`Chromium ${context.browser()?.version() ?? ''}`);
  // Each in a browser context's only page: the timers of a page in the background are throttled.
  const page = context.pages()[0] ?? await context.newPage();
  for (const each of STREAMS) {
    const log = await stream(page, each);
    if (each.confirm === null) continue;
    await check(`${each.path}: a ping waited longer than its timeout for its answer`, async () => {
      const [, longest] = (await readFile(log, 'utf8')).match(/longest round trip: (\d+) ms/) ?? [];
      assert.ok(Number(longest) > each.pingTimeout, `the longest round trip was ${longest} ms`);
    });
  }
  await check('no uncaught error in any page', () => assert.deepEqual(pageErrors, []));
}

await run('chromium (slow)', 120_000, main);
