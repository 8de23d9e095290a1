// Tests the demo server from end to end in headless Chromium: node demo.mjs DEMO MODULES OUT [CERTIFICATES] (see run).
// DEMO is the server's binary, MODULES the directory with node_modules, OUT where screenshots and the log go. With CERTIFICATES,
// which ../certificates makes, all of it is over TLS.

import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { check, run, startServer, story } from '../harness.mjs';
import { echoes, FORGETTING, launch, LIMIT } from './browser.mjs';
import { rooms } from './rooms.mjs';

const [demoBinary, modules, out, certificates] = process.argv.slice(2).map((path) => resolve(path));
const scheme = certificates ? 'https' : 'http';
const screenshots = join(out, 'screenshots', scheme);
const demoLog = join(out, `chromium-${scheme}-demo.log`);

const WHOLE_LIMIT = 300_000; // milliseconds that everything may take

// ---- raw WebSockets ----

async function subprotocolsAndCloses(page) {
  for (const [offered, chosen] of [
    [[], ''],
    [['echo.v1'], 'echo.v1'],
    [['echo.v2'], 'echo.v2'],
    [['echo.v1', 'echo.v2'], 'echo.v1'],
    [['echo.v2', 'echo.v1'], 'echo.v2'],
    [['nobody.serves.this', 'echo.v2'], 'echo.v2'],
  ]) {
    await check(`subprotocol: offered [${offered}], chosen '${chosen}'`, async () => {
      const { protocol } = await page.evaluate((protocols) => oracle.close('/echo', protocols, [1000]), offered);
      assert.equal(protocol, chosen);
    });
  }
  // /echo has a handler without a subprotocol as well, so the server may accept and select none; a browser then fails the
  // connection by itself. Either way it must not open, nor hang.
  await check('subprotocol: one that is not served fails the connection', async () => {
    const outcome = await page.evaluate(() => oracle.watch('/echo', ['nobody.serves.this']));
    assert.deepEqual(outcome, { opened: false, protocol: '', code: 1006, reason: '', wasClean: false });
  });

  const closes = [[1000, 'done'], [3000, 'registered é'], [4999, 'private 🦀']];
  for (const [code, reason] of closes) {
    await check(`close by the client: ${code} '${reason}'`, async () => {
      const outcome = await page.evaluate((closing) => oracle.close('/echo', [], closing), [code, reason]);
      assert.deepEqual(outcome, { opened: true, protocol: '', code, reason, wasClean: true });
    });
  }
  await check('close by the client: no code', async () => {
    const outcome = await page.evaluate(() => oracle.close('/echo', [], []));
    assert.deepEqual(outcome, { opened: true, protocol: '', code: 1005, reason: '', wasClean: true });
  });
  for (const [code, reason] of closes) {
    await check(`close by the server: ${code} '${reason}'`, async () => {
      const path = `/close/${code}?reason=${encodeURIComponent(reason)}`;
      const outcome = await page.evaluate((it) => oracle.watch(it, []), path);
      assert.deepEqual(outcome, { opened: true, protocol: '', code, reason, wasClean: true });
    });
  }
}

// ---- the page itself ----

// Waits until an element's text contains `text` (a string or a pattern), or with `lacks`, until it does not. The text is
// compared with its white space collapsed, and without any between neighbouring elements.
async function shows(page, selector, text, { lacks = false } = {}) {
  const element = page.locator(selector);
  try {
    await element.filter(lacks ? { hasNotText: text } : { hasText: text }).waitFor({ state: 'attached' });
  } catch {
    const there = await element.innerText({ timeout: 1000 }).catch(() => null);
    const shown = there === null ? 'it is missing' : `it shows:\n${there}`;
    throw new Error(`${selector} should ${lacks ? 'no longer ' : ''}show ${text}; ${shown}`);
  }
}

