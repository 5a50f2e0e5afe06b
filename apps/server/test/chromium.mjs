// The dashboard in Chromium, over a stand-in for the run: signing in, the map by keyboard, an erasure with its preview, the receipt's
// proof, repair, a text that is continued and stopped; no error and nothing that the policy refuses on the way. Pictures go to `test/pictures`.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { formatReceipt, generateKey, signingKeyOf } from '../../../packages/ledger/src/log/index.ts';
import { receiptParts } from '../../../packages/ledger/src/testing/receipt.ts';
import { findChromium } from '../../../scripts/lib/chromium.mjs';
import { createApp } from '../src/app.ts';
import { listenNode } from '../src/listen-node.ts';
import { StandIn } from '../src/testing/stand-in.ts';
import { whenSlowOrFailing } from './chromium-faults.mjs';

const KEY = 'a-key-of-the-test';
const root = fileURLToPath(new URL('../../../', import.meta.url));
const pictures = fileURLToPath(new URL('pictures/', import.meta.url));

const found = await findChromium(root);
if ('help' in found) {
  console.log(`skipped: no Chromium on this machine: ${found.help}`);
  process.exit(0);
}
await mkdir(pictures, { recursive: true });
const run = new StandIn({ stepMs: 10 });
run.expectation = { expected: { metric: 'accuracy', accuracy: 0.9375, examples: 480 }, depths: [3, 4, 4] };
const signer = await signingKeyOf('s3t/test', await generateKey());
const receipt = formatReceipt(await receiptParts(signer));
const log = { ...run.log, publicKey: async () => signer.publicKey.text, receiptFile: async () => receipt };
const service = new Proxy(run, {
  get(target, name) {
    if (name === 'log') return log;
    const value = Reflect.get(target, name, target);
    return typeof value === 'function' ? value.bind(target) : value;
  },
});
const keys = {
  isRequired: async () => true,
  find: async (secret) => (secret === KEY ? { id: 'test', role: 'admin' } : null),
};
const server = await listenNode(createApp(service, { keys }), { port: 0, host: '127.0.0.1', drainMs: 500 });
const browser = await chromium.launch({
  executablePath: found.path,
  env: { ...process.env, ...found.env },
  args: ['--no-sandbox'],
});
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 1000 }, reducedMotion: 'reduce' });
  page.setDefaultTimeout(30_000);
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  // The browser tells of refused requests, too; those to the API are part of the test.
  page.on('console', (line) => {
    const isAnswer = line.text().startsWith('Failed to load') && /\/v1\//.test(line.location().url);
    if (line.type() === 'error' && !isAnswer) faults.push(line.text());
  });
  const button = (name) => page.getByRole('button', { name });

  // A browser that was just unpacked, on a busy machine, may hang at its first page; what it complained of is told if it stays so.
  for (let tries = 1; ; tries++) {
    await page.goto(server.url);
    const isThere = await page
      .getByLabel('API key')
      .waitFor({ timeout: 20_000 })
      .then(
        () => true,
        () => false,
      );
    if (isThere) break;
    if (tries === 3) throw new Error(`the page does not come up: ${faults.join('; ') || 'no complaint'}`);
  }
  await page.getByLabel('API key').fill('not-the-key');
  await button('Sign in').click();
  await page.getByText('this API key is not known here').waitFor();
  await page.getByLabel('API key').fill(KEY);
  await page.keyboard.press('Enter');
  await page.locator('.shards .cell').first().waitFor();
  // The first load found a browser that had just been started; the second is what a user sees.
  await page.reload();
  await page.locator('.shards .cell').first().waitFor();
  const paint = await page.evaluate(
    () => performance.getEntriesByName('first-contentful-paint')[0].startTime,
  );
  assert.ok(paint <= 1000, `first paint after ${paint} ms`);
  assert.equal(await page.locator('.shards .cell').count(), 3 * 2 * 4);

  // The map is one tab stop; arrows go from cell to cell and on into the next shard.
  const about = () => page.evaluate(() => document.activeElement?.getAttribute('aria-label'));
  await page.locator('.shards .cell[tabindex="0"]').focus();
  assert.match(await about(), /^Shard 0, sequence 0, position 0: slice 0, served$/);
  for (let n = 0; n < 4; n++) await page.keyboard.press('ArrowRight');
  assert.match(await about(), /^Shard 1, sequence 0, position 0/);
  assert.equal(await page.locator('.shards .cell[tabindex="0"]').count(), 1);

  await page.getByLabel('Record ids, one per line').fill('nobody');
  await button('Preview').click();
  await page.getByRole('alert').getByText('not in this run').waitFor();
  await page.getByLabel('Record ids, one per line').fill('train/0\n\ntrain/9\ntrain/0');
  await button('Preview').click();
  await page.getByText('Shard 0', { exact: true }).nth(1).waitFor();
  const doomed = await page.locator('.cell[data-doomed]').count();
  assert.ok(doomed > 0);
  await button('Expected accuracy').click();
  await page.getByText(/^accuracy 93\.\d+ ?% on 480 examples$/).waitFor();
  assert.equal((await run.status()).erased, 0, 'a preview erases nothing');
  await page.screenshot({ path: `${pictures}preview.png`, fullPage: true });

  await button('Erase 2 records …').click();
  await button('Keep them').click();
  assert.equal((await run.status()).erased, 0);
  await button('Erase 2 records …').click();
  await page.getByRole('dialog').getByRole('button', { name: 'Erase', exact: true }).click();
  await page.getByText(/^Erased, acknowledged in/).waitFor();
  assert.equal((await run.status()).erased, 2);
  await page.locator('.erase .note:focus').waitFor();
  await page.waitForFunction(
    (count) => document.querySelectorAll('.shards [data-state="erased"]').length === count,
    doomed,
  );

  await button(/^Verify the receipt/).click();
  await page.getByText('Valid, checked in this browser').waitFor();
  assert.equal(await page.locator('.checks [data-ok="true"]').count(), 7);
  await page.getByText('Check against a key you were given').click();
  const other = await signingKeyOf('s3t/test', await generateKey());
  await page.getByLabel(/^Public key/).fill(other.publicKey.text);
  await button(/^Verify the receipt/).click();
  await page.getByText('NOT valid').waitFor();

  await button('Repair now').click();
  await page.locator('.shards [data-state="training"]').first().waitFor();
  await page.getByText('Every stage is trained.').waitFor();
  await button('Measure accuracy').click();
  await page.getByText('75.0 %').first().waitFor();

  await continueTexts(browser, faults);
  await whenSlowOrFailing(browser, faults);

  await page.emulateMedia({ colorScheme: 'dark' });
  await page.setViewportSize({ width: 390, height: 844 });
  await page.screenshot({ path: `${pictures}narrow-dark.png`, fullPage: true });
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390, 'nothing sticks out');

  await button('Sign out').click();
  await page.getByLabel('API key').waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.deepEqual(faults, []);
  console.log(
    `the dashboard works in Chromium ${browser.version()}; first paint after ${Math.round(paint)} ms`,
  );
} finally {
  await browser.close();
  await server.close();
}

