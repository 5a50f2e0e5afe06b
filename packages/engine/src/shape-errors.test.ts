import { describe, expect, test } from 'vitest';
import { type CaseInput, operations, type Shape, ShapeError } from './index.ts';

const shapeOf = (input: CaseInput): Shape => ('shape' in input ? input.shape : input);

/** Ways to spoil a shape: another extent in each axis, an axis too few or too many, none at all. */
function spoiled(shape: Shape): Shape[] {
  const grown = shape.map((extent, axis) => shape.with(axis, extent + 1));
  return [...grown, shape.slice(1), [2, ...shape], [...shape, 3], []];
}

/** What an operation says to shapes; null when it takes them. */
function complaint(name: string, shapes: readonly Shape[], attributes: unknown): string | null {
  try {
    operations.get(name)!.declaration.shape(shapes, attributes);
    return null;
  } catch (error) {
    expect(error, `${name} ${JSON.stringify(shapes)}: ${error}`).toBeInstanceOf(ShapeError);
    return (error as ShapeError).message;
  }
}

describe('whatever shapes an operation is given, it takes them or says by name which do not fit', () => {
  test.each([...operations.keys()])('%s', (name) => {
    for (const { inputs, attributes } of operations.get(name)!.declaration.cases) {
      const shapes = inputs.map(shapeOf);
      shapes.forEach((shape, at) => {
        for (const wrong of spoiled(shape)) {
          const message = complaint(name, shapes.with(at, wrong), attributes);
          if (message === null) continue;
          expect(message).toMatch(new RegExp(`^${name}: [^\\n]+$`));
          expect(message).toContain(`[${wrong}]`);
          // The axis, or what the shape or its rows must be, or what it must fit.
          expect(message).toMatch(/\baxis\b|\baxes\b|\brank\b|\bmust\b|not \[|rows of/);
          // Where two shapes disagree, both are named.
          if (inputs.length > 1) expect(message).toMatch(/\[.*\].*\[.*\]|multiple of four|number of four/);
        }
      });
    }
  });
});