async function chat(context, url) {
  const ada = await context.newPage();
  const bob = await context.newPage();
  const enter = async (page, name) => {
    await page.goto(url);
    await page.fill('#chat-name', name);
    await page.click('#chat-join');
    await shows(page, '#chat-online', name);
  };
  const say = async (page, text) => {
    await page.fill('#chat-input', text);
    await page.click('#chat-send');
  };
  await story({
    'chat: Ada joins and is online': () => enter(ada, 'Ada'),
    'chat: Bob joins in a second tab': () => enter(bob, 'Bob'),
    'chat: each sees the other online': async () => {
      await shows(ada, '#chat-online', 'Bob');
      await shows(bob, '#chat-online', 'Ada');
    },
    'chat: what Ada says reaches Bob and her own log': async () => {
      await say(ada, 'Is anybody there?');
      await shows(bob, '#chat-log', /Ada.*Is anybody there\?/);
      await shows(ada, '#chat-log', 'Is anybody there?');
    },
    'chat: what Bob answers reaches Ada': async () => {
      await say(bob, 'Everybody who matters. Grüße 🧦');
      await shows(ada, '#chat-log', /Bob.*Everybody who matters\. Grüße 🧦/u);
    },
    'chat: markup is shown as it was typed': async () => {
      await say(bob, '<b id="smuggled">bold</b>');
      await shows(ada, '#chat-log', '<b id="smuggled">bold</b>');
      assert.equal(await ada.locator('#smuggled').count(), 0, 'the message became part of the page');
    },
    'chat: a line that is too long is refused, not cut': async () => {
      await say(bob, 'x'.repeat(2001));
      await shows(bob, '#chat-log', 'Not sent: the message has 2001 characters, and the chat takes 2000 at most');
      assert.equal((await bob.inputValue('#chat-input')).length, 2001, 'it stays, to be shortened');
      await shows(ada, '#chat-log', 'xxx', { lacks: true });
    },
    'chat: screenshot': () => ada.screenshot({ path: join(screenshots, 'chat.png'), fullPage: true }),
    'chat: closing Bob\'s tab shows Ada that he left': async () => {
      await bob.close();
      await shows(ada, '#chat-log', /Bob.{0,20}(left|leaves|gone)/i);
      await shows(ada, '#chat-online', 'Bob', { lacks: true });
      await shows(ada, '#chat-online', 'Ada');
    },
    'chat: Ada can go on': async () => {
      await say(ada, 'Alone again');
      await shows(ada, '#chat-log', 'Alone again');
    },
  });
  await ada.close();
}

