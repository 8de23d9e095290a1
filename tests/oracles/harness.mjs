// What the oracles in node share: checks that are counted, programs that are ended, and a summary.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { stripVTControlCharacters } from 'node:util';

let passed = 0;
let failed = 0;
let stopped = false; // by a signal: what fails from then on says nothing

export async function check(name, test) {
  try {
    await test();
    passed += 1;
    console.log(`ok    ${name}`);
    return true;
  } catch (error) {
    if (stopped) return false;
    failed += 1;
    console.log(`FAIL  ${name}: ${stripVTControlCharacters(error.message).trim().replaceAll('\n', '\n      ')}`);
    return false;
  }
}

// Steps that build on each other: after a failure the rest cannot be judged, and counts as failed.
export async function story(steps) {
  let broken = null;
  for (const [name, test] of Object.entries(steps)) {
    const earlier = broken;
    const ok = await check(name, async () => {
      if (earlier !== null) throw new Error(`not reached, because of '${earlier}'`);
      await test();
    });
    if (!ok) broken ??= name;
  }
}

export async function within(limit, what, promise) {
  let timer;
  const late = new Promise((_, failed) => {
    timer = setTimeout(() => failed(new Error(`waited ${limit} ms for ${what}`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const cleanups = []; // ended in reverse order

// Has `end` called when the oracle ends, however it does.
export function onEnd(end) {
  cleanups.push(end);
}

// Starts a server whose first line says where it listens.
export async function startServer(binary, args, logFile, limit) {
  const log = createWriteStream(logFile);
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const exit = new Promise((done) => {
    child.once('error', (error) => done(`could not be started: ${error.message}`));
    child.once('exit', (code, signal) => done(`ended with ${signal ?? `status ${code}`}`));
  });
  // Neither stream ends the log: the other one may have more to write.
  child.stderr.on('data', (text) => log.write(text));
  const lines = createInterface({ input: child.stdout });
  const firstLine = new Promise((done) => lines.once('line', done));
  lines.on('line', (line) => log.write(`${line}\n`));

  onEnd(async () => {
    child.kill('SIGTERM');
    await within(limit, 'the server to end after SIGTERM', exit).catch(async (error) => {
      child.kill('SIGKILL');
      await exit;
      throw error;
    });
  });
  const line = await within(limit, 'the server to listen', Promise.race([
    firstLine,
    exit.then((how) => { throw new Error(`the server ${how}; its log: ${logFile}`); }),
  ]));
  const [, url] = line.match(/^listening on (https?:\/\/127\.0\.0\.1:\d+)$/) ?? [];
  assert.ok(url, `the server's first line should say where it listens; it is '${line}'`);
  const running = () => child.exitCode === null && child.signalCode === null;
  return { url, running, kill: () => child.kill('SIGKILL'), ended: exit };
}

let cleaning = null;
// Ends, in reverse order, what was started; once, whoever asks first.
function cleanUp() {
  cleaning ??= (async () => {
    for (const end of cleanups.reverse()) {
      await end().catch((error) => {
        failed += 1;
        console.log(`FAIL  clean-up: ${error.message}`);
      });
    }
  })();
  return cleaning;
}

// Runs the oracle, for no longer than `limit` milliseconds, says what came of it, and ends the process.
export async function run(title, limit, main) {
  const stop = async (code) => {
    stopped = true;
    await cleanUp();
    console.log(`${title}: stopped`);
    process.exit(code);
  };
  process.once('SIGTERM', () => stop(143));
  process.once('SIGINT', () => stop(130));
  try {
    await within(limit, 'everything', main());
  } catch (error) {
    await check('the run goes through to its end', () => { throw error; });
  }
  await cleanUp();
  if (!stopped) {
    console.log(`${title}: ${passed} passed, ${failed} failed`);
    process.exit(failed === 0 && passed > 0 ? 0 : 1);
  }
}
