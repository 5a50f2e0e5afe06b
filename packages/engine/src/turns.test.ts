import { sources } from '@s3t/kernels';
import { expect, test } from 'vitest';
import { Device, gelu, scope, tensor } from './index.ts';
import { openAs } from './testing/classes.ts';
import { turnsOf } from './turns.ts';

const ONE_ITEM = Object.keys(sources).filter((name) => sources[name]!.includes('groups.x * 64u'));

test('every kernel of one item an invocation takes items in turn on software adapters alone', () => {
  expect(ONE_ITEM.length).toBeGreaterThan(30);
  const grid = [1000, 1, 1] as const;
  for (const name of ONE_ITEM) {
    expect(turnsOf('software', name, grid).turns, name).toBeGreaterThan(1);
    // Items that share anything, or a grid of more than a line, could not take turns.
    expect(sources[name], name).not.toMatch(
      /var<(workgroup|private)>|Barrier|subgroup|\bgroups\.[yz]|\bid\.z/,
    );
    expect(turnsOf('gpu', name, grid)).toEqual({ turns: 1, workgroups: grid });
    expect(turnsOf('portable', name, grid)).toEqual({ turns: 1, workgroups: grid });
  }
  expect(turnsOf('software', 'matmul/panel', grid)).toEqual({ turns: 1, workgroups: grid });
});

test.each([1, 15, 16, 127, 128, 65_535, 65_536, 1_000_000])(
  '%i workgroups of 64 items are all covered',
  (groups) => {
    const whole = [Math.min(groups, 65_535), Math.ceil(groups / 65_535), 1] as const;
    const { turns, workgroups } = turnsOf('software', 'elementwise/unary', whole);
    expect(workgroups[0] * workgroups[1] * 8 * turns).toBeGreaterThanOrEqual(64 * groups);
    expect(Math.max(...workgroups)).toBeLessThanOrEqual(65_535);
  },
);

/** GELU of a ragged number of values, so many at once. */
async function geluBits(
  device: Device,
  values: Float32Array<ArrayBuffer>,
  size: number,
): Promise<Uint32Array> {
  const bits = new Uint32Array(values.length);
  for (let at = 0; at < values.length; at += size) {
    const share = values.slice(at, at + size);
    const y = scope(() => gelu(tensor(device, share, [share.length])));
    bits.set(new Uint32Array(((await y.read()) as Float32Array<ArrayBuffer>).buffer), at);
    y.dispose();
  }
  return bits;
}

test('many, few or single turns give the same bits', async () => {
  const values = Float32Array.from({ length: 40_003 }, (_, i) => 5 * Math.sin(i * i));
  using device = await Device.open();
  using portable = await openAs('portable');
  const whole = await geluBits(device, values, values.length);
  expect(await geluBits(device, values, 5000)).toEqual(whole);
  expect(await geluBits(portable!, values, values.length)).toEqual(whole);
});