// The cable of Ada's page is pulled, and put back.
async function resuming(context, url) {
  const ada = await context.newPage();
  const bob = await context.newPage();
  const enter = async (page, name) => {
    await page.goto(url);
    await page.fill('#chat-name', name);
    await page.fill('#chat-room', 'the <b>cable</b> room');
    await page.click('#chat-join');
    await shows(page, '#chat-online', name);
  };
  await story({
    'cable: Bob writes, and Ada sees it in the history': async () => {
      await enter(bob, 'Bob');
      await bob.fill('#chat-input', 'before you came');
      await bob.click('#chat-send');
      await shows(bob, '#chat-log', 'before you came');
      await enter(ada, 'Ada');
      await shows(ada, '#chat-log', /earlier.*before you came/);
    },
    'cable: who types is shown': async () => {
      await bob.locator('#chat-input').pressSequentially('some');
      await shows(ada, '#chat-typing', 'Bob typing');
      await shows(ada, '#chat-typing', 'Bob', { lacks: true });
    },
    'cable: what Bob says while it is out arrives, and the page shows that it has resumed': async () => {
      await ada.click('#chat-cut');
      await shows(bob, '#chat-online', 'Ada', { lacks: true });
      await bob.fill('#chat-input', 'while you were away');
      await bob.click('#chat-send');
      await shows(bob, '#chat-log', 'while you were away');
      await ada.click('#chat-cut');
      await shows(ada, '#chat-link', 'resumed');
      await shows(ada, '#chat-log', /while you were away.*Resumed: 1 message was delivered late/);
      await shows(bob, '#chat-online', 'Ada');
    },
    'cable: what Ada says while it is out is sent when it is back': async () => {
      await ada.click('#chat-cut');
      await shows(bob, '#chat-online', 'Ada', { lacks: true });
      await ada.fill('#chat-input', 'said in the dark');
      await ada.click('#chat-send');
      await ada.click('#chat-cut');
      await shows(bob, '#chat-log', /Ada.*said in the dark/);
      assert.equal(await bob.locator('#chat-log .says', { hasText: 'said in the dark' }).count(), 1);
    },
    'cable: more than the history keeps is a gap': async () => {
      await ada.click('#chat-cut');
      await shows(bob, '#chat-online', 'Ada', { lacks: true });
      await bob.evaluate(async () => {
        const { RoomsClient } = await import('/rooms.js');
        const room = 'chat:the <b>cable</b> room';
        await Promise.all(['c', 'd', 'e'].map(async (name) => {
          const client = new RoomsClient(`${location.origin.replace('http', 'ws')}/rooms?name=${name}`);
          client.join(room);
          await Promise.all(Array.from({ length: 40 }, (_, message) => client.publish(room, `${name} ${message}`)));
          client.close();
        }));
      });
      await ada.click('#chat-cut');
      await shows(ada, '#chat-link', 'gap');
      await shows(ada, '#chat-log', 'Gap: messages were lost');
    },
    'cable: screenshot': () => ada.screenshot({ path: join(screenshots, 'resumed.png'), fullPage: true }),
  });
  await ada.close();
  await bob.close();
}

async function echoPanel(context, url) {
  const page = await context.newPage();
  const open = /\bopen(?!ing)|(?<!not |dis)connected/i;
  const roundTrip = String.raw`\d\s*(?:ms|µs|μs)`;
  await story({
    'echo panel: connects with echo.v2': async () => {
      await page.goto(url);
      await page.selectOption('#echo-protocol', 'echo.v2');
      await page.click('#echo-connect');
      await shows(page, '#echo-status', open);
    },
    'echo panel: says what was agreed on': async () => {
      await shows(page, '#echo-extensions', FORGETTING);
    },
    'echo panel: text comes back, with its round-trip time': async () => {
      await page.fill('#echo-input', 'ping or pong?');
      await page.click('#echo-send-text');
      await shows(page, '#echo-log', 'ping or pong?');
      await shows(page, '#echo-log', new RegExp(roundTrip));
    },
    'echo panel: binary comes back, with its round-trip time': async () => {
      await page.fill('#echo-binary-size', '512');
      await page.click('#echo-send-binary');
      await shows(page, '#echo-log', '512');
      await shows(page, '#echo-log', new RegExp(`${roundTrip}.*${roundTrip}`));
      await shows(page, '#echo-log', 'mismatch', { lacks: true });
    },
    'echo panel: a burst is measured apart from single messages': async () => {
      const single = await page.locator('#echo-median').innerText();
      assert.match(single, /^round trip [\d.]+ ms \(median of 2, one at a time\)$/);
      await page.click('#echo-burst');
      await shows(page, '#echo-bursts', /^burst of 100: [\d.]+ ms in all$/);
      assert.equal(await page.locator('#echo-median').innerText(), single);
    },
    'echo panel: the log counts the rows that it no longer shows': async () => {
      for (const echoed of [202, 302]) {
        await page.click('#echo-burst');
        await shows(page, '#echo-verdict', `${echoed} echoed, all identical`);
      }
      // One row for the opening, and two for each message.
      await shows(page, '#echo .cut', '105 earlier rows are not shown: a log keeps 500');
    },
    'echo panel: a close shows code, reason and that it was clean': async () => {
      await page.fill('#echo-close-code', '4999');
      await page.fill('#echo-close-reason', 'all done');
      await page.click('#echo-disconnect');
      await shows(page, '#echo-status', '4999');
      await shows(page, '#echo-status', 'all done');
      await shows(page, '#echo-status', /(?<!not |un)clean/i);
    },
    'echo panel: screenshot': () => page.screenshot({ path: join(screenshots, 'echo-closed.png'), fullPage: true }),
    'echo panel: a close by the server shows the same': async () => {
      await page.fill('#echo-close-code', '3000');
      await page.fill('#echo-close-reason', 'the server says');
      await page.click('#echo-server-close');
      await shows(page, '#echo-status', '3000');
      await shows(page, '#echo-status', 'the server says');
      await shows(page, '#echo-status', /(?<!not |un)clean/i);
    },
    'echo panel: connects again with echo.v1': async () => {
      await page.selectOption('#echo-protocol', 'echo.v1');
      await page.click('#echo-connect');
      await shows(page, '#echo-status', open);
      await page.fill('#echo-input', 'still there?');
      await page.click('#echo-send-text');
      await shows(page, '#echo-log', 'still there?');
    },
  });
  await page.close();
}

