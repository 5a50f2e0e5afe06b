import * as v from 'valibot';
import { expect, it } from 'vitest';
import { checked } from './body.ts';

const list = v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(2));
const name = v.pipe(v.string(), v.minLength(2), v.maxLength(3));
const count = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(9));

it.each([
  [list, [], 'expected at least 1 item'],
  [list, ['a', 'b', 'c'], 'expected at most 2 items'],
  [list, 'secret', 'expected a list'],
  [name, 's', 'expected at least 2 characters'],
  [name, 'secret', 'expected at most 3 characters'],
  [name, 7, 'expected a text'],
  [count, 0, 'expected at least 1'],
  [count, 70, 'expected at most 9'],
  [count, 1.5, 'expected a whole number'],
  [count, 'secret', 'expected a number'],
  [count, undefined, 'required'],
  [v.strictObject({}), 7, 'expected an object'],
  [v.strictObject({}), { secret: 7 }, 'unknown field'],
  [v.picklist(['a', 'b']), 'secret', 'expected ("a" | "b")'],
])('%# says in our words what a value should be', (schema, value, message) => {
  const field = v.object({ field: schema as v.GenericSchema });
  expect(() => checked(field, value === undefined ? {} : { field: value })).toThrow(
    expect.objectContaining({ message, code: 'invalid' }),
  );
});
