import type { UnlearnerEvent } from '@s3t/unlearner';
import { plural, short } from './terminal/format.ts';
import { Progress } from './terminal/progress.ts';

/** Shows the training, repair or verification of stages from the run's events, wherever they come from: this process or a server. */
export class WorkProgress {
  readonly #progress: Progress;
  readonly #label: string;
  #stage = '';
  #total = 0;
  #done = 0;
  #loss: number | null = null;

  constructor(label: string, progress: Progress = new Progress()) {
    this.#label = label;
    this.#progress = progress;
  }

  /** Whether any work was announced. */
  get worked(): boolean {
    return this.#total > 0;
  }

  readonly show = (event: UnlearnerEvent): void => {
    switch (event.type) {
      case 'work-started':
        this.#total = event.steps;
        this.#done = 0;
        if (event.stages > 0) {
          this.#progress.log(
            `${this.#label}: ${plural(event.stages, 'stage')}, ${plural(event.steps, 'step')}`,
          );
        }
        break;
      case 'stage-started':
        this.#stage = `stage ${event.index + 1} of ${event.stages} (shard ${event.shard}, slices ${event.slices.join(' ')})`;
        this.#loss = null;
        this.#update();
        break;
      case 'step':
        this.#done = event.doneSteps;
        this.#total = event.totalSteps;
        this.#loss = event.loss ?? this.#loss;
        this.#update();
        break;
      case 'stage-superseded':
        this.#progress.log(
          `stage ${short(event.stage)} dropped: an erasure touched its data while it was trained`,
        );
        break;
    }
  };

  #update(): void {
    const loss = this.#loss === null ? '' : `, loss ${this.#loss.toFixed(3)}`;
    this.#progress.update({
      label: this.#label,
      done: this.#done,
      total: this.#total,
      note: `${this.#stage}${loss}`,
    });
  }

  clear(): void {
    this.#progress.clear();
  }
}
