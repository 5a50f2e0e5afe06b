import { mergeLora, scope, type Tensor } from '@s3t/engine';
import type { LayerAdapter } from './adapter.ts';
import type { BaseModel } from './model.ts';
import { destroyAll, type Owned, ownedUnless } from './owned.ts';
import { placeStage } from './stage.ts';
import type { StageTask } from './stage-training.ts';

/** The frozen stages above, on the device. */
export interface PlacedPrefix {
  /** Weights to use instead of the base's own, by layer and target. */
  merged: Map<number, Map<string, Tensor>>;
  /** Adapters that stay beside the base's weights, by layer. */
  adapters: Map<number, LayerAdapter>;
  tensors: Tensor[];
}

/**
 * Merges the changes of the frozen stages into the base's weights: in a step they cost nothing then. Of a quantised base the
 * merged weights would be f32, four to eight times the memory of its own and more than quantising saved where every layer has an
 * adapter; there they stay beside the base, as in PEFT, and a step computes their small products. Where one does not fit, none stays on
 * the device.
 */
export function placePrefix(base: BaseModel, task: StageTask): PlacedPrefix {
  return ownedUnless((owned) => placeEach(base, task, owned));
}

function placeEach({ device, network }: BaseModel, { form, prefix }: StageTask, owned: Owned): PlacedPrefix {
  const placed: PlacedPrefix = { merged: new Map(), adapters: new Map(), tensors: [] };
  for (const { layers: frozen, values } of prefix) {
    const { stage, parameters } = owned.add(placeStage(device, form, frozen, values, 'serve'), (failed) =>
      destroyAll(failed.parameters.values()),
    );
    for (const [layer, adapter] of stage.adapters) {
      const { pairs, scale } = adapter;
      const targets = Object.keys(pairs);
      if (targets.some((target) => network.linearOf(layer, target).weight.dtype !== 'f32')) {
        placed.adapters.set(layer, adapter);
        placed.tensors.push(...Object.values(pairs).flatMap(({ down, up }) => [down, up]));
        continue;
      }
      const weights = new Map<string, Tensor>();
      for (const target of targets) {
        const { weight } = network.linearOf(layer, target);
        const changed = owned.add(
          scope(() => mergeLora(weight, { ...pairs[target]!, scale })),
          (merged) => merged.destroy(),
        );
        // From here on it is read only: its texture form may be kept for the whole stage.
        changed.storage.constant = true;
        weights.set(target, changed);
      }
      placed.merged.set(layer, weights);
      placed.tensors.push(...weights.values());
    }
    const isKept = new Set(placed.tensors);
    for (const parameter of parameters.values()) if (!isKept.has(parameter)) parameter.destroy();
  }
  return placed;
}
