import { NUMBERS } from './data-type.ts';
import { EngineError, ShapeError } from './errors.ts';
import { keep, scope } from './scope.ts';
import { isInRule, isRecording, nextOrder } from './tape.ts';
import { type DataType, empty, type FrozenType, type Shape, type Tensor } from './tensor.ts';

/** An array of float64 on the host: what the reference of an operation computes with. */
export interface ReferenceArray {
  data: Float64Array;
  shape: Shape;
}

/** An input a test makes up: evenly distributed values, u32 values below a bound, or a frozen weight. */
export type CaseInput =
  | Shape
  | { shape: Shape; below: number }
  | { shape: Shape; positive: true }
  | { shape: Shape; dtype: FrozenType };

/** A test case: the shapes of the inputs and the attributes. */
export interface OperationCase<A> {
  inputs: readonly CaseInput[];
  attributes: A;
}

export interface ForwardCall<A> {
  inputs: readonly Tensor[];
  attributes: A;
  output: Tensor;
}

export interface GradientCall<A> {
  inputs: readonly Tensor[];
  attributes: A;
  output: Tensor;
  /** What `forward` returned. */
  saved: readonly Tensor[];
  gradient: Tensor;
  /** Whether the gradient of each input is needed. */
  wanted: readonly boolean[];
}

/** An operation in one place: shapes, kernel, gradient rule, reference and the cases that test them. */
export interface OperationDeclaration<A> {
  name: string;
  /** One line for the table of operations. */
  summary: string;
  /** The output's shape. @throws ShapeError */
  shape(shapes: readonly Shape[], attributes: A): Shape;
  /** What each input may hold. Default f32. With `NUMBERS` an input may be stored as f16. */
  dtypes?: readonly (DataType | readonly DataType[])[];
  /** What inputs past those may hold. Default f32. */
  rest?: readonly DataType[];
  /** What the output holds. Default: f16 if the first input that may be stored so is, and no gradient is being computed; else f32. */
  result?: DataType;
  /** Launches the kernels that write `output`; returns what the gradient rule wants kept. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most operations keep nothing and return nothing
  forward(call: ForwardCall<A>): readonly Tensor[] | void;
  /** The gradients of the inputs. Operations without a rule stop gradients. */
  gradient?(call: GradientCall<A>): readonly (Tensor | null)[];
  /** The same in float64, written for reading. */
  reference(inputs: readonly ReferenceArray[], attributes: A): Float64Array;
  /** Inputs that the rule gives no gradient although they are numbers. */
  frozen?: readonly number[];
  cases: readonly OperationCase<A>[];
  /** Largest error allowed in the tests, relative to the largest value. Default 1e-5. */
  tolerance?: number;
}

export type Apply<A> = (inputs: readonly Tensor[], attributes: A) => Tensor;

/** A declared operation and what applies it; the attributes are its own affair. */
export interface Operation {
  declaration: OperationDeclaration<unknown>;
  apply: Apply<unknown>;
}

/** Every operation by name. The conformance tests are made from it. */
export const operations: Map<string, Operation> = new Map();

/** Enters an operation into the table and returns what applies it. */
export function operation<A>(declaration: OperationDeclaration<A>): Apply<A> {
  const apply: Apply<A> = (inputs, attributes) => {
    checkInputs(declaration.name, inputs, declaration.dtypes, declaration.rest);
    const shape = declaration.shape(
      inputs.map((input) => input.shape),
      attributes,
    );
    const output = empty(
      inputs[0]!.device,
      shape,
      resultOf(declaration, inputs),
      `the result of ${declaration.name}`,
    );
    let saved: readonly Tensor[];
    try {
      saved = scope(() => declaration.forward({ inputs, attributes, output }) ?? []);
    } catch (error) {
      output.dispose();
      throw error;
    }
    output.device.numerics?.watch(output, declaration.name);
    const { gradient: rule } = declaration;
    if (rule && isRecording() && inputs.some((input) => input.isTracked)) {
      const wanted = inputs.map((input) => input.isTracked);
      output.node = {
        operation: declaration.name,
        order: nextOrder(),
        inputs,
        wanted,
        // Owned by the node: what the rule needs lives as long as the result, whatever scope the operation ran in.
        saved: saved.map(keep),
        backward: (gradient) => rule({ inputs, attributes, output, saved, gradient, wanted }),
      };
    } else {
      for (const each of saved) each.dispose();
    }
    return output;
  };
  operations.set(declaration.name, { declaration, apply } as Operation);
  return apply;
}

function resultOf<A>({ dtypes, result }: OperationDeclaration<A>, inputs: readonly Tensor[]): DataType {
  if (result) return result;
  const first = inputs.findIndex((_, index) => dtypes?.[index] === NUMBERS);
  return !isInRule() && inputs[first]?.dtype === 'f16' ? 'f16' : 'f32';
}

/** How many fours of elements a tensor holds, begun ones included: what kernels that take four at a time are launched for. */
export function foursOf({ size }: Tensor): number {
  return Math.max(1, Math.ceil(size / 4));
}

/**
 * Fails unless there are inputs, all alive, on one device, and of the types that are expected.
 * @param rest what inputs past `dtypes` may hold. Default f32
 */
export function checkInputs(
  name: string,
  inputs: readonly Tensor[],
  dtypes: OperationDeclaration<unknown>['dtypes'],
  rest: readonly DataType[] | undefined = undefined,
): void {
  if (inputs.length === 0) throw new ShapeError(`${name}: there are no inputs`);
  const { device } = inputs[0]!;
  inputs.forEach((input, index) => {
    input.assertAlive(name);
    if (input.device !== device)
      throw new EngineError(
        `${name}: inputs 0 and ${index} are on different devices; the shapes are ${listed(inputs)}`,
      );
    const expected = [dtypes?.[index] ?? rest ?? 'f32'].flat();
    if (!expected.includes(input.dtype))
      throw new ShapeError(
        `${name}: input ${index} holds ${input.dtype}, not ${expected.join(' or ')}; the shapes are ${listed(inputs)}`,
      );
  });
}

const listed = (tensors: readonly Tensor[]) => tensors.map(({ shape }) => `[${shape}]`).join(', ');

/** A grid of workgroups that covers `count` invocations of `size` a group, within the limit of each dimension. */
export function gridOf(count: number, size = 64): [number, number, number] {
  const groups = Math.ceil(count / size);
  return groups <= 65_535 ? [groups, 1, 1] : [65_535, Math.ceil(groups / 65_535), 1];
}

/** Fails with both shapes unless they are the same. */
export function assertSameShape(name: string, a: Shape, b: Shape): void {
  if (a.length !== b.length) throw new ShapeError(`${name}: shapes [${a}] and [${b}] differ in rank`);
  const axis = a.findIndex((extent, i) => extent !== b[i]);
  if (axis >= 0) throw new ShapeError(`${name}: shapes [${a}] and [${b}] differ in axis ${axis}`);
}
