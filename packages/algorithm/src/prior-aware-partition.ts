import { AlgorithmError } from './errors.ts';
import { lots, modulo, type PartitionOptions, type Placement } from './partition.ts';

/** What a record's place may depend on: fields of its own. */
export interface PlacedRecord {
  id: string;
  /** Whom it goes with: records of a group (a customer's, say) are likely to be erased together, and share shard and slice. */
  group?: string;
  /** How likely it is to be erased: the name of a class. */
  likelihood?: string;
}

export interface PriorAwareOptions extends PartitionOptions {
  /**
   * The slices open to the records of each class, as reserveSlices divides them: lists without repetition. From the configuration, like
   * shards, slices and seed. Records of no class, or of one not named here, may lie in any slice.
   */
  open: Readonly<Record<string, readonly number[]>>;
}

/**
 * A partition that puts records likely to be erased together into few slices. The rule:
 *
 * - the shard is a keyed hash of the group, or of the id where there is no group;
 * - so is the slice, among those open to the record's class.
 *
 * It is as exact as {@link placer}: a record's place is a function of its own three fields and the configuration, so no record moves
 * when another leaves or joins. What must not be done is to derive the classes or their slices from the records at hand: a record that
 * is erased later would have moved others. Group and class must stay what they are; a record whose class changes is another record.
 *
 * Members of one group with different classes share the shard, but not the slice. A record without group and class lies where
 * placer puts it. A large group makes its slice large: nothing is balanced, because balancing would look at other records.
 *
 * @throws AlgorithmError for options out of range, a class without open slices, or one with a slice that is not there or there twice.
 */
export function priorAwarePlacer(options: PriorAwareOptions): (record: PlacedRecord) => Placement {
  const { shards, slices } = options;
  const ofId = lots('s3t-place-1', options);
  // A key of its own: that a group is called as some record is means nothing.
  const ofGroup = lots('s3t-place-group-1', options);
  const all = Array.from({ length: slices }, (_, slice) => slice);
  const open = new Map(Object.entries(options.open));
  for (const [name, own] of open) {
    const isSound = own.every((slice) => Number.isInteger(slice) && slice >= 0 && slice < slices);
    if (own.length > 0 && isSound && new Set(own).size === own.length) continue;
    throw new AlgorithmError(`class ${name} needs different slices from 0 to ${slices - 1}, got [${own}]`);
  }
  return ({ id, group, likelihood }) => {
    const [first, second] = group === undefined ? ofId(id) : ofGroup(group);
    const own = (likelihood === undefined ? undefined : open.get(likelihood)) ?? all;
    return { shard: modulo(first, shards), slice: own[modulo(second, own.length)]! };
  };
}
