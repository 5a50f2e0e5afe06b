// The page: the run's status, kept live by the server's events.
import { getReceipts, getStatus } from './api.js';
import { byId, counted, milliseconds, short } from './dom.js';
import { setUpErase } from './erase.js';
import { Grid } from './grid.js';
import { follow } from './live.js';
import { addReceipt, log, showReceipts } from './log.js';
import { RepairPanel } from './repair.js';

/** @typedef {import('./types.js').Status} Status */

const grid = new Grid(byId('shards'), byId('inspector'));
const repair = new RepairPanel();
/** @type {Status | undefined} */
let status;
let refreshing = false;
let again = false;

setUpErase({
  status: () => status,
  mark: (deactivated) => grid.mark(deactivated),
  // The `erased` event says the same; it may be late, the receipt is here.
  done: () => refresh(),
});

/** @param {Status} next */
function show(next) {
  status = next;
  byId('version').textContent = String(next.version);
  const manifest = byId('manifest');
  manifest.textContent = short(next.manifest);
  manifest.title = next.manifest;
  const full = next.shards[0]?.sequences[0]?.stages.length ?? 0;
  const depths = next.shards.map((shard) => shard.servedDepth);
  byId('serving').textContent = `${depths.filter((depth) => depth > 0).length} of ${depths.length}`;
  const mean = depths.reduce((sum, depth) => sum + depth, 0) / Math.max(1, depths.length);
  byId('depth').textContent = `${Number(mean.toFixed(2))} of ${full}`;
  byId('records').textContent = next.records.toLocaleString('en');
  byId('erased').textContent = next.erased.toLocaleString('en');
  for (const { sequences } of next.shards) {
    for (const { stages } of sequences) for (const { stage, active } of stages) if (active) forget(stage);
  }
  grid.show(next);
  repair.expect(next.missing);
}

/** Asks for the status again. However many events ask at once, one request runs and at most one follows. */
async function refresh() {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  try {
    do {
      again = false;
      show(await getStatus());
    } while (again);
  } catch (error) {
    log('bad', error instanceof Error ? error.message : String(error));
  } finally {
    refreshing = false;
  }
}

/** @type {Record<string, (data: any) => void>} */
const on = {
  hello: (data) => {
    grid.training.clear();
    repair.show(data.repair);
    show(data.status);
    getReceipts().then(showReceipts, () => {});
    log('info', `Connected, version ${data.status.version}`);
  },
  version: () => refresh(),
  erased: ({ receipt }) => {
    const stages = new Set(receipt.deactivated.map((/** @type {any} */ one) => one.stage)).size;
    log(
      'erased',
      `Erased ${counted(receipt.records, 'record')}: ${counted(stages, 'stage')} gone in ${milliseconds(receipt.acknowledgedMs)}`,
    );
    addReceipt(receipt);
    refresh();
  },
  repair: (data) => repair.show(data),
  'work-started': (data) => log('info', `Training ${counted(data.stages, 'stage')}`),
  'stage-started': (data) => {
    log(
      'info',
      `Training shard ${data.shard}, position ${data.position} (${data.index + 1} of ${data.stages})`,
    );
    grid.training.add(data.stage);
    if (status !== undefined) grid.show(status);
  },
  step: (data) => {
    grid.training.add(data.stage);
    grid.progress.set(data.stage, data.step / data.steps);
    repair.step(data.doneSteps, data.totalSteps);
    if (status !== undefined) grid.show(status);
  },
  'stage-published': (data) => {
    // Still shown as training until the new status says it is active.
    log('good', `Published shard ${data.shard}, position ${data.position} as version ${data.version}`);
    refresh();
  },
  'stage-superseded': (data) => {
    forget(data.stage);
    log('erased', `Thrown away shard ${data.shard}, position ${data.position}: erased while it trained`);
    refresh();
  },
  'work-finished': (data) => {
    grid.training.clear();
    repair.show({ running: false, done: 0, total: 0, failed: null });
    log('good', `Trained ${counted(data.trained, 'stage')}`);
    refresh();
  },
};

/** @param {string} stage */
function forget(stage) {
  grid.training.delete(stage);
  grid.progress.delete(stage);
}

const link = byId('link');
follow(
  (name, data) => on[name]?.(data),
  (live) => {
    link.dataset.state = live ? 'live' : 'lost';
    link.textContent = live ? 'live' : 'reconnecting';
  },
);
