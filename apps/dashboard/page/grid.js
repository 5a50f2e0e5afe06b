// Shards x sequences x positions as cells. Built once; afterwards cells are changed in place, so focus stays where it is.
import { counted, el, short } from './dom.js';

/**
 * @typedef {import('./types.js').Status} Status
 * @typedef {import('./types.js').Shard} Shard
 * @typedef {import('./types.js').Stage} Stage
 * @typedef {'served' | 'active' | 'training' | 'inactive'} CellState
 */

/** @type {Record<CellState, string>} */
const words = {
  served: 'served',
  active: 'active, not served',
  training: 'in training',
  inactive: 'inactive',
};

export class Grid {
  /** @type {Map<string, { button: HTMLButtonElement, signature: string }>} */
  #cells = new Map();
  /** @type {{ card: HTMLElement, depth: HTMLElement, rows: HTMLElement[] }[]} */
  #cards = [];
  #shape = '';

  /**
   * @param {HTMLElement} root where the shards go
   * @param {HTMLElement} inspector where the selected cell is described
   */
  constructor(root, inspector) {
    this.root = root;
    this.inspector = inspector;
    /** Ids of stages being trained. @type {Set<string>} */
    this.training = new Set();
    /** How far each is, 0 to 1, by stage id. @type {Map<string, number>} */
    this.progress = new Map();
    root.addEventListener('keydown', (event) => this.#move(event));
    root.addEventListener('focusin', (event) => this.#inspect(event.target));
    root.addEventListener('pointerover', (event) => this.#inspect(event.target));
  }

  /** @param {Status} status */
  show(status) {
    const shape = status.shards.map((shard) => shard.sequences.map(({ stages }) => stages.length)).join(';');
    const fresh = shape !== this.#shape;
    if (fresh) this.#build(status);
    this.#shape = shape;
    for (const [index, shard] of status.shards.entries()) this.#showShard(shard, index, fresh);
  }

  /**
   * Marks the cells of stages an erasure would deactivate.
   * @param {readonly { shard: number, sequence: number, position: number }[]} doomed
   */
  mark(doomed) {
    const keys = new Set(doomed.map(({ shard, sequence, position }) => `${shard}/${sequence}/${position}`));
    for (const [key, { button }] of this.#cells) button.toggleAttribute('data-doomed', keys.has(key));
  }

  /** @param {Status} status */
  #build(status) {
    this.#cells.clear();
    this.#cards = status.shards.map((shard, index) => {
      const positions = shard.sequences[0]?.stages.length ?? 0;
      const head = el(
        'tr',
        {},
        el('td'),
        ...Array.from({ length: positions }, (_, at) => el('th', { scope: 'col' }, String(at))),
      );
      const rows = shard.sequences.map((sequence, row) => {
        const cells = sequence.stages.map((_, column) =>
          el('td', {}, this.#cell(`${index}/${row}/${column}`)),
        );
        return el('tr', {}, el('th', { scope: 'row' }, String(row)), ...cells);
      });
      const depth = el('p', { class: 'depth' });
      const title = `shard-${shard.shard}`;
      const table = el(
        'table',
        { 'aria-labelledby': title },
        el('thead', {}, head),
        el('tbody', {}, ...rows),
      );
      const card = el(
        'article',
        { class: 'shard' },
        el('h3', { id: title }, `Shard ${shard.shard}`),
        depth,
        table,
      );
      return { card, depth, rows };
    });
    this.root.replaceChildren(...this.#cards.map(({ card }) => card));
    this.#cells.get('0/0/0')?.button.setAttribute('tabindex', '0');
  }

  /** @param {string} key */
  #cell(key) {
    // One tab stop for the whole grid; arrow keys do the rest.
    const button = el('button', { type: 'button', class: 'cell', tabindex: -1, 'data-key': key });
    this.#cells.set(key, { button, signature: '' });
    return button;
  }

  /**
   * @param {Shard} shard
   * @param {number} index
   * @param {boolean} fresh whether the cells were just made
   */
  #showShard(shard, index, fresh) {
    const { depth, rows } = /** @type {any} */ (this.#cards[index]);
    const full = shard.sequences[0]?.stages.length ?? 0;
    depth.textContent =
      shard.servedSequence === null
        ? 'serves nothing'
        : `serves ${shard.servedDepth} of ${full}, sequence ${shard.servedSequence}`;
    depth.classList.toggle('none', shard.servedSequence === null);
    for (const [row, sequence] of shard.sequences.entries()) {
      rows[row].toggleAttribute('data-served', row === shard.servedSequence);
      for (const [column, stage] of sequence.stages.entries()) {
        this.#showCell(`${index}/${row}/${column}`, stage, this.#stateOf(shard, row, stage), shard, fresh);
      }
    }
  }

  /**
   * @param {Shard} shard
   * @param {number} row
   * @param {Stage} stage
   * @returns {CellState}
   */
  #stateOf(shard, row, stage) {
    if (row === shard.servedSequence && stage.position < shard.servedDepth) return 'served';
    if (stage.active) return 'active';
    return this.training.has(stage.stage) ? 'training' : 'inactive';
  }

  /**
   * @param {string} key
   * @param {Stage} stage
   * @param {CellState} state
   * @param {Shard} shard
   * @param {boolean} fresh
   */
  #showCell(key, stage, state, shard, fresh) {
    const cell = this.#cells.get(key);
    if (cell === undefined) return;
    const { button } = cell;
    button.style.setProperty('--progress', String(this.progress.get(stage.stage) ?? 0));
    const signature = `${state} ${stage.slice} ${stage.stage} ${stage.weights}`;
    if (signature === cell.signature) return;
    cell.signature = signature;
    button.dataset.state = state;
    button.textContent = String(stage.slice);
    const place = `Shard ${shard.shard}, sequence ${key.split('/')[1]}, position ${stage.position}`;
    button.setAttribute('aria-label', `${place}: slice ${stage.slice}, ${words[state]}`);
    const weights = stage.weights === null ? 'no weights' : `weights ${short(stage.weights)}`;
    button.dataset.about = `${place}: slice ${stage.slice}, ${words[state]}. Stage ${short(stage.stage)}, ${weights}, ${counted(stage.records, 'record')}.`;
    if (!fresh) flash(button);
  }

