import { type Tensor, zeros } from '@s3t/engine';
import type { HostInputs, InputField, Inputs } from './architecture.ts';
import { copyInputs, fieldsAt, hostInputs, placeInputs, writeInputs } from './inputs.ts';
import type { BaseModel } from './model.ts';
import { type ObjectiveName, objectiveOf } from './objective.ts';
import type { StageTask } from './stage-training.ts';

/** What is to be learnt of the rows of one part of a batch. */
interface PartLabels {
  labels: Tensor;
  weights: Tensor;
  host: {
    labels: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>;
    weights: Float32Array<ArrayBuffer>;
  };
}

/**
 * The inputs of a training step: rows of one length in equal parts, one for each stage that learns in it, to be filled on the host and
 * written before each replay.
 */
export class HostBatch {
  /** What enters the lowest layer that is run, [parts * rows, tokens, width]. */
  readonly x: Tensor;
  /** What layers read besides, for the same rows. */
  readonly carried: Inputs;
  readonly parts: readonly PartLabels[];
  readonly #rows: number;
  /** Of the architecture's whole length, and cut to that of the rows. */
  readonly #fields: { whole: readonly InputField[]; cut: readonly InputField[] };
  readonly #labels: { whole: number; cut: number };
  readonly #host: { x: Float32Array<ArrayBuffer>; carried: HostInputs };

  /** @param rows of each part @param tokens of each row */
  constructor(
    { device, network: { architecture } }: Pick<BaseModel, 'device' | 'network'>,
    {
      objective,
      parts,
      rows,
      tokens,
    }: { objective: ObjectiveName; parts: number; rows: number; tokens: number },
  ) {
    const whole = architecture.inputs.filter(({ carried }) => carried);
    this.#rows = rows;
    this.#fields = { whole, cut: fieldsAt(whole, tokens) };
    const { labels, dtype } = objectiveOf(objective, { tokens });
    this.#labels = { whole: objectiveOf(objective, architecture).labels, cut: labels };
    const { width } = architecture;
    this.x = zeros(device, [parts * rows, tokens, width]);
    this.carried = placeInputs(device, this.#fields.cut, parts * rows);
    const count = rows * labels;
    this.parts = Array.from({ length: parts }, () => ({
      labels: zeros(device, [count], { dtype }),
      weights: zeros(device, [count]),
      host: {
        labels: dtype === 'u32' ? new Uint32Array(count) : new Float32Array(count),
        weights: new Float32Array(count),
      },
    }));
    this.#host = {
      x: new Float32Array(parts * rows * tokens * width),
      carried: hostInputs(this.#fields.cut, parts * rows),
    };
  }

  /** Fills one part. Rows that are left over get weight zero. */
  fill(part: number, task: StageTask, records: readonly number[]): void {
    const { x, carried } = this.#host;
    const rowSize = this.x.size / (this.parts.length * this.#rows);
    const { whole, cut } = this.#labels;
    const { labels, weights } = this.parts[part]!.host;
    for (let i = 0; i < this.#rows; i++) {
      const record = records[i];
      const row = part * this.#rows + i;
      const target = x.subarray(row * rowSize, (row + 1) * rowSize);
      if (record === undefined) target.fill(0);
      else {
        task.activation(record, target);
        // What a row of weight zero carries does not matter.
        const inputs = task.inputs?.(record);
        if (inputs) copyInputs(this.#fields.whole, inputs, 0, 1, carried, row, this.#fields.cut);
      }
      for (let j = 0; j < cut; j++) {
        const of = record === undefined ? null : record * whole + j;
        labels[i * cut + j] = of === null ? 0 : task.labels[of]!;
        weights[i * cut + j] = of === null ? 0 : (task.weights?.[of] ?? 1);
      }
    }
  }

  /** Brings what was filled onto the device. */
  write(): void {
    this.x.write(this.#host.x);
    writeInputs(this.#fields.cut, this.#host.carried, this.carried);
    for (const { labels, weights, host } of this.parts) {
      labels.write(host.labels);
      weights.write(host.weights);
    }
  }

  /** Zeroes what is on the device and gives it back. */
  destroy(): void {
    const perPart = this.parts.flatMap(({ labels, weights }) => [labels, weights]);
    for (const tensor of [this.x, ...Object.values(this.carried), ...perPart]) tensor.destroy();
  }
}
