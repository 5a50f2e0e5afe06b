import { sources } from '@s3t/kernels';
import { type AdapterClass, SOFTWARE_LANES as LANES } from './adapter.ts';
import { gridOf } from './operation.ts';

/** Items of a workgroup as kernels are written. */
const ITEMS = 64;
/** What lavapipe spends on a subgroup is spread over so many items of each invocation, if that leaves workgroups enough for all cores. */
const MANY_TURNS = 64;
const LEAST_WORKGROUPS = 16;

/** How kernels begin whose invocations compute one item each, in a line of workgroups, and know nothing of each other. */
const HEAD =
  /@compute @workgroup_size\(64\)\nfn main\(@builtin\(global_invocation_id\) id: vec3u, @builtin\(num_workgroups\) groups: vec3u\) \{\n {2}let i = id\.x \+ id\.y \* groups\.x \* 64u;\n/;

/** How many items an invocation of a kernel takes in turn, and the grid for it. */
export interface Turns {
  /** 1: as the kernel is written. */
  turns: number;
  workgroups: readonly [number, number, number];
}

/** By kernel, whether it is one of those; looked up at every launch. */
const known: Map<string, boolean> = new Map();

function isOneItem(kernel: string): boolean {
  const found = known.get(kernel) ?? HEAD.test(sources[kernel] ?? '');
  known.set(kernel, found);
  return found;
}

/**
 * A kernel of one item an invocation, launched with `workgroups` in a line, as it runs on a class of adapters. Lavapipe spends as much
 * on starting a subgroup as on some loads and stores: there a workgroup is one subgroup whose invocations take many items.
 */
export function turnsOf(
  adapterClass: AdapterClass,
  kernel: string,
  workgroups: readonly [number, number, number],
): Turns {
  if (adapterClass !== 'software' || !isOneItem(kernel)) return { turns: 1, workgroups };
  const items = ITEMS * workgroups[0] * workgroups[1];
  const turns = items >= LANES * MANY_TURNS * LEAST_WORKGROUPS ? MANY_TURNS : ITEMS / LANES;
  return { turns, workgroups: gridOf(items, LANES * turns) };
}

/** The text of such a kernel with the loop over an invocation's items, LANES apart. */
export function inTurns(source: string, turns: number): string {
  if (turns === 1) return source;
  return `${source.replace(HEAD, 'fn compute(i: u32) {\n')}
@compute @workgroup_size(${LANES})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = (group.x + group.y * groups.x) * ${LANES * turns}u + lane;
  for (var turn = 0u; turn < ${turns}u; turn++) {
    compute(first + turn * ${LANES}u);
  }
}
`;
}