  /** @param {EventTarget | null} target */
  #inspect(target) {
    if (target instanceof HTMLElement && target.dataset.about)
      this.inspector.textContent = target.dataset.about;
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const from = event.target instanceof HTMLElement ? event.target.dataset.key : undefined;
    if (step === undefined || from === undefined) return;
    const [shard, row, column] = from.split('/').map(Number);
    const to = this.#neighbour(shard ?? 0, (row ?? 0) + (step[0] ?? 0), (column ?? 0) + (step[1] ?? 0));
    if (to === undefined) return;
    event.preventDefault();
    this.#cells.get(from)?.button.setAttribute('tabindex', '-1');
    to.setAttribute('tabindex', '0');
    to.focus();
  }

  /**
   * The cell there; beyond the first or last row or column, the next shard's.
   * @param {number} shard
   * @param {number} row
   * @param {number} column
   */
  #neighbour(shard, row, column) {
    const rows = this.#cards[shard]?.rows.length ?? 0;
    const columns = this.#cards[shard]?.rows[0]?.querySelectorAll('.cell').length ?? 0;
    if (column < 0) return this.#cells.get(`${shard - 1}/${row}/${columns - 1}`)?.button;
    if (column >= columns) return this.#cells.get(`${shard + 1}/${row}/0`)?.button;
    if (row < 0) return this.#cells.get(`${shard - 1}/${rows - 1}/${column}`)?.button;
    if (row >= rows) return this.#cells.get(`${shard + 1}/0/${column}`)?.button;
    return this.#cells.get(`${shard}/${row}/${column}`)?.button;
  }
}

/** @param {HTMLElement} element */
function flash(element) {
  element.classList.remove('changed');
  // Reading the layout in between is what starts the animation again.
  void element.offsetWidth;
  element.classList.add('changed');
}
