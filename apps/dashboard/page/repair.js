// The repair button and its progress.
import { ApiError, startRepair } from './api.js';
import { byId, counted, duration } from './dom.js';
import { log } from './log.js';

/** @typedef {import('./types.js').RepairState} RepairState */

export class RepairPanel {
  #missing = 0;
  /** @type {RepairState} */
  #state = { running: false, done: 0, total: 0, failed: null };
  #start = { at: 0, done: 0 };

  constructor() {
    this.button = /** @type {HTMLButtonElement} */ (byId('repair'));
    this.button.addEventListener('click', async () => {
      this.button.disabled = true;
      try {
        this.show(await startRepair());
      } catch (error) {
        log('bad', error instanceof ApiError ? error.message : String(error));
        this.#render();
      }
    });
  }

  /** @param {number} missing stages still to be trained */
  expect(missing) {
    this.#missing = missing;
    this.#render();
  }

  /** @param {RepairState} state */
  show(state) {
    if (state.running && !this.#state.running) this.#start = { at: performance.now(), done: state.done };
    this.#state = state;
    this.#render();
  }

  /**
   * @param {number} done training steps
   * @param {number} total
   */
  step(done, total) {
    // Training need not have been started by this server's repair; a step proves that something trains.
    if (this.#start.at === 0) this.#start = { at: performance.now(), done };
    this.#state = { running: true, done, total, failed: null };
    this.#render();
  }

  #render() {
    const { running, done, total, failed } = this.#state;
    this.button.disabled = running || this.#missing === 0;
    const progress = /** @type {HTMLProgressElement} */ (byId('repair-progress'));
    progress.hidden = !running;
    if (total > 0) progress.value = done / total;
    else progress.removeAttribute('value');
    byId('repair-text').textContent = running ? this.#progressText(done, total) : this.#restText(failed);
  }

  /**
   * @param {number} done
   * @param {number} total
   */
  #progressText(done, total) {
    if (total === 0) return 'Starting …';
    const text = `Step ${done.toLocaleString('en')} of ${total.toLocaleString('en')}`;
    const seconds = (performance.now() - this.#start.at) / 1000;
    const rate = (done - this.#start.done) / seconds;
    return seconds > 2 && rate > 0 ? `${text}, about ${duration((total - done) / rate)} left` : text;
  }

  /** @param {string | null} failed */
  #restText(failed) {
    const missing =
      this.#missing === 0 ? 'Every stage is trained.' : `${counted(this.#missing, 'stage')} to train again.`;
    return failed === null ? missing : `The last repair ended early (${failed}). ${missing}`;
  }
}
