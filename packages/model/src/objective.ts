import { crossEntropy, meanSquaredError, reshape, type Tensor } from '@s3t/engine';
import type { Architecture, Head, Network } from './architecture.ts';

/** What a stage learns: a record's class, a number, or each token's next one. */
export type ObjectiveName = 'classification' | 'regression' | 'causal-lm';

/** What is compared with a record's labels, and how. */
export interface Objective {
  /** Labels of one record. */
  labels: number;
  dtype: 'u32' | 'f32';
  /**
   * The mean loss over all labels by their weights.
   * @param labels of `dtype`, [batch * labels]
   * @param weights f32 [batch * labels]: 0 leaves one out
   */
  loss(network: Network, top: Tensor, head: Head, labels: Tensor, weights: Tensor): Tensor;
}

/** An objective for records of an architecture. */
export function objectiveOf(name: ObjectiveName, { tokens }: Pick<Architecture, 'tokens'>): Objective {
  switch (name) {
    case 'classification':
      return {
        labels: 1,
        dtype: 'u32',
        loss: (network, top, head, labels, weights) =>
          crossEntropy(network.logits(top, head), labels, weights),
      };
    case 'regression':
      return {
        labels: 1,
        dtype: 'f32',
        loss: (network, top, head, labels, weights) =>
          meanSquaredError(network.logits(top, head), reshape(labels, [labels.size, 1]), weights),
      };
    case 'causal-lm':
      return {
        labels: tokens,
        dtype: 'u32',
        loss: (network, top, _, labels, weights) => network.tokenLoss!(top, labels, weights),
      };
  }
}
