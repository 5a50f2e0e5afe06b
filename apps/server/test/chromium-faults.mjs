// The dashboard in Chromium where the server is slow, loses an answer or cannot answer: nothing else is erased than what was named, and what
// the page shows becomes true again.
import assert from 'node:assert/strict';
import { createApp } from '../src/app.ts';
import { listenNode } from '../src/listen-node.ts';
import { StandIn } from '../src/testing/stand-in.ts';

export async function whenSlowOrFailing(browser, faults) {
  await onARun(browser, faults, new StandIn(), erasing);
  await onARun(browser, faults, new StandIn(), unreadable);
  await onARun(browser, faults, losable(new StandIn()), lost);
  await onARun(browser, faults, new StandIn({ reads: 'text' }), longNames);
  const number = new StandIn({ reads: 'text' });
  number.answer = () => [{ label: 'value', score: 3.7 }];
  await onARun(browser, faults, changed(number, { task: 'text-regression' }), numbers);
}

async function onARun(browser, faults, run, work) {
  const server = await listenNode(createApp(run), { port: 0, host: '127.0.0.1', drainMs: 500 });
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' });
  page.setDefaultTimeout(30_000);
  page.on('pageerror', (error) => faults.push(error.message));
  try {
    await work(page, run, server.url);
  } finally {
    await page.close();
    await server.close();
  }
}

async function erasing(page, run, url) {
  await page.goto(url);
  const ids = page.getByLabel('Record ids, one per line');
  const button = (name) => page.getByRole('button', { name, exact: true });
  const sure = async () => {
    await button('Erase 1 record …').click();
    await page.getByRole('dialog').getByRole('button', { name: 'Erase', exact: true }).click();
  };

  // What is refused is told by its name: blank lines and doubles are not sent, so the server's count is not the field's.
  await ids.fill('train/1\n\ntrain/1\nnobody');
  await button('Preview').click();
  await page.getByRole('alert').getByText('nobody: is not in this run').waitFor();

  // What is previewed, and then erased, is what the field says.
  const { promise: answered, resolve: answer } = Promise.withResolvers();
  await page.route('**/v1/erasures', async (route) => {
    await answered;
    await route.continue();
  });
  await ids.fill('train/1');
  await button('Preview').click();
  await ids.press('ControlOrMeta+a');
  await page.keyboard.type('train/2');
  answer();
  await button('Erase 1 record …').waitFor();
  assert.equal(await ids.inputValue(), 'train/1');
  await page.unroute('**/v1/erasures');

  // An answer that is lost: asked again, it is the same erasure.
  const served = page.locator('.shards .cell[data-doomed][data-state="served"]').first();
  await served.hover();
  await page.locator('.inspector').getByText(', served, would be erased').waitFor();
  await page.route('**/v1/erasures', async (route) => {
    await route.fetch();
    await route.abort();
  });
  await sure();
  await page.getByRole('alert').getByText('cannot be reached').waitFor();
  await page.unroute('**/v1/erasures');
  await sure();
  await page.getByText(/^Erased, acknowledged in/).waitFor();
  assert.equal((await run.status()).erased, 1);
  // Nobody points anew, and yet it says what is so now.
  await page.locator('.inspector').getByText('erased, waits for repair').waitFor();

  await page.goto(`${url}/docs`);
  await page.locator('.operations .panel').first().waitFor();
  await page.setViewportSize({ width: 360, height: 640 });
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, 'nothing sticks out');
}

async function unreadable(page, run, url) {
  const refusal = { status: 503, contentType: 'application/json', body: '{"error":{"message":"too busy"}}' };
  await page.route('**/v1/events', (route) => route.fulfill(refusal));
  await page.goto(url);
  await page.getByText('The server answers: too busy. Trying again').waitFor();
  // What comes after it, too: it is asked for again, and is not nothing meanwhile.
  await run.erase({ records: ['train/2'] });
  await page.route(/\/v1\/erasures\?/, (route) => route.fulfill(refusal), { times: 1 });
  await page.route('**/v1/models', (route) => route.fulfill(refusal), { times: 1 });
  await page.unroute('**/v1/events');
  await page.locator('.shards .cell').first().waitFor();
  await page.getByText('The receipts are being read').waitFor();
  await page.locator('.receipts .list > li').waitFor();
  await page.locator('.try canvas').waitFor();

  // A status that cannot be read once.
  await page.route('**/v1/status', (route) => route.fulfill(refusal), { times: 1 });
  await run.erase({ records: ['train/1'] });
  await page.waitForFunction(() => document.querySelectorAll('.shards [data-state="erased"]').length > 6);

  await page.route('**/v1/repair', (route) => route.fulfill(refusal));
  await page.getByRole('button', { name: 'Repair now' }).click();
  await page.locator('.repair').getByText('too busy').waitFor();

  await page.route('**/openapi.json', (route) => route.fulfill(refusal));
  await page.goto(`${url}/docs`);
  await page.getByText('cannot be read: the server answered 503').waitFor();
}

/** Another process opens the run, and finishes an erasure without an event of its own. */
async function lost(page, run, url) {
  await page.goto(url);
  await page.getByText('Nothing has been erased yet').waitFor();
  run.lose();
  await page.locator('.link[data-state="lost"]').waitFor();
  await run.erase({ records: ['train/1'] });
  await page.locator('.link[data-state="live"]').waitFor();
  await page.locator('.receipts .list > li').waitFor();

  // A shard that serves nothing already is none that keeps serving.
  await run.erase({ records: ['train/0', 'train/3', 'train/6', 'train/9'] });
  await page.getByText('serves nothing').waitFor();
  await page.getByLabel('Record ids, one per line').fill('train/4');
  await page.getByRole('button', { name: 'Preview' }).click();
  await page.getByText('1 shard would serve nothing until repaired.').waitFor();
}

/** A run that can be lost, and tells of no erasure then. */
function losable(run) {
  const listeners = new Set();
  let isLost = false;
  return changed(run, {
    onLost: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    on: (listener) => run.on((event) => (isLost && event.type === 'erased') || listener(event)),
    lose: () => {
      isLost = true;
      for (const listener of listeners) listener();
    },
  });
}

/** Names without a space in them, as long as they may be. */
async function longNames(page, run, url) {
  run.answer = () => [{ label: 'label'.repeat(40), score: 0.75 }];
  await page.goto(url);
  await page.locator('.try textarea').fill('What is it?');
  await page.getByRole('button', { name: 'Ask' }).click();
  await page.locator('.scores').waitFor();
  await page.getByLabel('Record ids, one per line').fill('x'.repeat(500));
  await page.getByRole('button', { name: 'Preview' }).click();
  await page.getByRole('alert').getByText('is not in this run').waitFor();
  for (const width of [1280, 360]) {
    await page.setViewportSize({ width, height: 900 });
    assert.equal(
      await page.evaluate(() => document.documentElement.scrollWidth),
      width,
      'nothing sticks out',
    );
  }
}

async function numbers(page, _run, url) {
  await page.goto(url);
  await page.locator('.try textarea').fill('How similar?');
  await page.getByRole('button', { name: 'Ask' }).click();
  await page.locator('.scores').waitFor();
  assert.equal(await page.locator('.scores').textContent(), 'value3.7');
}

function changed(run, own) {
  return new Proxy(run, {
    get(target, name) {
      if (name in own) return own[name];
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
