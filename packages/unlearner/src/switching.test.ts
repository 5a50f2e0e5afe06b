// Which ensembles may still answer after a switch, without weights: stages come and go, and texts are under way.
import type { ActiveStage } from '@s3t/ledger';
import type { Ensemble } from '@s3t/model';
import { beforeEach, expect, test } from 'vitest';
import { type Served, Serving } from './serving.ts';

/** Two shards that each can serve either of two orders of slices. */
const RUN = {
  sequences: [
    [0, 1],
    [1, 0],
  ],
  shards: 2,
};

class WithoutWeights extends Serving {
  readonly disposed: string[][] = [];

  constructor() {
    super({ run: RUN } as unknown as ConstructorParameters<typeof Serving>[0]);
  }

  override ensembleOf(stacks: readonly { stages: readonly string[] }[]): Ensemble {
    const dispose = () => this.disposed.push(stacks.flatMap(({ stages }) => stages));
    return { dispose } as unknown as Ensemble;
  }
}

let serving: WithoutWeights;
let version: number;
beforeEach(() => {
  serving = new WithoutWeights();
  version = 0;
});

/** Stages named `<shard><sequence><position>`, each of its one sequence. A version of its own for what is served then. */
function switchTo(...names: string[]): void {
  const active = names.map((id) => {
    const [shard, sequence, position] = [...id].map(Number);
    const parent = position === 0 ? null : `${shard}${sequence}${position! - 1}`;
    return { id, shard, position, sequences: [sequence], parent, records: 1 } as unknown as ActiveStage;
  });
  const best = (shard: string) =>
    ['0', '1']
      .map((sequence) => names.filter((name) => name.startsWith(shard + sequence)))
      .reduce((one, other) => (other.length > one.length ? other : one));
  const manifest = [best('0'), best('1')].join();
  if (manifest !== serving.served?.manifest) version++;
  serving.switchTo(active, { version, manifest });
}

async function begin(): Promise<{ served: Served; end: () => void }> {
  return (await serving.begin())!;
}

test('what is served stays where other stages go', async () => {
  switchTo('000', '001', '010', '100');
  const { served, end } = await begin();
  switchTo('000', '001', '100');
  expect(serving.served).toBe(served);
  expect(serving.mayGoOn(served)).toBe(true);
  end();
  expect(serving.disposed).toEqual([]);
});

test('a text goes on through a publication and the end of stages that never answered', async () => {
  switchTo('000', '010', '100');
  const { served, end } = await begin();
  switchTo('000', '001', '010', '100');
  switchTo('000', '001', '100');
  expect(serving.served!.stages).toEqual(['000', '001', '100']);
  expect(serving.mayGoOn(served)).toBe(true);
  expect(serving.validSince).toBe(1);
  end();
  expect(serving.disposed).toEqual([['000', '100']]);
  expect(serving.mayGoOn(served)).toBe(false);
});

test('a text ends with a stage of its own that is not served any more, and what is served stays', async () => {
  switchTo('010', '100');
  const { served: old } = await begin();
  switchTo('000', '010', '100');
  switchTo('000', '001', '010', '100');
  const { served } = await begin();
  expect(serving.mayGoOn(old)).toBe(true);
  switchTo('000', '001', '100');
  expect(serving.mayGoOn(old)).toBe(false);
  expect(serving.mayGoOn(served)).toBe(true);
  expect(serving.validSince).toBe(served.version);
  expect(serving.disposed).toEqual([
    ['000', '100'],
    ['010', '100'],
  ]);
});

test('no version stays valid whose stage is gone, though no text of it is under way', async () => {
  switchTo('010', '100');
  switchTo('000', '001', '010', '100');
  expect(serving.validSince).toBe(1);
  switchTo('000', '001', '100');
  expect(serving.validSince).toBe(2);
});

test('a text ends where a stage of it is gone', async () => {
  switchTo('000', '001', '100');
  const { served } = await begin();
  switchTo('000', '001');
  expect(serving.mayGoOn(served)).toBe(false);
  expect(serving.served!.stages).toEqual(['000', '001']);
  expect(serving.validSince).toBe(2);
  switchTo();
  expect([serving.served, serving.validSince]).toEqual([null, null]);
});
