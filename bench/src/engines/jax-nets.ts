import { blockUntilReady, jit, nn, numpy as np, tree, valueAndGrad } from '@jax-js/jax';
import { transposed } from '../inputs.ts';
import { batchOf, llama, type NetName, nets, rotations, vit, weightsOf } from '../nets.ts';

type Weights = Record<string, np.Array>;
/** Takes a weight by its name; jax-js hands it over, so each is taken once. */
type Take = (name: string) => np.Array;

/** A training step: loss, and the gradients of the adapters. Matrices are kept [in, out], so that products are plain. */
export async function trainingStep(
  net: NetName,
): Promise<{ call(): np.Array[]; read(results: np.Array[]): Promise<number[]> }> {
  const weights = weightsOf(net);
  const [trained, frozen]: [Weights, Weights] = [{}, {}];
  for (const { name, shape, trained: isTrained, values } of weights) {
    const [rows, columns] = shape;
    (isTrained ? trained : frozen)[name] =
      columns === undefined
        ? np.array(values)
        : np.array(transposed(values, rows!, columns), { shape: [columns, rows!] });
  }
  const { batch, tokens, width, classes } = nets[net];
  const { x, labels } = batchOf(net);
  const input = np.array(x, { shape: [batch, tokens, width] });
  const oneHot = new Float32Array(labels.length * classes);
  labels.forEach((label, i) => {
    oneHot[i * classes + label] = 1;
  });
  const target = np.array(oneHot, { shape: [labels.length, classes] });
  const { cos, sin } = rotations();
  const table = [tokens, 1, llama.width / llama.heads];
  const turns = [np.array(cos, { shape: table }), np.array(sin, { shape: table })];
  await blockUntilReady([trained, frozen, input, target, turns]);

  const loss = (
    adapters: Weights,
    base: Weights,
    from: np.Array,
    classesOf: np.Array,
    ...around: np.Array[]
  ): np.Array => {
    const take: Take = (name) => adapters[name] ?? base[name]!;
    const logits = net === 'vit' ? vitForward(take, from) : llamaForward(take, from, around[0]!, around[1]!);
    const chosen = np.sum(nn.logSoftmax(logits, -1).mul(classesOf));
    return chosen.mul(-1 / labels.length);
  };
  const step = jit(valueAndGrad(loss));
  const around = net === 'vit' ? [] : turns;
  return {
    call: () => {
      const [value, gradients] = step(
        ...tree.ref([trained, frozen, input, target, ...around] as [Weights, Weights, np.Array, np.Array]),
      ) as [np.Array, Weights];
      return [
        value,
        ...weights.flatMap(({ name, trained: isTrained }) => (isTrained ? gradients[name]! : [])),
      ];
    },
    read: async ([value, ...gradients]) => {
      const parts = [...((await value!.data()) as Float32Array)];
      const adapters = weights.filter(({ trained: isTrained }) => isTrained);
      for (const [i, { shape }] of adapters.entries()) {
        const [rows, columns] = shape as [number, number];
        const plain = (await gradients[i]!.data()) as Float32Array<ArrayBuffer>;
        parts.push(...transposed(plain, columns, rows));
      }
      return parts;
    },
  };
}

function adaptedBy(take: Take, scale: number, dense: (x: np.Array, name: string) => np.Array) {
  return (x: np.Array, name: string): np.Array => {
    const change = np.matmul(np.matmul(x.ref, take(`${name}.down`)), take(`${name}.up`));
    return dense(x, name).add(change.mul(scale));
  };
}

function vitForward(take: Take, input: np.Array): np.Array {
  const { blocks, batch, tokens, width, heads, scale, epsilon } = vit;
  const norm = (x: np.Array, name: string) =>
    layerNorm(x, take(`${name}.weight`), take(`${name}.bias`), epsilon);
  const dense = (x: np.Array, name: string) => np.matmul(x, take(`${name}.weight`)).add(take(`${name}.bias`));
  const adapted = adaptedBy(take, scale, dense);
  const split = (x: np.Array) => x.reshape([batch, tokens, heads, width / heads]);
  let x = input;
  for (let i = 0; i < blocks; i++) {
    const h = norm(x.ref, `${i}.norm1`);
    const q = split(adapted(h.ref, `${i}.query`));
    const k = split(dense(h.ref, `${i}.key`));
    const v = split(adapted(h, `${i}.value`));
    const mixed = nn.dotProductAttention(q, k, v).reshape([batch, tokens, width]);
    x = x.add(dense(mixed, `${i}.output`));
    const inner = nn.gelu(dense(norm(x.ref, `${i}.norm2`), `${i}.up`), { approximate: false });
    x = x.add(dense(inner, `${i}.down`));
  }
  return dense(np.mean(norm(x, 'norm'), 1), 'head');
}

function llamaForward(take: Take, input: np.Array, cos: np.Array, sin: np.Array): np.Array {
  const { blocks, batch, tokens, width, heads, keyHeads, scale, epsilon } = llama;
  const wide = width / heads;
  const norm = (x: np.Array, name: string) => {
    const squares = np.mean(np.square(x.ref), -1, { keepdims: true });
    return x.div(np.sqrt(squares.add(epsilon))).mul(take(`${name}.weight`));
  };
  const dense = (x: np.Array, name: string) => np.matmul(x, take(`${name}.weight`));
  const adapted = adaptedBy(take, scale, dense);
  const split = (x: np.Array, count: number) => x.reshape([batch, tokens, count, wide]);
  const rope = (x: np.Array) => {
    const [left, right] = [x.ref.slice([], [], [], [0, wide / 2]), x.ref.slice([], [], [], [wide / 2, wide])];
    return x.mul(cos.ref).add(np.concatenate([right.neg(), left], 3).mul(sin.ref));
  };
  let x = input;
  for (let i = 0; i < blocks; i++) {
    const h = norm(x.ref, `${i}.norm1`);
    const q = rope(split(adapted(h.ref, `${i}.query`), heads));
    const k = rope(split(dense(h.ref, `${i}.key`), keyHeads));
    const v = split(adapted(h, `${i}.value`), keyHeads);
    const mixed = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([batch, tokens, width]);
    x = x.add(dense(mixed, `${i}.output`));
    const y = norm(x.ref, `${i}.norm2`);
    const inner = nn.silu(dense(y.ref, `${i}.gate`)).mul(dense(y, `${i}.up`));
    x = x.add(dense(inner, `${i}.down`));
  }
  cos.dispose();
  sin.dispose();
  return dense(norm(x, 'norm'), 'head').reshape([batch * tokens, -1]);
}

/** LayerNorm over the last axis. */
export function layerNorm(x: np.Array, weight: np.Array, bias: np.Array, epsilon: number): np.Array {
  const centred = x.ref.sub(np.mean(x, -1, { keepdims: true }));
  const variance = np.mean(np.square(centred.ref), -1, { keepdims: true });
  return centred
    .div(np.sqrt(variance.add(epsilon)))
    .mul(weight)
    .add(bias);
}
