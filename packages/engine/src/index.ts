export { GradientAccumulator } from './accumulator.ts';
export type { AdapterChoice, AdapterClass } from './adapter.ts';
export { type Captured, capture } from './capture.ts';
export { checkpoint } from './checkpoint.ts';
export { pack as packWeight, unpack as unpackWeight } from './data-type.ts';
export { Device } from './device.ts';
export type { DeviceOptions } from './device-options.ts';
export type { DryLimits } from './dry-gpu.ts';
export { AdapterError, EngineError, ShapeError } from './errors.ts';
export { gradients } from './gradients.ts';
export { kernelIdentity } from './kernel-identity.ts';
export type { Activation } from './matmul-problem.ts';
export {
  type CaseInput,
  type Operation,
  type OperationCase,
  type OperationDeclaration,
  operations,
  type ReferenceArray,
} from './operation.ts';
export { abs, geluTanh, sigmoid, silu, swiglu } from './operations/activations.ts';
export { add, affine, divide, multiply, subtract } from './operations/arithmetic.ts';
export { type AttentionOptions, attention } from './operations/attention.ts';
export { iota, normal, uniform } from './operations/draw.ts';
export { exp, gelu, log, negate, relu, sqrt, square, tanh } from './operations/elementwise.ts';
export { embedding } from './operations/embedding.ts';
export { byteHash, byteHashOf } from './operations/hash.ts';
export { cachedAttention, cacheWrite } from './operations/kv-cache.ts';
export { concat, expand, fill, gatherRows, pad, permute, reshape, slice } from './operations/layout.ts';
export { type LinearOptions, linear } from './operations/linear.ts';
export { groupedLoraLinear, loraLinear, mergeLora } from './operations/lora.ts';
export { crossEntropy } from './operations/loss.ts';
export { type MatmulOptions, matmul } from './operations/matmul.ts';
export { layerNorm, softmax } from './operations/norm.ts';
export { cast, dequantise, quantise } from './operations/quantised.ts';
export { dropout, type RandomState, randomState } from './operations/random.ts';
export { max, mean, sum, sumOfSquares, total } from './operations/reduce.ts';
export { rmsNorm } from './operations/rms-norm.ts';
export {
  type LinearScaling,
  type Llama3Scaling,
  type RopeOptions,
  rope,
  ropeFrequencies,
  ropeTable,
} from './operations/rope.ts';
export { equal, less, lessOrEqual, maximum, minimum, where } from './operations/select.ts';
export { meanSquaredError } from './operations/squared-error.ts';
export { argmax, take, topK } from './operations/top.ts';
export { vocabularyCrossEntropy } from './operations/vocabulary-loss.ts';
export { AdamW, type AdamWOptions } from './optimiser.ts';
export { philox, type RandomKey, uniformValues } from './philox.ts';
export type { MemoryReport } from './pool.ts';
export { prepare } from './prepare.ts';
export { learningRateAt, type ScheduleName, type ScheduleOptions } from './schedule.ts';
export { keep, scope } from './scope.ts';
export { SGD, type SGDOptions } from './sgd.ts';
export { withoutGradients } from './tape.ts';
export {
  type DataType,
  empty,
  type FrozenType,
  type Shape,
  sizeOf,
  Tensor,
  type TensorOptions,
  tensor,
  tensorInPieces,
  zeros,
} from './tensor.ts';
