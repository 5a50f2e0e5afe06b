import { type NetName, nets } from './nets.ts';

/** C [m, n] = op(A) op(B) with an inner axis of k. */
export interface ProductWork {
  kind: 'product';
  m: number;
  n: number;
  k: number;
  /** NN, NT (B stored [n, k], a linear layer) or TN (A stored [k, m], the gradient of a weight). */
  layout: 'NN' | 'NT' | 'TN';
}

/** Multi-head attention over [batch, tokens, width]. */
export interface AttentionWork {
  kind: 'attention';
  batch: number;
  tokens: number;
  width: number;
  heads: number;
  /** With the gradients of queries, keys and values. */
  backward: boolean;
}

/** What is limited by memory: a pass over [rows, width]. */
export interface RowsWork {
  kind: 'rows';
  operation: 'add' | 'gelu' | 'softmax' | 'layerNorm';
  rows: number;
  width: number;
}

/** One training step of a net: forward, backward, and the update of the adapters if asked for. */
export interface StepWork {
  kind: 'step';
  net: NetName;
  optimise: boolean;
}

export type Work = ProductWork | AttentionWork | RowsWork | StepWork;

export const benchNames = ['matmul', 'attention', 'bandwidth', 'step', 'replay'] as const;
export type BenchName = (typeof benchNames)[number];

export interface Case {
  bench: BenchName;
  /** What the shape stands for. */
  note: string;
  work: Work;
  /** Only with `--all`. */
  extra?: boolean;
  /** Only this project's engine. */
  own?: boolean;
}

const product = (note: string, shape: Omit<ProductWork, 'kind'>, extra = false): Case => ({
  bench: 'matmul',
  note,
  work: { kind: 'product', ...shape },
  extra,
});

const attention = (note: string, shape: Omit<AttentionWork, 'kind' | 'backward'>): Case[] =>
  [false, true].map((backward) => ({
    bench: 'attention',
    note: backward ? `${note}, forward and backward` : note,
    work: { kind: 'attention', ...shape, backward },
  }));

const rows = (note: string, operation: RowsWork['operation'], count: number, width: number): Case => ({
  bench: 'bandwidth',
  note,
  work: { kind: 'rows', operation, rows: count, width },
});

/** Rows of the small base model: 64 records of 17 tokens. */
const ROWS = 64 * 17;

export const cases: Case[] = [
  product('square', { m: 512, k: 512, n: 512, layout: 'NN' }),
  product('ViT-base, attention', { m: 197, k: 768, n: 768, layout: 'NT' }),
  product('ViT-base, MLP up', { m: 197, k: 768, n: 3072, layout: 'NT' }),
  product('ViT-base, gradient of MLP up', { m: 197, k: 3072, n: 768, layout: 'NN' }),
  product('ViT-base, gradient of a weight', { m: 768, k: 197, n: 768, layout: 'TN' }, true),
  product('RoBERTa-large, attention', { m: 128, k: 1024, n: 1024, layout: 'NT' }),
  product('RoBERTa-large, LoRA down', { m: 128, k: 1024, n: 16, layout: 'NT' }, true),
  product('RoBERTa-large, gradient of LoRA down', { m: 16, k: 128, n: 1024, layout: 'TN' }),
  product('Llama 1B, attention', { m: 64, k: 2048, n: 2048, layout: 'NT' }),
  product('Llama 1B, MLP up', { m: 64, k: 2048, n: 8192, layout: 'NT' }, true),
  product('ViT-base width', { m: 512, k: 768, n: 768, layout: 'NN' }, true),
  product('narrow', { m: 1024, k: 128, n: 128, layout: 'NN' }),
  product('vit-tiny, query', { m: ROWS, k: 64, n: 64, layout: 'NT' }),
  product('vit-tiny, MLP up', { m: ROWS, k: 64, n: 256, layout: 'NT' }, true),
  product('vit-tiny, MLP down', { m: ROWS, k: 256, n: 64, layout: 'NT' }, true),
  product('vit-tiny, LoRA down', { m: ROWS, k: 64, n: 16, layout: 'NT' }, true),
  product('vit-tiny, LoRA up', { m: ROWS, k: 16, n: 64, layout: 'NT' }, true),
  product('vit-tiny, gradient of LoRA down', { m: 16, k: ROWS, n: 64, layout: 'TN' }, true),
  product('vit-tiny, head', { m: 64, k: 64, n: 10, layout: 'NT' }, true),
  ...attention('small ViT', { batch: 16, tokens: 64, width: 256, heads: 4 }),
  ...attention('ViT-base', { batch: 1, tokens: 197, width: 768, heads: 12 }),
  rows('residual', 'add', 1024, 1024),
  rows('activation', 'gelu', 1024, 1024),
  rows('softmax', 'softmax', 1024, 1024),
  rows('LayerNorm', 'layerNorm', 1024, 768),
  {
    bench: 'step',
    note: '4 ViT blocks, forward and backward',
    work: { kind: 'step', net: 'vit', optimise: false },
  },
  {
    bench: 'step',
    note: '4 ViT blocks, with AdamW',
    work: { kind: 'step', net: 'vit', optimise: true },
    own: true,
  },
  {
    bench: 'step',
    note: '4 Llama blocks, forward and backward',
    work: { kind: 'step', net: 'llama', optimise: false },
  },
];

export function shapeOf({ work }: Case): string {
  switch (work.kind) {
    case 'product':
      return `${work.m}x${work.k}x${work.n} ${work.layout}`;
    case 'attention':
      return `${work.batch}x${work.tokens}x${work.width}, ${work.heads} heads${work.backward ? ', backward' : ''}`;
    case 'rows':
      return `${work.operation} ${work.rows}x${work.width}`;
    case 'step': {
      const { batch, tokens, width, rank } = nets[work.net];
      const update = work.optimise ? ', AdamW' : '';
      return `${work.net} ${batch}x${tokens}x${width}, rank ${rank}${update}`;
    }
  }
}

/** Floating-point operations, where counting them makes sense. */
export function flopsOf({ work }: Case): number | null {
  if (work.kind === 'product') return 2 * work.m * work.n * work.k;
  if (work.kind !== 'attention') return null;
  // Two products forward, five backward (the scores are computed again).
  return 2 * work.batch * work.tokens ** 2 * work.width * (work.backward ? 7 : 2);
}

/** Bytes that must at least be read and written, where memory is the limit. */
export function bytesOf({ work }: Case): number | null {
  if (work.kind !== 'rows') return null;
  return 4 * work.rows * work.width * (work.operation === 'add' ? 3 : 2);
}
