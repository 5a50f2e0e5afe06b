// Every operation of the table, forward, against its float64 reference. Prints what is wrong; runs wherever the engine does.
import { Device, operations, philox, scope, tensor, uniformValues } from '@s3t/engine';

const device = await Device.open();
const wrong = [];
let cases = 0;
for (const [name, { declaration, apply }] of operations) {
  for (const { inputs, attributes } of declaration.cases) {
    cases++;
    const made = inputs.map((input, i) => makeInput(input, i + 1));
    const expected = declaration.reference(
      made.map(({ data, shape }) => ({ data: Float64Array.from(data), shape })),
      attributes,
    );
    const output = scope(() =>
      apply(
        made.map(({ data, shape }) => tensor(device, data, shape)),
        attributes,
      ),
    );
    const actual = await output.read();
    output.dispose();
    const scale = Math.max(1e-3, ...expected.map(Math.abs));
    const error = Math.max(...actual.map((value, i) => Math.abs(value - expected[i]))) / scale;
    if (!(error <= (declaration.tolerance ?? 1e-5))) wrong.push({ name, inputs, error });
  }
}
console.log(JSON.stringify({ operations: operations.size, cases, wrong }));
device.close();

function makeInput(input, seed) {
  const shape = Array.isArray(input) ? input : input.shape;
  const size = shape.reduce((product, extent) => product * extent, 1);
  if (input.below !== undefined)
    return {
      shape,
      data: Uint32Array.from({ length: size }, (_, i) => philox([i, 0, 0, 0], [seed, 7])[0] % input.below),
    };
  const values = uniformValues(size, input.positive ? 1 : 2, [seed, 7], 0);
  return { shape, data: input.positive ? values.map((value) => value + 1.5) : values };
}
