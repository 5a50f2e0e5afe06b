import { describe, expect, it } from 'vitest';
import { candidates, checkSampling, chooseToken, draw, drawnAt, likeliest, penalise } from './sampling.ts';

const LOGITS = Float32Array.of(1, 3, -2, 3, 0, 2);
const NOBODY: ReadonlySet<number> = new Set();

/** The probabilities of tokens that may be drawn, by their numbers. */
function probabilities(options: Parameters<typeof candidates>[1], logits = LOGITS): Record<number, number> {
  const { ids, weights } = candidates(logits, options);
  const all = weights.reduce((sum, weight) => sum + weight, 0);
  return Object.fromEntries(Array.from(ids, (id, i) => [id, weights[i]! / all]));
}

function expectClose(found: Record<number, number>, expected: Record<number, number>): void {
  expect(Object.keys(found)).toEqual(Object.keys(expected));
  for (const [id, probability] of Object.entries(expected))
    expect(found[Number(id)]).toBeCloseTo(probability, 12);
}

describe('candidates', () => {
  const softmax = (logits: number[]) => {
    const all = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
    return logits.map((logit) => Math.exp(logit) / all);
  };

  it('are the softmax of the logits over the temperature', () => {
    for (const temperature of [0.5, 1, 3]) {
      const expected = softmax([...LOGITS].map((logit) => logit / temperature));
      expectClose(probabilities({ temperature }), { ...expected });
    }
  });

  it('of top-k are the k likeliest, and those as likely as the last of them', () => {
    expectClose(probabilities({ topK: 1 }), { 1: 0.5, 3: 0.5 });
    const [one, three, two] = softmax([3, 3, 2]);
    expectClose(probabilities({ topK: 3 }), { 1: one!, 3: three!, 5: two! });
    expect(Object.keys(probabilities({ topK: 6 }))).toHaveLength(6);
    expect(Object.keys(probabilities({ topK: 1000 }))).toHaveLength(6);
  });

  it('of top-p are the fewest that have its share, the likelier and then the earlier first', () => {
    const all = softmax([...LOGITS]);
    expectClose(probabilities({ topP: 1e-9 }), { 1: 1 });
    expectClose(probabilities({ topP: all[1]! + 1e-9 }), { 1: 0.5, 3: 0.5 });
    // Two have 0.76 of it together, three 0.90, four 0.95.
    const of = (...ids: number[]) => {
      const some = softmax(ids.map((id) => LOGITS[id]!));
      return Object.fromEntries(ids.map((id, i) => [id, some[i]!]));
    };
    expectClose(probabilities({ topP: 0.8 }), of(1, 3, 5));
    expectClose(probabilities({ topP: 0.93 }), of(0, 1, 3, 5));
    expect(Object.keys(probabilities({ topP: 1 - 1e-9 }))).toHaveLength(6);
    expect(Object.keys(probabilities({ topP: 1 }))).toHaveLength(6);
  });

  it('of both are those of top-p among those of top-k', () => {
    expectClose(probabilities({ topK: 3, topP: 0.5 }), { 1: 0.5, 3: 0.5 });
  });

  it('are found among very many as they are without the short cut', () => {
    const logits = Float32Array.from({ length: 5000 }, (_, id) => 8 * drawnAt(id, 3));
    for (const topP of [0.1, 0.5, 0.9, 0.999]) {
      const all = softmax([...logits]);
      const order = [...all.keys()].sort((a, b) => all[b]! - all[a]! || a - b);
      let together = 0;
      const kept: number[] = [];
      for (const id of order) {
        if (together >= topP) break;
        together += all[id]!;
        kept.push(id);
      }
      kept.sort((a, b) => a - b);
      expect([...candidates(logits, { topP }).ids]).toEqual(kept);
    }
  });
});

