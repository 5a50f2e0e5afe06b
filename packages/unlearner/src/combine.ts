/** How the answers of shards become one. */
export const ENSEMBLE_MODES = ['mean-logits', 'mean-probabilities', 'vote'] as const;
export type EnsembleMode = (typeof ENSEMBLE_MODES)[number];

/** A label by its number, and its share of the answer. */
export interface RankedLabel {
  label: number;
  /** 0 to 1; over all labels 1. */
  score: number;
}

/** The mean over stacks of one row of logits. */
export function meanRow(logits: readonly Float32Array[], row: number, outputs: number): Float64Array {
  return meanOf(rowsOf(logits, row, outputs), outputs);
}

/**
 * One record's answer, best label first: the softmax of the mean of the shards' logits, the mean of their softmaxes, or the part of
 * the shards whose best label it is. Where votes are equal the mean of the softmaxes decides, and last the order of the labels.
 * @param logits per stack, [records, labels]
 */
export function combine(
  logits: readonly Float32Array[],
  row: number,
  labels: number,
  mode: EnsembleMode = 'mean-logits',
): RankedLabel[] {
  const rows = rowsOf(logits, row, labels);
  const logitMean = meanOf(rows, labels);
  if (mode === 'mean-logits') return ranked(softmax(logitMean), logitMean);
  const probabilities = meanOf(rows.map(softmax), labels);
  if (mode === 'mean-probabilities') return ranked(probabilities, probabilities);
  const votes = new Float64Array(labels);
  for (const values of rows) votes[values.indexOf(Math.max(...values))]! += 1;
  // Less than one vote: it decides between equal ones only.
  return ranked(
    votes.map((count) => count / rows.length),
    votes.map((count, label) => count + probabilities[label]! / 2),
  );
}

function ranked(scores: Float64Array, order: Float64Array): RankedLabel[] {
  return Array.from(scores, (score, label) => ({ label, score })).sort(
    (a, b) => order[b.label]! - order[a.label]!,
  );
}

function rowsOf(logits: readonly Float32Array[], row: number, outputs: number): Float64Array[] {
  return logits.map((stack) => Float64Array.from(stack.subarray(row * outputs, (row + 1) * outputs)));
}

function meanOf(rows: readonly Float64Array[], outputs: number): Float64Array {
  const mean = new Float64Array(outputs);
  for (const values of rows) for (let i = 0; i < outputs; i++) mean[i]! += values[i]! / rows.length;
  return mean;
}

function softmax(logits: Float64Array): Float64Array {
  const largest = Math.max(...logits);
  const weights = logits.map((value) => Math.exp(value - largest));
  const total = weights.reduce((sum, value) => sum + value, 0);
  return weights.map((value) => value / total);
}