// ---- all of it ----

// Chromium offers `permessage-deflate; client_max_window_bits`: whatever the demo's options, they agree on it.
const OTHER_DEMOS = [
  { deflate: 'permessage-deflate', agreed: 'permessage-deflate' },
  {
    deflate: 'permessage-deflate; server_max_window_bits=9; client_max_window_bits=9',
    agreed: 'permessage-deflate; server_max_window_bits=9; client_max_window_bits=9',
  },
  { deflate: 'off', agreed: '' },
].map((other, index) => ({ ...other, log: join(out, `chromium-${scheme}-demo-${index + 2}.log`) }));

function sound(who, demo, log) {
  return check(`${who} is still running and nothing in it panicked`, async () => {
    assert.ok(demo.running(), `it ended; its log: ${log}`);
    assert.doesNotMatch(await readFile(log, 'utf8'), /panicked at/);
  });
}

async function main() {
  await mkdir(screenshots, { recursive: true });
  const tls = certificates ? ['--tls-cert', join(certificates, 'cert.pem'), '--tls-key', join(certificates, 'key.pem')] : [];
  const extra = (process.env.DEMO_ARGS ?? '').split(/\s+/).filter(Boolean);
  const start = (log, ...more) => startServer(demoBinary, ['--listen', '127.0.0.1:0', ...tls, ...extra, ...more], log, LIMIT);
  const demo = await start(demoLog);
  const { context, pageErrors } = await launch(modules, out, certificates ? join(certificates, 'cert.pem') : null);
  console.log(`Chromium ${context.browser()?.version() ?? ''} against ${demo.url}`);

  const page = context.pages()[0] ?? await context.newPage();
  await check('the page loads', async () => {
    const response = await page.goto(`${demo.url}/`);
    assert.equal(response.status(), 200);
  });
  await echoes(page, FORGETTING);
  await subprotocolsAndCloses(page);
  await chat(context, `${demo.url}/`);
  await resuming(context, `${demo.url}/`);
  await rooms(context, demo.url);
  await echoPanel(context, `${demo.url}/`);
  for (const { deflate, agreed, log } of OTHER_DEMOS) {
    const other = await start(log, '--deflate', deflate);
    await check(`the page of a demo with --deflate '${deflate}' loads`, () => page.goto(`${other.url}/`));
    await echoes(page, agreed);
    await sound(`the demo with --deflate '${deflate}'`, other, log);
  }
  await check('no uncaught error in any page', () => assert.deepEqual(pageErrors, []));
  await sound('the demo', demo, demoLog);
  console.log(`screenshots: ${screenshots}`);
}

await run(`chromium (${scheme})`, WHOLE_LIMIT, main);