/** The panel of a language model, by keyboard alone: a text comes token by token, and is stopped. */
async function continueTexts(browser, faults) {
  const run = new StandIn({ reads: 'text' });
  const pauses = [];
  const service = new Proxy(run, {
    get(target, name) {
      if (name === 'task') return 'causal-lm';
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const server = await listenNode(createApp(service), { port: 0, host: '127.0.0.1', drainMs: 500 });
  const page = await browser.newPage({ viewport: { width: 1440, height: 1000 }, reducedMotion: 'reduce' });
  page.setDefaultTimeout(30_000);
  page.on('pageerror', (error) => faults.push(error.message));
  try {
    await page.goto(server.url);
    const answer = page.locator('.try [role="status"]');
    // U+2028 ends a line for a regular expression, and none of an event stream.
    await page.getByLabel('Prompt').fill('Once\u2028upon a time');
    await page.keyboard.press('Tab');
    await page.keyboard.type('7');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await answer.getByText('As long as asked for.').waitFor();
    // The stand-in says the prompt again, a letter a token.
    assert.equal(await answer.locator('.said').textContent(), 'Once\u2028upon a timeOnce\u2028up');
    assert.match(await answer.textContent(), /12 stages of 3 shards, outlined/);

    run.beforePiece = () => new Promise((go) => pauses.push(go));
    await page.keyboard.press('Enter');
    while (pauses.length === 0) await page.waitForTimeout(5);
    pauses.shift()();
    await page.waitForFunction(() => document.querySelector('.try .said')?.textContent.endsWith('timeO'));
    assert.equal(await answer.getAttribute('aria-busy'), 'true');
    // The focus has stayed on the one button, which stops now.
    await page.keyboard.press('Enter');
    await answer.getByText('Stopped.').waitFor();
    assert.equal(await answer.getAttribute('aria-busy'), 'false');
  } finally {
    for (const go of pauses) go();
    await page.close();
    await server.close();
  }
}