describe('draw', () => {
  it('takes the candidate at a share of all weights', () => {
    const some = { ids: Uint32Array.of(4, 7, 9), weights: Float64Array.of(1, 2, 1) };
    const ends = [0, 0.24, 0.25, 0.74, 0.75, 1 - 2 ** -53];
    expect(ends.map((u) => draw(some, u))).toEqual([4, 4, 7, 7, 9, 9]);
  });

  it('gives every token its probability: a chi-square over 20,000 draws from one seed', () => {
    const options = { temperature: 1.5, topK: 5 };
    const expected = probabilities(options);
    const draws = 20_000;
    const counts = new Map<number, number>();
    for (let position = 0; position < draws; position++) {
      const token = chooseToken(LOGITS, NOBODY, options, drawnAt(position, 42));
      counts.set(token, (counts.get(token) ?? 0) + 1);
    }
    let chiSquare = 0;
    for (const [id, probability] of Object.entries(expected)) {
      const wanted = probability * draws;
      chiSquare += ((counts.get(Number(id)) ?? 0) - wanted) ** 2 / wanted;
    }
    expect([...counts.keys()].sort()).toEqual(Object.keys(expected).map(Number));
    // Four degrees of freedom: beyond 18.47 once in a thousand seeds.
    expect(chiSquare).toBeLessThan(18.47);
  });
});

describe('drawnAt', () => {
  it('depends on every bit of position and seed', () => {
    expect(drawnAt(5, 7)).toBe(drawnAt(5, 7));
    const others = [
      drawnAt(5, 7),
      drawnAt(6, 7),
      drawnAt(5, 8),
      drawnAt(5, 7 + 2 ** 32),
      drawnAt(5, 7 + 2 ** 52),
    ];
    expect(new Set(others).size).toBe(5);
    expect(others.every((u) => u >= 0 && u < 1)).toBe(true);
  });
});

describe('chooseToken', () => {
  it('without a temperature takes the first of the likeliest, whatever is drawn', () => {
    for (const u of [0, 0.5, 0.999]) expect(chooseToken(LOGITS, NOBODY, { topP: 0.5, topK: 2 }, u)).toBe(1);
  });

  it('makes what was there already less likely, as transformers does', () => {
    const penalised = penalise(LOGITS, new Set([1, 2, 4]), 2);
    expect([...penalised]).toEqual([1, 1.5, -4, 3, 0, 2]);
    expect(chooseToken(LOGITS, new Set([1]), { repetitionPenalty: 2 }, 0)).toBe(3);
    expect(LOGITS[1]).toBe(3);
  });

  it('refuses logits that are no numbers', () => {
    const broken = Float32Array.of(1, Number.NaN, 2);
    expect(() => likeliest(broken)).toThrow('generate: the logit of token 1 is not a number');
    expect(() => candidates(broken, { temperature: 1 })).toThrow('token 1 is not a number');
    const [inf, none] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const temperature of [0, 1])
      for (const [logits, value] of [
        [Float32Array.of(1, inf, 2), inf],
        [Float32Array.of(none, none), none],
      ] as const)
        expect(() => chooseToken(logits, NOBODY, { temperature }, 0.1)).toThrow(`is ${value}`);
    expect(chooseToken(Float32Array.of(none, 1, none), NOBODY, { temperature: 1 }, 0.9)).toBe(1);
  });
});

describe('checkSampling', () => {
  it.each([
    [{ temperature: -1 }, 'option temperature must be zero or a positive number, not -1'],
    [{ temperature: Number.NaN }, 'option temperature must be zero or a positive number, not null'],
    [{ topK: 0 }, 'option topK must be a positive whole number, not 0'],
    [{ topK: 1.5 }, 'option topK must be a positive whole number, not 1.5'],
    [{ topP: 0 }, 'option topP must be above 0 and at most 1, not 0'],
    [{ topP: 1.1 }, 'option topP must be above 0 and at most 1, not 1.1'],
    [{ repetitionPenalty: 0 }, 'option repetitionPenalty must be a positive number, not 0'],
  ])('refuses %j', (options, message) => {
    expect(() => checkSampling(options)).toThrow(`generate: ${message}`);
  });
});
